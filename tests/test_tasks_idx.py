"""Fashion-MNIST and MNIST from idx files: layouts, parts, damage, and where they are looked for."""

import gzip
import os
import struct
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torchvision

from moebench.errors import DataError
from moebench.tasks import get_task

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home without network: no test reads the user's data or reaches out."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOEBENCH_DATA", raising=False)
    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])
    return tmp_path


def write_idx(path, array):
    array = np.asarray(array, dtype=np.uint8)
    content = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def small_set(seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (72, 28, 28), dtype=np.uint8)
    return {
        IMAGES: images[:60],
        LABELS: np.arange(60) % 10,
        TEST_IMAGES: images[60:],
        TEST_LABELS: np.arange(12) % 10,
    }


def write_set(folder, suffix="", **changed):
    arrays = small_set() | changed
    for name, array in arrays.items():
        write_idx(folder / f"{name}{suffix}", array)
    return arrays


def load(part, folder):
    return get_task("fashion_mnist").load(part, folder)


def row_set(split):
    return {row.numpy().tobytes() for row in split.inputs}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", [".", "fashion-mnist", "fashion_mnist", "FashionMNIST/raw"])
def test_every_layout_that_people_have_is_found(tmp_path, below, suffix):
    arrays = write_set(tmp_path / below, suffix)
    test = load("test", tmp_path)
    assert test.inputs.shape == (12, 1, 28, 28)
    assert test.targets["class"].tolist() == arrays[TEST_LABELS].tolist()


@pytest.mark.parametrize("below", [".", "mnist", "MNIST/raw"])
def test_mnist_has_the_same_layouts(tmp_path, below):
    write_set(tmp_path / below)
    assert len(get_task("mnist").load("train", tmp_path)) == 50


def test_plain_and_gzipped_files_have_one_digest_and_two_fingerprints(tmp_path):
    write_set(tmp_path / "a")
    write_set(tmp_path / "b", ".gz")
    task = get_task("fashion_mnist")
    assert task.digest(tmp_path / "a") == task.digest(tmp_path / "b")
    assert task.fingerprint(tmp_path / "a") != task.fingerprint(tmp_path / "b")


def test_parts_hold_the_right_rows_and_no_test_row_reaches_the_tuner(tmp_path):
    arrays = write_set(tmp_path)
    train, validation, test = (load(part, tmp_path) for part in ("train", "validation", "test"))
    assert len(row_set(train) | row_set(validation) | row_set(test)) == 72
    assert validation.targets["class"].bincount().tolist() == [1] * 10
    images, labels = arrays[IMAGES].astype(np.float64), arrays[LABELS]
    # Inverting the normalisation gives back the pixels, each beside its own label.
    pixels_of = {image.astype(np.uint8).tobytes(): label for image, label in zip(images, labels, strict=True)}
    mean, std = training_statistics(images, train)
    for split in (train, validation):
        for image, target in zip(split.inputs[:, 0].double() * std + mean, split.targets["class"], strict=True):
            assert pixels_of[image.round().numpy().astype(np.uint8).tobytes()] == target
    np.testing.assert_allclose(test.inputs[:, 0], (arrays[TEST_IMAGES] - mean) / std, atol=1e-5)


def training_statistics(images, train):
    """Mean and deviation of the rows in the training part, found without the code under test."""
    low, high = train.inputs.min().item(), train.inputs.max().item()
    scale = 255 / (high - low)
    restored = train.inputs.double() * scale - low * scale
    assert {r.round().numpy().astype(np.uint8).tobytes() for r in restored} <= {
        i.astype(np.uint8).tobytes() for i in images
    }
    return restored.mean().item(), restored.std(correction=0).item()


def test_train_and_validation_do_not_depend_on_the_test_set(tmp_path):
    arrays = write_set(tmp_path / "a")
    write_set(
        tmp_path / "b",
        **{TEST_LABELS: 9 - arrays[TEST_LABELS], TEST_IMAGES: 255 - arrays[TEST_IMAGES]},
    )
    for part in ("train", "validation"):
        one, two = load(part, tmp_path / "a"), load(part, tmp_path / "b")
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.targets["class"], two.targets["class"])
    task = get_task("fashion_mnist")
    assert task.digest(tmp_path / "a") != task.digest(tmp_path / "b")


