"""A real browser: Debian's Chromium, driven by Playwright; what it complains of and what it asks for is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MUST_RUN = "MOEBENCH_TESTS_MUST_RUN"
"""Set in continuous integration, where a browser that is missing is a failure and no reason to skip."""

AXE = "axe-core@4.14.1"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Heard:
    """What a page said and asked for since it was opened."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; skipped with the reason where there is none, unless ``MUST_RUN`` is set."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        why = "there is no chromium; apt-get install chromium"
        pytest.fail(why) if os.environ.get(MUST_RUN) else pytest.skip(why)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, from the npm registry; skipped with the reason where that cannot be had."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(["npm", "pack", AXE, "--silent"], cwd=folder, check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        why = f"{AXE} cannot be had from the npm registry ({type(error).__name__})"
        pytest.fail(why) if os.environ.get(MUST_RUN) else pytest.skip(why)
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


class Opener:
    """Opens pages in contexts of their own, and hears what each says."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[Any] = []

    def __call__(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> tuple[Page, Heard]:
        """The page once it has loaded, and what was heard of it."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        self._contexts.append(context)
        page, heard = context.new_page(), Heard()
        page.on("console", lambda message: heard.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: heard.errors.append(str(error)))
        page.on("request", lambda request: heard.requests.append(request.url))

        def dismiss(dialog: Any) -> None:
            heard.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.goto(url)
        return page, heard

    def close(self) -> None:
        """Close every page."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Opener]:
    """``visit(url)`` -> (page, heard)."""
    opener = Opener(browser)
    yield opener
    opener.close()
