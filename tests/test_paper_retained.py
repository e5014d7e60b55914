"""The command that measures what the selected experts retain: its pixels, the start of Phi, and a row of its table."""

from __future__ import annotations

import pytest
import torch

from moebench.tasks import get_task
from moestudies.paper.retained import CASES, Case, Found, images, line, measure
from test_tasks_idx import write_set

TASK = get_task("mnist")


@pytest.fixture
def data(tmp_path):
    write_set(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("pixels", "low", "high"), [("0 to 1", 0, 1), ("-1 to 1", -1, 1), ("0 to 255", 0, 255)])
def test_pixels_are_on_the_scale_that_is_named(data, pixels, low, high):
    bytes_N = TASK.source.read("test", data).images_NCHW
    x_NCHW = images(TASK, "test", pixels, data).inputs
    assert torch.allclose(
        x_NCHW, low + (high - low) * torch.tensor(bytes_N.astype("float32")) / 255, atol=1e-4 * (high - low)
    )


def test_a_router_of_zeros_gives_every_expert_the_same(data):
    found = measure(Case("zeros", start=0.0, learned=False), 8, TASK, data, epochs=6, seed=0)
    assert found.mass == pytest.approx(1 / 8)


def test_the_start_is_where_training_starts_and_not_where_it_ends(data):
    still = measure(Case("still", start=0.0, learned=False), 8, TASK, data, epochs=6, seed=0)
    moved = measure(Case("moved", start=0.0), 8, TASK, data, epochs=6, seed=0)
    assert moved.mass > still.mass


def test_a_row_has_means_over_seeds():
    found = [Found(whole=0.8, selected=0.4, random=0.2, mass=0.3), Found(whole=0.5, selected=0.5, random=0.1, mass=0.5)]
    assert line(Case("x"), 8, found) == "| x | 8 | 75.0% | 22.5% | 40% | 0.650 |"


def test_every_case_has_a_name_of_its_own():
    assert len({case.name for case in CASES}) == len(CASES)
