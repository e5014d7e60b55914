"""The version of everything that determines results: loop, hosts, tasks, budgets, scores, seeds and board rules.

Raised whenever one of these changes what a run gives. ``tests/test_protocol.py`` holds a digest of those modules
together with the digits of a tiny run, and fails until this is raised or the digits are shown to be the same.
"""

PROTOCOL = "1"
