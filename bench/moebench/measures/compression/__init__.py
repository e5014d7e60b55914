"""Trained sparse models made smaller: what their layers meet, how many experts each keeps, recovery, sizes.

How a single layer becomes smaller is a plug-in's business, see :class:`Compressor`.
"""

from moebench.measures.compression.compressor import Compressor, Met, load_compressor

__all__ = ["Compressor", "Met", "load_compressor"]
