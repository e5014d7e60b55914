"""CIFAR-10 from parquet files: layouts, decoding, the cache of decoded images, and damage."""

import io
import os
import time

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torchvision.datasets import CIFAR10

from moebench.errors import DataError
from moebench.tasks import get_task

TASK = get_task("cifar10")
TRAIN, TEST = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home without network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOEBENCH_DATA", raising=False)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")


def pixels(n, seed=0, size=32):
    """Smooth images, which JPEG keeps nearly as they are."""
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(0, 256, (n, size // 16, size // 16, 3)), 16, 1), 16, 2).astype("uint8")


def encode(image, kind="PNG"):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def write_parquet(path, contents, labels, column="img", label="label", **types):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(rows, image), label: pa.array(labels, **types)})
    pq.write_table(table, path, row_group_size=16)


def write_set(folder, kind="PNG"):
    """40 training and 10 test images, all different; returns the training pixels (N, H, W, C)."""
    images = pixels(50)
    for name, part in ((TRAIN, images[:40]), (TEST, images[40:])):
        write_parquet(folder / name, [encode(image, kind) for image in part], [i % 10 for i in range(len(part))])
    return images[:40]


def row_set(split):
    return {row.numpy().tobytes() for row in split.inputs}


@pytest.mark.parametrize("below", ["cifar10", ".", "cifar10/plain_text"])
def test_every_parquet_layout_is_found_and_its_pixels_are_exact(tmp_path, below):
    images = write_set(tmp_path / below)
    read = TASK.source.read("train", tmp_path)
    assert np.array_equal(read.images_NCHW, images.transpose(0, 3, 1, 2))
    assert read.labels_N.tolist() == [i % 10 for i in range(40)]


def test_parts_share_no_image_and_are_normalised_by_the_training_part(tmp_path):
    write_set(tmp_path)
    train, validation, test = (TASK.load(part, tmp_path) for part in ("train", "validation", "test"))
    assert [len(split) for split in (train, validation, test)] == [36, 4, 10]
    assert len(row_set(train) | row_set(validation) | row_set(test)) == 50
    assert train.inputs.mean((0, 2, 3)).abs().max() < 1e-6
    assert (train.inputs.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6
    assert validation.inputs.mean((0, 2, 3)).abs().min() > 1e-3


def test_shards_are_joined_in_the_order_of_their_names(tmp_path):
    images = write_set(tmp_path)
    (tmp_path / TRAIN).unlink()
    for i, part in enumerate((images[:20], images[20:])):
        path = tmp_path / f"train-{i:05}-of-00002.parquet"
        write_parquet(path, [encode(image) for image in part], list(range(10)) * 2)
    assert np.array_equal(TASK.source.read("train", tmp_path).images_NCHW, images.transpose(0, 3, 1, 2))
    path.unlink()
    with pytest.raises(DataError, match="by its name one of 2 files, but 1 lie in"):
        TASK.load("train", tmp_path)


def test_a_copy_re_encoded_as_jpeg_is_other_data(tmp_path):
    write_set(tmp_path / "png")
    images = write_set(tmp_path / "jpeg", "JPEG")
    decoded = TASK.source.read("train", tmp_path / "jpeg").images_NCHW.transpose(0, 2, 3, 1)
    assert np.abs(decoded.astype(int) - images).mean() < 8
    assert TASK.digest(tmp_path / "png") != TASK.digest(tmp_path / "jpeg")


def test_numbers_of_a_record_are_named_by_the_copy_that_they_were_made_from():
    """What a board or a report says, which has a digest and no data."""
    assert TASK.info.label_of("955a793f275df35d3812") == "CIFAR-10 (JPEG)"
    assert TASK.info.label_of("0" * 20) == TASK.info.label == "CIFAR-10"


def spoil_in_place(path):
    """Other bytes under the same size and time: only a reader of the file itself can notice."""
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_second_load_comes_from_the_cache_and_a_changed_file_does_not(tmp_path):
    write_set(tmp_path)
    first = TASK.load("train", tmp_path)
    spoil_in_place(tmp_path / TRAIN)
    second = TASK.load("train", tmp_path)
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets["class"], second.targets["class"])
    os.utime(tmp_path / TRAIN, ns=(1, 1))
    with pytest.raises(DataError, match="not a whole parquet file"):
        TASK.load("train", tmp_path)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_a_damaged_cache_is_made_again(tmp_path, name):
    write_set(tmp_path)
    first = TASK.digest(tmp_path)
    damaged = list((tmp_path / "cache").rglob(name))
    assert len(damaged) == 2
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1])
    assert TASK.digest(tmp_path) == first
    spoil_in_place(tmp_path / TRAIN)
    assert TASK.digest(tmp_path) == first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_set(tmp_path)
    assert len(TASK.load("test", tmp_path)) == 10


