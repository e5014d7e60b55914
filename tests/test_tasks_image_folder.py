"""A directory of images as a task: layouts, crops, the stream of training, and what is wrong with a directory."""

import numpy as np
import PIL.Image
import pytest
import torch

from moebench.errors import DataError
from moebench.tasks import Stream, get_task, load_part
from moebench.tasks.image_folder import AREA, ASPECT, MEAN, STD, ImageFolderTask, _random

CLASSES = ("ant", "bee", "cow")
SIZE = 16


def make(**how):
    return ImageFolderTask("tiny", "tiny", **({"size": SIZE, "classes": len(CLASSES)} | how))


def write_set(root, train=4, val=6, classes=CLASSES, size=(40, 30)):
    """Every image has the one colour of its class, and another shade of it for each image."""
    for part, count in (("train", train), ("val", val)):
        for place, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                colour = np.zeros((*size[::-1], 3), np.uint8)
                colour[..., place % 3] = 100 + 10 * i
                PIL.Image.fromarray(colour).save(root / part / name / f"{i}.png")


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path)
    return tmp_path


def test_halves_of_val_share_no_image_and_have_every_class_alike(root):
    parts = {part: load_part(make(), part, root) for part in ("validation", "test")}
    for split in parts.values():
        assert split.inputs.shape == (9, 3, SIZE, SIZE)
        assert split.targets["class"].bincount().tolist() == [3, 3, 3]
    rows = [{row.numpy().tobytes() for row in split.inputs} for split in parts.values()]
    assert len(rows[0] | rows[1]) == 18


def test_pixels_are_normalised_and_belong_to_their_class(root):
    split = make().load("test", root)
    back = split.inputs.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)
    for image, label in zip(back, split.targets["class"].tolist(), strict=True):
        others = [channel for channel in range(3) if channel != label]
        assert (image[..., label] >= 99 / 255).all()
        assert image[..., others].abs().max() < 1e-6


def test_training_is_a_stream_that_its_generator_alone_decides(root):
    stream = load_part(make(), "train", root)
    assert isinstance(stream, Stream)
    first, again, other = (stream.draw(32, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert set(first.targets["class"].tolist()) == {0, 1, 2}
    assert first.inputs.shape == (32, 3, SIZE, SIZE)


def test_half_of_the_training_images_are_mirrored(tmp_path):
    write_set(tmp_path, train=1)
    slope = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    for name in CLASSES:
        PIL.Image.fromarray(slope).save(tmp_path / "train" / name / "0.png")
    drawn = make().load("train", tmp_path).draw(100, torch.Generator().manual_seed(0)).inputs
    falls = (drawn[:, 0, :, 0] > drawn[:, 0, :, -1]).all(1).sum()
    assert 35 < falls < 65


@pytest.mark.parametrize("size", [(400, 300), (50, 500)])
def test_a_random_window_lies_in_the_image(size):
    for chance in torch.rand(300, 4, generator=torch.Generator().manual_seed(0)).tolist():
        left, top, right, bottom = _random(*size, chance)
        assert 0 <= left < right <= size[0] + 1e-6
        assert 0 <= top < bottom <= size[1] + 1e-6
        share, ratio = (right - left) * (bottom - top) / (size[0] * size[1]), (right - left) / (bottom - top)
        assert share <= AREA[1] + 1e-6
        if size == (400, 300) and share < 0.5:  # not cut off at an edge
            assert AREA[0] - 1e-6 <= share
            assert ASPECT[0] - 1e-6 <= ratio <= ASPECT[1] + 1e-6


def test_the_middle_is_tested(tmp_path):
    write_set(tmp_path, val=2)
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 110:190] = 255  # the middle square is from 106.25 to 193.75
    for name in CLASSES:
        for i in range(2):
            PIL.Image.fromarray(image).save(tmp_path / "val" / name / f"{i}.png")
    seen = make().load("test", tmp_path).inputs[0, 0]
    assert seen.shape == (SIZE, SIZE)
    assert (seen[:, 2:-2] == seen.max()).all()


def test_a_changed_file_is_other_data_and_a_touched_one_is_not(root):
    task = make()
    digest, fingerprint = task.digest(root), task.fingerprint(root)
    path = root / "val" / "bee" / "0.png"
    path.touch()
    assert task.digest(root) == digest
    assert task.fingerprint(root) != fingerprint
    path.write_bytes(path.read_bytes() + b"\0")
    assert task.digest(root) != digest


@pytest.mark.parametrize("below", ["image_folder", "imagenet", "."])
def test_where_it_is_found(tmp_path, below):
    write_set(tmp_path / below, 1, 2)
    assert len(make(folders=("image_folder", "imagenet")).load("test", tmp_path)) == 3


def load_both(root):
    return [make().load(part, root) for part in ("validation", "test")]


def damage(root, how):
    victim = root / "val" / "bee"
    if how == "class-without-image":
        for path in victim.iterdir():
            path.rename(path.with_suffix(".txt"))
    elif how == "image-undecodable":
        path = victim / "0.png"
        path.write_bytes(path.read_bytes()[:40])
    elif how == "folders-of-classes":
        victim.rename(root / "bee")
    else:
        (root / "val").rename(root / "valid")


@pytest.mark.parametrize("code", ["class-without-image", "image-undecodable", "folders-of-classes", "data-missing"])
def test_a_directory_that_is_none_is_refused(root, code):
    damage(root, code)
    with pytest.raises(DataError) as caught:
        load_both(root)
    assert caught.value.code == code


def test_the_task_that_moebench_brings_has_the_shape_of_imagenet(tmp_path):
    task = get_task("image_folder")
    assert (task.info.inputs.shape, task.info.targets) == ((3, 224, 224), {"class": 1000})
    with pytest.raises(DataError) as caught:
        task.fingerprint(tmp_path)
    assert caught.value.code == "data-missing"
