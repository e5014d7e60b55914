"""For mkdocs: README.md is the first page, and links that lead out of docs/ lead to the repository.

So every page keeps the links that work where the repository is read. A link to a file that is not there is a warning,
which ends a strict build.
"""

from __future__ import annotations

import logging
import posixpath
import re
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?!\w+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):(?=<code)")
LOG = logging.getLogger("mkdocs.plugins.links")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """README.md as the page index.md."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links as the site has them."""
    name = page.file.src_uri
    folder = "." if name == "index.md" else posixpath.dirname(f"docs/{name}")
    return LINK.sub(partial(_link, folder, name, config.repo_url), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page without the roles of docstrings, such as :class:."""
    return ROLE.sub("", html)


def _link(folder: str, page: str, repository: str | None, match: re.Match[str]) -> str:
    text, anchor = match["text"], match["anchor"] or ""
    target = posixpath.normpath(posixpath.join(folder, match["path"]))
    if target.startswith("docs/"):
        return f"{text}({posixpath.relpath(target, posixpath.dirname(f'docs/{page}'))}{anchor})"
    if not (ROOT / target).exists():
        LOG.warning("'%s' has a link to '%s', which is not there.", page, target)
    if repository:
        return f"{text}({repository.rstrip('/')}/blob/HEAD/{target}{anchor})"
    return f"`{target}`" if target.startswith(text[1:-1]) else f"{text[1:-1]} (`{target}`)"
