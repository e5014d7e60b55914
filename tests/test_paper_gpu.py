"""The series paper-gpu on a CPU: its plans, each row's model without numbers, and one step of each at tiny size."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from moebench.cli.plan import command
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.measures.subject import Subject
from moebench.measures.subset_scores import subset
from moebench.plans.make import make_plan
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.suites import load_experiment
from moebench.suites.request import ask
from moebench.tasks import Split, get_task, load_part
from moebench.tasks.image_folder import ImageFolderTask
from moebench.training.loop import train
from moebench.training.recipe import Recipe
from moestudies.paper.claims import scale
from test_tasks_cifar import home
from test_tasks_cifar100 import write_set as write_cifar100
from test_tasks_image_folder import write_set as write_folders

__all__ = ["home"]

EXPERTS = (8, 16, 64, 128)
SUITES = {suite.name: suite for suite in load_experiment("paper-gpu").suites}
ROWS = [(suite.name, row) for suite in SUITES.values() for row in suite.row]


def test_it_is_planned_with_the_data_that_are_there(tmp_path):
    write_cifar100(tmp_path / "data")
    words = ["paper-gpu", "--data", str(tmp_path / "data"), "--results", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    assert f"part '{scale.IMAGES}' is left out: folders of 1,000 classes is not in" in result.stderr
    (request,) = ask(scale.CIFAR100, data=tmp_path / "data").requests
    plan = make_plan(request)
    assert {work.cell.settings["experts"] for work in plan.fixed} == set(EXPERTS)
    assert len(plan.fixed) == len(EXPERTS) * SUITES[scale.CIFAR100].seeds
    assert {work.cell.host["residual"] for work in plan.fixed} == {False}


def test_it_is_planned_where_no_data_set_is(tmp_path, home):
    result = CliRunner().invoke(command, ["paper-gpu", "--results", str(tmp_path), "--device", "cpu"])
    for part in (scale.CIFAR100, scale.IMAGES):
        assert part in result.stdout
    assert result.stderr.count("data not found here, so nothing of it counts as cached") == 2


@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name} {row.name}" for name, row in ROWS])
def test_every_model_goes_forward_and_back_at_its_size(monkeypatch, name, row, experts):
    suite = SUITES[name]
    (entry,) = suite.entries_of(row)
    task, host = get_task(entry.name), host_settings(suite.host_of(entry, row))
    shapes = layer_shapes(host, task.info)
    assert [(shape.dim, shape.tokens) for shape in shapes] == [(384, 64 if "cifar" in name else 196)] * 6
    width = row.width // experts
    settings = {**row.settings, "experts": experts}
    variant = load_variant(find_variant(row.variant))
    assert width * experts == 64 * 384
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *kind: False)  # which torch refuses to say of "meta"
    with torch.device("meta"):  # shapes alone: a model has 130 million parameters
        model = build_model(host, task.info, variant, [width] * len(shapes), settings, seed=0)
        batch = Split(torch.empty(4, *task.info.inputs.shape), {"class": torch.zeros(4, dtype=torch.long)})
        outputs = model.outputs(batch.inputs)
        assert outputs["class"].shape == (4, task.info.outputs)
        task.loss(outputs, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for layer in model.layers() for parameter in layer.parameters())
    assert total == pytest.approx(6 * 2 * 384 * 24_576, rel=0.01)


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name} {row.name}" for name, row in ROWS])
def test_every_row_trains_a_step_on_data_and_is_measured_at_another_size(tmp_path, name, row):
    suite = SUITES[name]
    (entry,) = suite.entries_of(row)
    if name == scale.CIFAR100:
        task = get_task(entry.name)
        write_cifar100(tmp_path)
    else:
        task = ImageFolderTask("tiny", "tiny", size=32, classes=3)
        write_folders(tmp_path)
    host = host_settings({**suite.host_of(entry, row), "dim": 12})
    variant = load_variant(find_variant(row.variant))
    model = build_model(host, task.info, variant, [2] * 6, {**row.settings, "experts": 16}, seed=0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    recipe = Recipe(
        steps=1,
        batch=4,
        micro_batch=None,
        lr=suite.training.lr,
        weight_decay=suite.training.weight_decay,
        loss_weights={},
        precision="fp32",
        augment=task.augment,
        seed=0,
        optimiser=suite.training.optimiser,
    )
    curves = train(model, load_part(task, "train", tmp_path), recipe, task.loss)
    assert curves.finite
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert all(moved)
    scores = subset(Subject(model, task, tmp_path, torch.device("cpu"), "fp32", {})).values
    assert {"all", "none", "combine_sum k=2", "combine_sum k=4", "random k=4"} <= scores.keys()
