"""Data sets as tasks: where the files are found, how they are split, and the tensors a run trains on.

Importing this loads neither torch, NumPy nor scikit-learn; ``Task.load`` and ``Task.digest`` do.
"""

from moebench.tasks.augment import augment_batch
from moebench.tasks.base import Objective, Part, Split, Stream, Task, TaskInfo, Text
from moebench.tasks.catalogue import TASKS, get_task

__all__ = ["TASKS", "Objective", "Part", "Split", "Stream", "Task", "TaskInfo", "Text", "augment_batch", "get_task"]
