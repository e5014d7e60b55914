"""Data sets are what they are called: the originals are known, and anything else of their shape is named as unknown."""

import gzip

import numpy as np
import pytest

from moebench.board.build import build_board
from moebench.board.words import heading
from moebench.tasks import get_task
from moebench.tasks.base import UNKNOWN, UNKNOWN_DATA
from moebench.tasks.mnist import MNIST, _checksums
from moebench.tasks.pixels import Pixels
from plans import ALONE, a_plan
from test_plans_cache import FASHION, write_idx


@pytest.mark.parametrize("task", ["fashion_mnist", "mnist", "fashion_mnist_2k"])
def test_files_of_those_names_with_other_images_are_unknown_data(tmp_path, task):
    write_idx(tmp_path)
    digest, info = get_task(task).digest(tmp_path), get_task(task).info
    assert digest.startswith(UNKNOWN)
    assert len(digest) == len(UNKNOWN) + 20
    assert info.label_of(digest) == f"{UNKNOWN_DATA}{info.label}"


def test_the_board_says_so(tmp_path):
    write_idx(tmp_path)
    plan = a_plan(data=tmp_path, **{**FASHION, **ALONE})
    board = build_board(plan, lambda identity: None)
    assert board.tasks[0].label == f"{UNKNOWN_DATA}Fashion-MNIST"
    assert f"{UNKNOWN_DATA}Fashion-MNIST" in heading(board, plan.suite.budgets[0])


def test_the_original_is_known_by_its_files_whether_packed_or_not(fashion_mnist_dir, tmp_path):
    task = get_task("fashion_mnist")
    digest = task.digest(fashion_mnist_dir)
    assert task.info.label_of(digest) == "Fashion-MNIST"
    files = task.source.locate(fashion_mnist_dir)
    for path in files.values():
        content = path.read_bytes()
        (tmp_path / path.stem).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
    assert task.digest(tmp_path) == digest


def test_checksums_are_those_of_idx_files():
    images = np.zeros((2, 1, 28, 28), dtype=np.uint8)
    import hashlib

    whole = bytes.fromhex("00000803000000020000001c0000001c") + images.tobytes()
    labels = bytes.fromhex("0000080100000002") + b"\x01\x02"
    assert [*_checksums(Pixels(images, np.array([1, 2])))] == [
        hashlib.md5(each, usedforsecurity=False).hexdigest() for each in (whole, labels)
    ]
    assert len(MNIST.source.checksums) == 4


def test_the_digits_and_the_known_copy_of_cifar_are_no_unknown_data(cifar10_dir):
    assert not get_task("digits").digest().startswith(UNKNOWN)
    cifar = get_task("cifar10")
    assert cifar.info.label_of(cifar.digest(cifar10_dir)) == "CIFAR-10 (JPEG)"
