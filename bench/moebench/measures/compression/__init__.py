"""Trained sparse models made smaller: the inputs of their layers, how many experts each keeps, recovery, sizes.

A plug-in makes a single layer smaller, see :class:`Compressor`.
"""

from moebench.measures.compression.compressor import Compressor, Met, load_compressor, rests_on

__all__ = ["Compressor", "Met", "load_compressor", "rests_on"]
