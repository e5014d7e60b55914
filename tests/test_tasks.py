"""The list of tasks, the embedded digits, partitions, statistics and augmentation."""

import subprocess
import sys
import zlib
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moebench.errors import UnknownNameError
from moebench.plugins.find import TASKS
from moebench.tasks import Image, augment_batch, get_task, image_task
from moebench.tasks.partition import OfficialTest, ThreeWay, stratified
from moebench.tasks.pixels import Pixels, channel_stats, content_digest

PARTS = ("train", "validation", "test")
DIGITS_ROWS = {"train": 3601022400, "validation": 893770361, "test": 488846306}


def rows_as_bytes(split):
    return [row.numpy().tobytes() for row in split.inputs]


def test_listing_tasks_pays_for_no_heavy_library():
    code = (
        "import sys\nfrom moebench.plugins.find import TASKS\nfrom moebench.tasks import Image, get_task\n"
        "names = list(TASKS.installed())\nassert [get_task(name).info.name for name in names] == names\n"
        "get_task('digits').fingerprint(None)\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'pyarrow', 'torchvision', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_misspelt_task_or_part_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown task 'digit'; did you mean 'digits'"):
        get_task("digit")
    with pytest.raises(UnknownNameError, match=r"unknown part 'valid' in task 'digits'"):
        get_task("digits").load("valid", None)


@pytest.mark.parametrize("name", TASKS.installed())
def test_what_is_known_of_a_task_agrees_with_itself(name):
    info = get_task(name).info
    assert info.name == name
    if get_task(name).class_target is not None:
        assert info.headline.floor == 1 / info.outputs
        assert isinstance(info.inputs, Image)
    assert get_task(name).augment == ("crop-flip" if name in ("cifar10", "cifar100") else None)


def test_digits_parts_share_no_image_row_and_cover_the_set():
    parts = {part: get_task("digits").load(part, None) for part in PARTS}
    assert [len(parts[part]) for part in PARTS] == [1077, 360, 360]
    labels = get_task("digits").source.read("all", None).labels_N
    assert sorted(np.concatenate(list(ThreeWay().rows(labels).values()))) == list(range(1797))
    bags = {part: set(rows_as_bytes(split)) for part, split in parts.items()}
    assert not bags["train"] & bags["test"]
    assert not bags["validation"] & bags["test"]
    assert not bags["train"] & bags["validation"]


def test_digits_classes_keep_their_proportions():
    for part, low, high in (("train", 104, 109), ("validation", 35, 37), ("test", 35, 37)):
        counts = get_task("digits").load(part, None).targets["class"].bincount()
        assert len(counts) == 10
        assert low <= counts.min()
        assert counts.max() <= high


def test_digits_are_normalised_by_the_training_part_alone():
    train, test = (get_task("digits").load(part, None) for part in ("train", "test"))
    assert train.inputs.shape[1:] == astuple(get_task("digits").info.inputs)
    assert train.inputs.dtype == torch.float32
    assert train.targets["class"].dtype == torch.int64
    assert train.inputs.mean().abs() < 1e-6
    assert (train.inputs.std(correction=0) - 1).abs() < 1e-6
    assert test.inputs.mean().abs() > 1e-3
    # Pixel values 0 and 16 map to the same two numbers in every part: one pair of constants for all.
    assert (train.inputs.min(), train.inputs.max()) == (test.inputs.min(), test.inputs.max())


def test_statistics_are_worked_out_once_for_all_parts_of_the_same_files(monkeypatch):
    worked, files, digits = [], ["one"], get_task("digits")
    source = digits.source
    monkeypatch.setattr(image_task, "channel_stats", lambda images: worked.append(len(images)) or channel_stats(images))
    watched = SimpleNamespace(read=source.read, pools=source.pools, fingerprint=lambda data_dir: files[-1])
    task = image_task.ImageTask(digits.info, watched, digits.partition)
    for part in ("train", "validation", "test"):
        assert torch.equal(task.load(part).inputs, digits.load(part).inputs)
    assert len(worked) == 1
    files.append("others")
    task.load("test")
    assert len(worked) == 2


def test_digits_split_and_content_are_those_of_published_results():
    digits = get_task("digits")
    assert digits.split == "stratified 60/20/20 seed 0"
    assert digits.digest(None) == "7f87ea91e770a7c0bf79"
    assert digits.fingerprint(None) == digits.fingerprint(None) == "embedded"
    rows = digits.partition.rows(digits.source.read("all", None).labels_N)
    assert {part: zlib.crc32(rows[part].astype("<i8")) for part in PARTS} == DIGITS_ROWS


