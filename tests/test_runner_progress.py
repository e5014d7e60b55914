"""What a log says while a suite runs."""

import io

from rich.console import Console

from moebench.runner.progress import Plain


def test_a_log_says_once_what_is_waited_for():
    said = io.StringIO()
    progress = Plain(Console(file=said, width=100))
    for label in ("dense digits trial 0", *["waiting for other runs on this machine"] * 3, "latency round 1/6"):
        progress.running([label])
    progress.running(["waiting for other runs on this machine"])
    assert said.getvalue() == "waiting for other runs on this machine\n" * 2
