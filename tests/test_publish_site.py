"""The site of all published boards: what is on it, that its log forgets nothing, and that names stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from boards import HOSTILE, hostile_board, small_board
from moebench.errors import ResultsError
from moebench.publish import site
from moebench.publish.site import slug, write_site


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two directories with boards; what is below a third is none."""
    root = tmp_path / "published"
    boards = {"tiny/cpu": small_board(tmp_path / "a").board(), "odd/cpu": hostile_board(tmp_path / "b")}
    for folder in (*boards, "other"):
        (root / folder).mkdir(parents=True)
        (root / folder / "board.json").write_text("{}")
    monkeypatch.setattr(site, "is_published", lambda path: path.name == "cpu")
    monkeypatch.setattr(site, "published_board", lambda path: boards[path.relative_to(root).as_posix()])
    return root


def test_it_has_an_index_a_page_a_row_a_log_and_the_boards(published: Path, tmp_path: Path) -> None:
    to = tmp_path / "site"
    pages = write_site(published, to)
    assert to / "index.html" in pages
    assert (to / "boards/tiny/cpu/board.html").is_file()
    assert json.loads((to / "boards/tiny/cpu/board.json").read_text())["suite"] == "tiny"
    index = (to / "index.html").read_text()
    assert "On digits at 264k parameters soft_moe has significantly the best accuracy" in index
    for address in re.findall(r'href="([^"#]+)', index):
        assert address == "data:," or (to / address).is_file(), address
    page = (to / "variants/sparse_topk.html").read_text()
    source = (to / "variants/soft_moe.html").read_text()
    assert 'href="https://arxiv.org/abs/2308.00951" rel="noreferrer"' in source
    assert page.count("<tr>") == 3, "a head, and a line for each board"
    assert "<td>2.46 ms (1.28x) at batch 64</td><td>0.821 ms (3.42x)</td>" in page
    for address in re.findall(r'href="(\.\./[^"#]+)', page):
        assert (to / "variants" / address).is_file(), address


def test_the_same_boards_give_the_same_site(published: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_site(published, tmp_path / name)
    write_site(published, tmp_path / "two")
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two


def test_nothing_is_taken_out_of_the_log(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "site"
    write_site(published, to)
    before = json.loads((to / "log.json").read_text())
    assert {each["board"].partition(",")[0] for each in before} == {"tiny/cpu", "odd/cpu"}
    monkeypatch.setattr(site, "is_published", lambda path: path.parent.name == "tiny")
    write_site(published, to)
    assert json.loads((to / "log.json").read_text()) == before


def test_hostile_names_are_text(published: Path, tmp_path: Path) -> None:
    to = tmp_path / "site"
    for page in write_site(published, to):
        text = page.read_text()
        assert "<script>alert" not in text
        assert 'href="javascript:' not in text
        assert "\x1b" not in text
        assert text.count("<script") == 1
        assert page.resolve().is_relative_to(to.resolve())
    assert (to / f"variants/{slug(HOSTILE)}.html").is_file()


def test_no_two_names_have_one_page() -> None:
    names = ["a", "A", "a/b", "a b", "../a", "", "x" * 70, "x" * 71]
    assert len({slug(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_-]+", slug(name)) for name in names)


def test_without_a_board_there_is_no_site(tmp_path: Path) -> None:
    for root, code in ((tmp_path, "nothing-published"), (tmp_path / "none", "no-directory")):
        with pytest.raises(ResultsError) as caught:
            write_site(root, tmp_path / "site")
        assert caught.value.code == code