def test_stratified_gives_each_class_its_share_by_largest_remainder():
    # 6, 3 and 1 of ten: half of each is 3, 1.5 and 0.5, and the first of the equal remainders is rounded up.
    labels = np.array([0] * 6 + [1] * 3 + [2])
    rest, drawn = stratified(labels, 5, seed=0)
    assert np.bincount(labels[drawn], minlength=3).tolist() == [3, 2, 0]
    assert sorted([*rest, *drawn]) == list(range(10))


def test_stratified_draws_the_same_rows_for_ever():
    labels = np.arange(20) % 3
    assert stratified(labels, 6, seed=0)[1].tolist() == [1, 4, 6, 11, 17, 18]
    assert stratified(labels, 6, seed=1)[1].tolist() != [1, 4, 6, 11, 17, 18]


def test_an_official_test_set_is_not_divided_again():
    labels = np.arange(600) % 10
    rows = OfficialTest(every=6).rows(labels)
    assert set(rows) == {"train", "validation"}
    assert np.bincount(labels[rows["validation"]]).tolist() == [10] * 10
    assert not set(rows["train"]) & set(rows["validation"])


def test_channel_statistics_are_per_channel_and_exact_beyond_64_bits():
    images = np.array([[[[0, 2]], [[7, 7]]], [[[4, 6]], [[7, 7]]]], dtype=np.uint8)
    stats = channel_stats(images)
    assert stats.mean_C.tolist() == [3.0, 7.0]
    assert stats.std_C.tolist() == [5**0.5, 1.0]  # a constant channel is only centred
    large = np.zeros((1, 1, 6400, 6400), dtype=np.uint8)
    large[..., :3200] = 255
    assert channel_stats(large).std_C.tolist() == [127.5]


def test_the_digest_sees_a_pixel_a_label_and_the_order():
    def digest(images, labels):
        return content_digest({"all": Pixels(np.array(images, dtype=np.uint8), np.array(labels))})

    seen = {
        digest([[[[1]]], [[[2]]]], [0, 1]),
        digest([[[[1]]], [[[3]]]], [0, 1]),
        digest([[[[1]]], [[[2]]]], [0, 0]),
        digest([[[[2]]], [[[1]]]], [1, 0]),
        digest([[[[1, 2]]]], [0, 1]),
    }
    assert len(seen) == 5
    assert all(len(value) == 20 for value in seen)


def numbered_images(n, size=6):
    """Images whose pixels are all different and not zero, so that a window can be recognised."""
    return torch.arange(1.0, n * 2 * size * size + 1).reshape(n, 2, size, size)


def windows(image):
    """All 9 x 9 x 2 crops of one image by hand: top, left, mirrored -> (C, H, W)."""
    size = image.shape[-1]
    padded = torch.zeros(2, size + 8, size + 8)
    padded[:, 4:-4, 4:-4] = image
    for top in range(9):
        for left in range(9):
            cut = padded[:, top : top + size, left : left + size]
            yield (top, left, False), cut
            yield (top, left, True), cut.flip(-1)


def test_crop_flip_cuts_a_window_of_each_image_by_itself():
    x_NCHW = numbered_images(400)
    before = x_NCHW.clone()
    y_NCHW = augment_batch(x_NCHW, "crop-flip", torch.Generator().manual_seed(0))
    assert torch.equal(x_NCHW, before)
    assert y_NCHW.shape == x_NCHW.shape
    found = []
    for image, cut in zip(x_NCHW, y_NCHW, strict=True):
        matches = [key for key, window in windows(image) if torch.equal(window, cut)]
        assert len(matches) == 1
        found += matches
    assert {top for top, _, _ in found} == {left for _, left, _ in found} == set(range(9))
    assert 150 < sum(mirrored for _, _, mirrored in found) < 250
    assert len(set(found)) > 120  # the three draws are independent


def test_crop_flip_takes_all_chance_from_its_generator():
    x_NCHW = numbered_images(8)
    state = torch.random.get_rng_state()
    first, again, other = (
        augment_batch(x_NCHW, "crop-flip", torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_no_augmentation_draws_nothing_and_an_unknown_one_is_refused():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    x_NCHW = numbered_images(2)
    assert augment_batch(x_NCHW, None, generator) is x_NCHW
    assert torch.equal(generator.get_state(), state)
    with pytest.raises(UnknownNameError, match="unknown augmentation 'crop-flop'; did you mean 'crop-flip'"):
        augment_batch(x_NCHW, "crop-flop", generator)
