"""Methods that make trained sparse layers smaller: plug-ins of the entry-point group ``moebench.compressors``.

``Merge`` and ``MergeCompress`` are MC-SMoE (Li et al., arXiv 2310.01334), ``PruneReap`` is REAP (Lasby et al., arXiv
2510.13999); the others are what the two are held against. Each makes a :class:`reduced.ReducedLayer` of one layer.
"""