@pytest.mark.parametrize("keep", [0, 100, 0.5, -4])
def test_a_cut_parquet_file_is_named_and_kept(tmp_path, keep):
    write_set(tmp_path)
    path = tmp_path / TRAIN
    content = path.read_bytes()
    content = content[: int(len(content) * keep)] if isinstance(keep, float) else content[:keep]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole parquet file with columns img") as caught:
        TASK.load("train", tmp_path)
    assert f"'{path}'" in str(caught.value)
    assert path.read_bytes() == content


def broken_png():
    """A PNG whose pixels end too early: what follows is no chunk."""
    content = bytearray(encode(pixels(1)[0]))
    content[content.index(b"IDAT") - 1] = 0
    return bytes(content)


def bad_row(content):
    """Forty images, the one at row 33 being this."""
    contents = [encode(image) for image in pixels(40)]
    contents[33] = content
    return contents


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (encode(pixels(1)[0], "JPEG")[:-30], "truncated"),
        (encode(pixels(1)[0])[:-30], ""),
        (broken_png(), "broken PNG"),
        (b"not an image", "cannot identify"),
        (None, "it is empty"),
        (encode(pixels(1, size=16)[0]), "it is 16 x 16, not 32 x 32"),
    ],
    ids=["cut JPEG", "cut PNG", "broken PNG", "text", "nothing", "small"],
)
def test_an_image_that_does_not_decode_is_named_with_its_row(tmp_path, content, says):
    write_set(tmp_path)
    write_parquet(tmp_path / TRAIN, bad_row(content), [i % 10 for i in range(40)])
    with pytest.raises(DataError, match=rf"image 33 of '.*{TRAIN}' does not decode \(.*{says}"):
        TASK.load("train", tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize(
    ("labels", "column", "says"),
    [
        ([10] * 40, "img", "a label from 0 to 9 in every row"),
        ([-1] * 40, "img", "a label from 0 to 9 in every row"),
        ([None] + [1] * 39, "img", "a label from 0 to 9 in every row"),
        (["cat"] * 40, "img", "a label from 0 to 9 in every row"),
        ([1] * 40, "image", "with columns img"),
    ],
)
def test_a_parquet_file_of_something_else_is_refused(tmp_path, labels, column, says):
    write_set(tmp_path)
    write_parquet(tmp_path / TRAIN, [encode(image) for image in pixels(40)], labels, column)
    with pytest.raises(DataError, match=says):
        TASK.load("train", tmp_path)


def test_a_training_file_without_a_test_file_is_not_a_data_set(tmp_path):
    write_set(tmp_path)
    (tmp_path / TEST).unlink()
    with pytest.raises(DataError, match=r"is not in .* put train-\*.parquet and test-\*.parquet"):
        TASK.fingerprint(tmp_path)


def test_the_whole_of_cifar10_and_a_quick_second_load(cifar10_dir):
    TASK.fingerprint(cifar10_dir)
    sizes = {part: len(TASK.load(part, cifar10_dir)) for part in ("validation", "test")}
    assert sizes == {"validation": 5000, "test": 10_000}
    start = time.monotonic()
    TASK.source.read("train", cifar10_dir)
    assert time.monotonic() - start < 1  # decoding takes several seconds
    train = TASK.load("train", cifar10_dir)
    assert train.inputs.shape == (45_000, 3, 32, 32)
    assert train.targets["class"].bincount().tolist() == [4500] * 10
