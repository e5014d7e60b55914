"""Data sets as tasks: where the files are found, how they are split, what is learnt, and how a model is judged.

Importing this loads neither torch, NumPy nor scikit-learn; a task's methods do.
"""

from moebench.tasks.base import (
    Features,
    Headline,
    Image,
    Inputs,
    Part,
    Split,
    Stream,
    Table,
    Task,
    TaskInfo,
    Tokens,
    Values,
    Vectors,
)
from moebench.tasks.catalogue import get_task, load_part
from moebench.tasks.image_task import augment_batch
from moebench.tasks.several import SeveralTargets
from moebench.tasks.targets import Classes, Numbers, Sequences, TokenClasses, accuracy, mean_squared_error

__all__ = [
    "Classes",
    "Features",
    "Headline",
    "Image",
    "Inputs",
    "Numbers",
    "Part",
    "Sequences",
    "SeveralTargets",
    "Split",
    "Stream",
    "Table",
    "Task",
    "TaskInfo",
    "TokenClasses",
    "Tokens",
    "Values",
    "Vectors",
    "accuracy",
    "augment_batch",
    "get_task",
    "load_part",
    "mean_squared_error",
]
