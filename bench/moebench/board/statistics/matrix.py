"""The checks on seeds x tasks matrices, so that a mistake is named and never becomes a wrong number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def score_matrix(scores_SM: ArrayLike, name: str = "scores_SM") -> Matrix:
    """``scores_SM`` as float64, refused unless it is (S >= 1 seeds, M >= 1 tasks) of finite numbers."""
    matrix = np.asarray(scores_SM, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}; it must be (seeds, tasks), at least one of each")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds NaN or infinity; a run without a score has no place in it")
    return matrix


def paired_matrices(a_SM: ArrayLike, b_SM: ArrayLike, names: tuple[str, str]) -> tuple[Matrix, Matrix]:
    """Both matrices checked, refused unless they have the same seeds and tasks."""
    a, b = score_matrix(a_SM, names[0]), score_matrix(b_SM, names[1])
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} has shape {a.shape} and {names[1]} {b.shape}; pairs need the same seeds and tasks"
        )
    return a, b
