"""CIFAR-100: its fine labels from parquet files or torchvision's batches."""

import hashlib
import pickle

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from moebench.errors import DataError
from moebench.tasks import get_task
from test_tasks_cifar import TEST, TRAIN, encode, home, pixels, write_parquet

__all__ = ["home"]

TASK = get_task("cifar100")
LABELS = [99, 0, 7, 42] * 10


def write_set(folder, column="fine_label"):
    images = pixels(50)
    for name, part in ((TRAIN, images[:40]), (TEST, images[40:])):
        write_parquet(folder / name, [encode(image) for image in part], LABELS[: len(part)], label=column)
    return images


@pytest.mark.parametrize("below", ["cifar100", ".", "cifar100/cifar100"])
def test_fine_labels_are_read_from_every_parquet_layout(tmp_path, below):
    images = write_set(tmp_path / below)
    read = TASK.source.read("train", tmp_path)
    assert np.array_equal(read.images_NCHW, images[:40].transpose(0, 3, 1, 2))
    assert read.labels_N.tolist() == LABELS
    assert TASK.info.targets == {"class": 100}
    assert TASK.info.headline.floor == 0.01


def test_files_of_cifar10_are_not_taken_for_it(tmp_path):
    write_set(tmp_path, "label")
    with pytest.raises(DataError) as caught:
        TASK.load("train", tmp_path)
    assert caught.value.code == "not-parquet"


def test_torchvisions_batches_are_read_after_their_checksum(tmp_path, monkeypatch):
    folder, sums = tmp_path / "cifar-100-python", {}
    folder.mkdir()
    for name, count in (("train", 40), ("test", 10), ("meta", 0)):
        data = np.full((count, 3072), count, np.uint8)
        values = {"data": data, "fine_labels": LABELS[:count], "fine_label_names": [str(i) for i in range(100)]}
        content = pickle.dumps(values)
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": sums["meta"]})
    assert TASK.source.read("train", tmp_path).labels_N.tolist() == LABELS
    assert len(TASK.load("test", tmp_path)) == 10
    (folder / "test").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(DataError) as caught:
        TASK.load("test", tmp_path)
    assert caught.value.code == "checksum"


def test_offline_it_says_where_to_put_what(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR100, "url", "http://127.0.0.1:9/cifar-100-python.tar.gz")
    with pytest.raises(DataError) as caught:
        TASK.digest(tmp_path / "data")
    assert caught.value.code == "data-missing"
    assert "cifar-100-python.tar.gz" in str(caught.value)