def test_train_and_validation_do_not_open_the_test_files(tmp_path):
    write_set(tmp_path)
    (tmp_path / TEST_LABELS).write_bytes(b"")
    (tmp_path / TEST_IMAGES).write_bytes(b"")
    assert len(load("train", tmp_path)) == 50
    assert len(load("validation", tmp_path)) == 10
    with pytest.raises(DataError):
        load("test", tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def wrong_magic(path):
    path.write_bytes(b"\0\0\x0d\x03" + path.read_bytes()[4:])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize(
    ("suffix", "damage", "says"),
    [
        (".gz", cut, "not a whole gzip file"),
        (".gz", empty, "not an idx file"),
        (".gz", wrong_magic, "not a whole gzip file"),
        ("", cut, "truncated or damaged"),
        ("", lengthen, "truncated or damaged"),
        ("", wrong_magic, "should begin with 0000080"),
        ("", empty, "should begin with .* not nothing"),
    ],
)
def test_a_damaged_file_is_named_and_kept(tmp_path, name, suffix, damage, says):
    write_set(tmp_path, suffix)
    path = tmp_path / f"{name}{suffix}"
    damage(path)
    before = path.read_bytes()
    for use in (lambda: load("train", tmp_path), lambda: get_task("fashion_mnist").digest(tmp_path)):
        with pytest.raises(DataError, match=says) as caught:
            use()
        assert f"'{path}'" in str(caught.value)
    assert path.read_bytes() == before
    assert len(list(tmp_path.glob("*ubyte*"))) == 4


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({LABELS: np.arange(59) % 10}, "holds 60 images and .* 59 labels"),
        ({LABELS: np.full(60, 10)}, "labels from 0 to 9"),
        ({IMAGES: np.zeros((60, 27, 28))}, "are 27 x 28; Fashion-MNIST has 28 x 28"),
        ({IMAGES: np.zeros((0, 28, 28)), LABELS: np.zeros(0)}, "at least one"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, changed, says):
    write_set(tmp_path, **changed)
    with pytest.raises(DataError, match=says):
        load("train", tmp_path)


def test_mnist_under_the_same_names_is_not_taken_for_fashion_mnist(tmp_path):
    labels = np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9] * 3)
    write_set(tmp_path, **{LABELS: labels})
    assert len(get_task("mnist").load("train", tmp_path)) == 50
    for part in ("train", "test"):
        with pytest.raises(DataError, match="is of MNIST, whose files have the same names"):
            load(part, tmp_path)


def test_a_named_directory_without_data_is_not_replaced_by_another(tmp_path, monkeypatch):
    write_set(tmp_path / "elsewhere")
    monkeypatch.setenv("MOEBENCH_DATA", str(tmp_path / "elsewhere"))
    named = tmp_path / "named"
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        load("train", named)
    message = str(caught.value)
    assert f"is not in '{named}'" in message
    assert f"put {IMAGES}.gz, {LABELS}.gz" in message
    assert str(named / "fashion-mnist") in message
    assert "elsewhere" not in message
    assert not named.exists()


def test_without_a_name_the_variable_comes_before_the_cache(tmp_path, monkeypatch):
    task = get_task("mnist")
    write_set(tmp_path / "cache/moebench/data/mnist")
    in_cache = task.fingerprint(None)
    write_set(tmp_path / "mine/mnist")
    monkeypatch.setenv("MOEBENCH_DATA", str(tmp_path / "mine"))
    assert task.fingerprint(None) == task.fingerprint(tmp_path / "mine") != in_cache
    monkeypatch.setenv("MOEBENCH_DATA", str(tmp_path / "without"))
    assert task.fingerprint(None) == in_cache
    assert len(task.load("train", None)) == 50


def test_a_missing_file_of_the_four_is_the_one_that_is_asked_for(tmp_path):
    write_set(tmp_path / "fashion-mnist", ".gz")
    (tmp_path / "fashion-mnist" / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(DataError, match=f"put the missing {TEST_LABELS}.gz beside the others in"):
        load("train", tmp_path)


def test_a_file_in_place_of_the_data_directory_is_refused(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match=r"data' is a file; name the directory"):
        load("train", tmp_path / "data")


def test_a_fingerprint_follows_the_files_and_never_downloads(tmp_path):
    task = get_task("fashion_mnist")
    with pytest.raises(DataError) as caught:
        task.fingerprint(tmp_path / "none")
    assert "download" not in str(caught.value)
    write_set(tmp_path)
    first = task.fingerprint(tmp_path)
    assert task.fingerprint(tmp_path) == first
    os.utime(tmp_path / TEST_LABELS, ns=(1, 1))
    assert task.fingerprint(tmp_path) != first


def test_the_whole_of_fashion_mnist(fashion_mnist_dir):
    task = get_task("fashion_mnist")
    assert task.digest(fashion_mnist_dir) == "167c29b3fa2817e612e9"
    train, validation = task.load("train", fashion_mnist_dir), task.load("validation", fashion_mnist_dir)
    assert train.targets["class"].bincount().tolist() == [5000] * 10
    assert validation.targets["class"].bincount().tolist() == [1000] * 10
    assert train.inputs.shape == (50_000, *astuple(task.info.inputs))
    assert abs(train.inputs.mean()) < 1e-4
    assert abs(train.inputs.std() - 1) < 1e-4
