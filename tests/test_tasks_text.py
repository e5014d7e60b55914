"""Tasks of text: parts by document, windows, tokenizers, bits per byte, masks; and what cannot be read."""

import gzip
import json
import math
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from moebench.errors import DataError, SuiteError, UnknownNameError
from moebench.tasks import get_task, load_part
from moebench.tasks.base import Split
from moebench.tasks.catalogue import split_settings, with_settings
from moebench.tasks.corpora import Own, part_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("moebench.tasks.tokens.cache_dir", lambda: tmp_path / "cache")


def corpus(folder: Path, documents: int = 60, words: int = 80) -> Path:
    """Text files of words that repeat, so that a tokenizer has something to merge."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        (folder / f"{number:03}.txt").write_text(f"document {number} " + "the quick brown fox " * words)
    return folder


def all_bytes(split: Split) -> bytes:
    """The windows side by side, and the last target."""
    return bytes([*split.inputs.flatten().tolist(), int(split.targets["token"][-1, -1])])


def test_windows_tile_a_part_and_every_target_is_the_next_byte(tmp_path):
    task = get_task("text")
    train = load_part(task, "train", corpus(tmp_path / "data"))
    assert train.inputs.shape[1] == 64
    assert train.inputs.dtype == torch.uint8  # read in place: nothing is copied
    flat_I, flat_T = train.inputs.flatten(), train.targets["token"].flatten()
    assert torch.equal(flat_I[1:], flat_T[:-1])
    names = [path.stem for path in sorted((tmp_path / "data").iterdir()) if part_of(path.name) == "train"]
    text = "".join((tmp_path / "data" / f"{name}.txt").read_text() + "\n" for name in names).encode()
    assert text.startswith(all_bytes(train))
    assert len(text) - len(all_bytes(train)) < 64


def test_parts_are_of_different_documents_and_a_document_keeps_its_part(tmp_path):
    task, folder = get_task("text"), corpus(tmp_path / "data")
    found = {part: all_bytes(load_part(task, part, folder)).decode() for part in ("train", "validation", "test")}
    numbers = {part: set(re.findall(r"document (\d+)", text)) for part, text in found.items()}
    assert all(numbers.values())
    assert not (numbers["train"] & numbers["validation"] | numbers["train"] & numbers["test"])
    corpus(folder, documents=90)
    again = all_bytes(load_part(task, "validation", folder)).decode()
    assert numbers["validation"] <= set(re.findall(r"document (\d+)", again))


def test_a_single_document_is_cut_at_90_and_95_percent(tmp_path):
    (tmp_path / "data").mkdir()
    text = bytes(i % 251 for i in range(20_000))
    (tmp_path / "data" / "one.txt").write_bytes(text)
    task = get_task("text")
    assert text.startswith(all_bytes(load_part(task, "train", tmp_path / "data")))
    for part, start in (("validation", 18_000), ("test", 19_000)):
        windows = [bytes(row) for row in load_part(task, part, tmp_path / "data").inputs.tolist()]
        assert set(windows) == {text[start + 64 * n :][:64] for n in range(len(windows))}


@pytest.mark.parametrize("before", range(4))
def test_a_document_is_cut_between_characters_and_a_long_line_is_read_in_pieces(tmp_path, monkeypatch, before):
    """Of 4 bytes each, behind so many of 1: both cuts, and most ends of pieces, are inside a character otherwise."""
    from moebench.tasks import tokens

    monkeypatch.setattr(tokens, "CHUNK", 1000)
    monkeypatch.setattr(tokens, "LINE", 6)
    (tmp_path / "data").mkdir()
    text = "x" * before + "\U0001f600\U0001f9ea" * 2500
    (tmp_path / "data" / "one.txt").write_text(text)
    task = get_task("text?tokenizer=bpe-260&window=8")
    found = task._index(tmp_path / "data")
    pieces = [task.decoded(found.tokens(part).tolist(), tmp_path / "data") for part in ("train", "validation", "test")]
    assert "".join(piece.removesuffix("\n") for piece in pieces) == text
    assert [len(piece.encode()) for piece in pieces[1:]] == pytest.approx([1000, 1000], abs=8)
    assert max(len(piece.encode()) for piece in tokens._chunks(tmp_path / "data" / "one.txt")) <= 1009


def test_a_cut_that_moved_is_in_the_digest(tmp_path, monkeypatch):
    from moebench.tasks import tokens

    (tmp_path / "data").mkdir()
    digests = {}
    for name, text in {"moved": "\U0001f600" * 2503, "exact": "x" * 10_012}.items():
        (tmp_path / "data" / "one.txt").write_text(text)
        digests[name] = get_task("text").digest(tmp_path / "data")
    monkeypatch.setattr(tokens, "_next_character", lambda file, place: place)
    monkeypatch.setattr(tokens, "cache_dir", lambda: tmp_path / "other")
    tokens._index.cache_clear()
    assert get_task("text").digest(tmp_path / "data") == digests["exact"]
    (tmp_path / "data" / "one.txt").write_text("\U0001f600" * 2503)
    assert get_task("text").digest(tmp_path / "data") != digests["moved"]


def test_json_lines_and_parquet_are_the_same_text_as_their_documents(tmp_path):
    texts = [f"document {number}: " + "how now brown cow " * 30 for number in range(60)]
    lines, rows = tmp_path / "lines", tmp_path / "rows"
    lines.mkdir(), rows.mkdir()
    (lines / "x").write_text("")  # a file of nothing changes nothing
    (lines / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    parquet.write_table(pa.table({"id": range(60), "text": texts}), rows / "data.parquet")
    task = get_task("text")
    for folder in (lines, rows):
        name = "data.jsonl" if folder is lines else "data.parquet"
        kept = [text for number, text in enumerate(texts) if part_of(f"{name}:{number}") == "train"]
        found = all_bytes(load_part(task, "train", folder)).decode()
        assert len(found) > 64
        assert "".join(f"{text}\n" for text in kept).startswith(found)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("ending", ["txt", "raw", "tokens", "txt.gz"])
def test_a_text_file_is_a_document_whatever_its_ending(tmp_path, ending):
    put(tmp_path / "data" / f"wiki.{ending}", "how now brown cow " * 300)
    put(tmp_path / "data" / ".DS_Store", "hidden " * 300)
    put(tmp_path / "data" / ".git" / "log.txt", "hidden " * 300)
    (document,) = Own().documents(tmp_path / "data")
    assert (document[0], b"".join(document[1])) == (f"wiki.{ending}", b"how now brown cow " * 300)


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json", "jsonl.gz"])
def test_blank_lines_of_json_lines_are_no_documents(tmp_path, ending):
    put(tmp_path / "data" / f"x.{ending}", '{"text": "one"}\n\n  \n{"text": "two"}\n')
    found = [(name, b"".join(blocks)) for name, blocks in Own().documents(tmp_path / "data")]
    assert found == [(f"x.{ending}:0", b"one"), (f"x.{ending}:3", b"two")]


@pytest.mark.parametrize("about", ['{"citation": "x"}\n', '{\n  "license": "y"\n}\n', "[1, 2]", ""])
def test_a_json_about_the_others_is_no_document(tmp_path, about):
    put(tmp_path / "data" / "a.jsonl", '{"text": "one"}\n')
    put(tmp_path / "data" / "dataset_info.json", about)
    put(tmp_path / "data" / "README.md", "")
    assert [name for name, _ in Own().documents(tmp_path / "data")] == ["README.md", "a.jsonl:0"]
    (tmp_path / "data" / "a.jsonl").unlink()
    if about:
        with pytest.raises(DataError, match="is no JSON object with a string 'text'"):
            [*Own().documents(tmp_path / "data")]


@pytest.mark.parametrize("begins", ['[\n{"text": "one"}]', "[" * 100_000])
def test_a_json_beside_a_readme_alone_is_data_that_cannot_be_read(tmp_path, begins):
    put(tmp_path / "data" / "README.md", "about it")
    put(tmp_path / "data" / "train.json", begins)
    with pytest.raises(DataError, match=r"train\.json' line 1 is no JSON object with a string 'text'"):
        [*Own().documents(tmp_path / "data")]


def test_files_that_are_not_read_are_named_once(tmp_path, caplog):
    for name in ("a.txt", "a.csv", "b.csv", "images.gz", ".hidden.bin"):
        put(tmp_path / name, "x")
    with caplog.at_level("INFO", "moebench.tasks.corpora"):
        assert [[path.name for path in Own().files(tmp_path)] for _ in range(2)] == [["a.txt"]] * 2
    assert [r.getMessage() for r in caplog.records] == [f"data: files of {tmp_path} that are not read end in .csv, .gz"]


def test_a_directory_without_text_says_what_is_in_it(tmp_path):
    put(tmp_path / "a.csv", "x")
    put(tmp_path / "b.jsonl.zst", "x")
    with pytest.raises(DataError, match=r"; the files there end in \.csv, \.zst\.$"):
        Own().files(tmp_path)


def test_as_many_tokens_are_scored_as_a_suite_says_spread_over_the_part(tmp_path):
    folder = corpus(tmp_path / "data")
    every, few = get_task("text?window=16"), get_task("text?scored=80&window=16")
    whole = every._windows("validation", folder).inputs
    some = load_part(few, "validation", folder).inputs.tolist()
    assert sorted(some) == sorted(whole[torch.arange(5) * len(whole) // 5].tolist())
    assert torch.equal(load_part(few, "train", folder).inputs, load_part(every, "train", folder).inputs)
    assert (few.info.name, every.info.name) == ("text-bytes-16-80", "text-bytes-16")
    assert few.split != every.split


@pytest.mark.parametrize("name", ["text", "text_masked"])
def test_the_first_held_out_windows_are_of_all_the_text_in_the_same_order_each_time(name, tmp_path):
    folder, task = corpus(tmp_path / "data"), get_task(f"{name}?window=16")
    in_order = [tuple(row) for row in task._windows("validation", folder).inputs.tolist()]
    loaded = load_part(task, "validation", folder)
    assert loaded.inputs.equal(load_part(task, "validation", folder).inputs)
    read = [tuple(row) for row in (loaded.targets["token"] if task.masked else loaded.inputs).tolist()]
    places = sorted(in_order.index(row) for row in set(read[: len(read) // 4]))
    assert sorted(read) == sorted(in_order)
    assert places[0] < len(in_order) / 4
    assert places[-1] > len(in_order) / 2, "measures that read the first windows read late ones, too"


def test_bits_per_byte_by_hand():
    task = get_task("text?window=2")
    batch = Split(torch.tensor([[1, 2], [3, 4]]), {"token": torch.tensor([[2, 3], [4, 5]])})
    logits = torch.zeros(2, 2, 256)
    values = task.scores({"token": logits}, batch)
    found = task.summary(values)
    assert found["bits_per_byte"] == pytest.approx(8.0)
    assert found["loss_nats"] == pytest.approx(math.log(256))
    assert (found["scored_bytes"], found["scored_tokens"]) == (4, 4)
    assert float(task.loss({"token": logits}, batch)) == pytest.approx(math.log(256))
    logits[0, 0, 2] = 50.0  # certain, and right
    assert task.summary(task.scores({"token": logits}, batch))["bits_per_byte"] == pytest.approx(6.0)


def test_bits_per_byte_count_bytes_whatever_the_tokenizer(tmp_path):
    folder = corpus(tmp_path / "data")
    task = get_task("text?tokenizer=bpe-270&window=8")
    test = load_part(task, "test", folder)
    values = task.scores({"token": torch.zeros(*test.inputs.shape, 270)}, test)
    found = task.summary(values)
    assert found["scored_bytes"] > found["scored_tokens"]
    assert found["bits_per_byte"] == pytest.approx(found["scored_tokens"] * math.log2(270) / found["scored_bytes"])
    # The tokens are those of the text: decoded they give it back.
    from tokenizers import Tokenizer

    coder = Tokenizer.from_file(str(task._index(folder).folder / "tokenizer.json"))
    assert "the quick brown fox" in coder.decode(test.inputs.flatten().tolist())
    assert task.digest(folder) != get_task("text").digest(folder)


def test_a_tokenizer_is_trained_on_the_training_part_alone_and_the_same_every_time(tmp_path, monkeypatch):
    folder = corpus(tmp_path / "data")
    first = get_task("text?tokenizer=bpe-270").digest(folder)
    for path in folder.iterdir():
        if part_of(path.name) == "test":
            path.write_text("zebra " * 200)
    monkeypatch.setattr("moebench.tasks.tokens.cache_dir", lambda: tmp_path / "other")
    task = get_task("text?tokenizer=bpe-270")
    coder = json.loads((task._index(folder).folder / "tokenizer.json").read_text())
    assert not any("zebra" in token for token in coder["model"]["vocab"])
    assert task.digest(folder) != first  # the data are others


def test_hidden_tokens_alone_are_scored_and_held_out_masks_are_fixed(tmp_path):
    task, folder = get_task("text_masked"), corpus(tmp_path / "data")
    one, two = (load_part(task, "validation", folder) for _ in range(2))
    assert torch.equal(one.inputs, two.inputs)
    hidden = one.inputs == 256
    assert 0.1 < float(hidden.float().mean()) < 0.2
    assert torch.equal(one.inputs[~hidden], one.targets["token"][~hidden])
    logits = torch.zeros(*one.inputs.shape, 256)
    logits[~hidden] = torch.randn(int((~hidden).sum()), 256)  # what is not hidden does not count
    found = task.summary(task.scores({"token": logits}, one))
    assert found["bits_per_masked_byte"] == pytest.approx(8.0)
    assert float(task.loss({"token": logits}, one)) == pytest.approx(math.log(256), rel=1e-6)
    stream = load_part(task, "train", folder)
    a, b = (stream.draw(4, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(a.inputs, b.inputs)
    assert not torch.equal(a.inputs, stream.draw(4, torch.Generator().manual_seed(1)).inputs)


def test_domains_have_equal_shares_and_say_which_they_are(tmp_path, monkeypatch):
    from moebench.tasks.text import TextTask

    class Other(Own):
        domain = "other"

        def files(self, data_dir):
            return sorted((data_dir.parent / "other").iterdir())

    corpus(tmp_path / "data", words=20), corpus(tmp_path / "other", words=100)
    task = TextTask("both", "both", [Own(), Other()])
    train = task.load("train", tmp_path / "data")
    counts = train.groups_NT[:, 0].bincount()
    assert counts[0] == counts[1] > 0
    assert train.groups_NT[:4, 0].tolist() == [0, 1, 0, 1], "scores of single tokens look at the first inputs"
    assert task.group_names([1, 0]) == ["other", "own"]


BAD = [
    ("empty", lambda folder: (folder / "a.txt").write_text(""), "text", "empty-corpus"),
    ("short", lambda folder: (folder / "a.txt").write_text("short " * 20), "text", "shorter-than-window"),
    (
        "latin",
        lambda folder: (folder / "a.txt").write_bytes(b"caf\xe9 " * 999),
        "text?tokenizer=bpe-270",
        "text-not-utf-8",
    ),
    (
        "big",
        lambda folder: (folder / "a.txt").write_text("ab " * 999),
        "text?tokenizer=bpe-4096",
        "vocabulary-too-large",
    ),
    ("keys", lambda folder: (folder / "a.jsonl").write_text('{"txt": "a"}\n'), "text", "line-without-text"),
    ("column", lambda f: parquet.write_table(pa.table({"words": ["a"]}), f / "a.parquet"), "text", "column-missing"),
    ("numbers", lambda f: parquet.write_table(pa.table({"text": [1]}), f / "a.parquet"), "text", "column-not-text"),
    ("no parquet", lambda folder: (folder / "a.parquet").write_text("no"), "text", "text-not-parquet"),
    ("no gzip", lambda folder: (folder / "a.txt.gz").write_text("no"), "text", "text-not-gzip"),
    ("half", lambda f: (f / "a.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-9]), "text", "text-not-gzip"),
    ("nothing", lambda folder: None, "text", "data-missing"),
    ("another", lambda folder: (folder / "tinyshakespeare.txt").write_text("no"), "shakespeare", "other-checksum"),
]


@pytest.mark.parametrize(("write", "name", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_read_is_one_sentence(tmp_path, write, name, code):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    with pytest.raises(DataError) as caught:
        load_part(get_task(name), "train", tmp_path / "data")
    assert caught.value.code == code


def test_a_tokenizer_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError) as caught:
        load_part(get_task("text?tokenizer=bpe-270"), "train", corpus(tmp_path / "data"))
    assert caught.value.code == "package-missing"


def test_bytes_take_anything(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "enwik").write_bytes(bytes(range(256)) * 40)
    assert load_part(get_task("text"), "train", tmp_path / "data").inputs.max() == 255


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("code?windw=3", "unknown-setting"),
        ("code?window=x", "wrong-task-setting"),
        ("code?window=1", "window"),
        ("code?scored=63", "scored"),
        ("code?tokenizer=wordpiece", "unknown-tokenizer"),
        ("code?tokenizer=bpe-12", "unknown-tokenizer"),
        ("digits?window=3", "unknown-setting"),
    ],
)
def test_a_setting_that_a_task_does_not_have_is_refused(name, code):
    with pytest.raises((SuiteError, UnknownNameError)) as caught:
        get_task(name)
    assert caught.value.code == code


def test_nats_of_a_token_may_rank_in_place_of_bits_per_byte():
    task = get_task("code")
    assert task.score_that_ranks("loss").floor == pytest.approx(math.log(256))
    assert task.score_beside("loss") == task.info.headline


def test_a_name_holds_the_settings():
    name = with_settings("code", {"window": 128, "tokenizer": "bpe-1024"})
    assert split_settings(name) == ("code", {"window": "128", "tokenizer": "bpe-1024"})
    assert split_settings("mine.py:Mine") == ("mine.py:Mine", {})
    assert get_task(name).info.name == "code-bpe-1024-128"
    assert get_task(with_settings("code", {})) is get_task("code")
