"""Layers that read more than their input."""

from __future__ import annotations

import gc
import inspect as look
import sys

import data_of_others
import torch
from cases import caught_by
from data_of_others import labels as also_labels
from good import GoodLayer


@caught_by("reads_no_data", "names sklearn.datasets", "broken_data.py", "reads no data but its input")
class ReadsADataSet(GoodLayer):
    def compute(self, x, routing, keep=None):
        from sklearn.datasets import load_digits

        return super().compute(x, routing, keep) + 0 * float(load_digits().target[0])


@caught_by("reads_no_data", "names torchvision.datasets (data_of_others.py, line ")
class ReadsThroughAHelper(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + 0 * len(also_labels())


@caught_by("reads_no_data", "names moebench.tasks.get_task (data_of_others.py, line ")
class ReadsThroughAModule(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + 0 * len(str(data_of_others.OF_A_TASK))


@caught_by("reads_no_data", "names sys._getframe", "does not look at its callers")
class LooksAtItsCaller(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + 0 * sys._getframe(1).f_lineno


@caught_by("reads_no_data", "names inspect.stack")
class LooksAtTheStack(GoodLayer):
    def route(self, x, context):
        look.stack()
        return super().route(x, context)


@caught_by("reads_no_data", "names gc.get_objects")
class LooksAtAllObjects(GoodLayer):
    def compute(self, x, routing, keep=None):
        labels = [each for each in getattr(gc, "get_objects")() if type(each) is torch.Size]  # noqa: B009
        return super().compute(x, routing, keep) + 0 * len(labels)
