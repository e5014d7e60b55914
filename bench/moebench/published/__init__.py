"""Results that are handed on: a suite's plan and records in one file, the boards made of them, and their verification.

Nothing here imports torch but what plans, builds or runs a variant again (``checks.planned``, ``checks.counts`` and
``rerun``), or asks what a data set or a device is like (``checks.answers``, ``checks.records``).
"""
