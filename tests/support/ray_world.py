"""A Ray of two nodes on this machine; the second sees another processor's name, and one folder that is empty."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

RAY = str(Path(sys.executable).with_name("ray"))

OTHER_CPU = "zz other processor"
"""What the second node's processor is called: after every real one by name."""

QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""Found out within seconds, not a minute: a node that is gone."""


def environment(folder: Path) -> dict[str, str]:
    """What the nodes and those who join them need to be told. Ray lets nobody in without the token."""
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_MODE": "token"}


class RayCluster:
    """Two nodes of a processor each. hidden: the folder that the second node sees empty."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hidden = folder, folder / "hidden"
        self.address = f"127.0.0.1:{_port()}"
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns once both have joined."""
        self.hidden.mkdir()
        port = self.address.rpartition(":")[2]
        self._begin("head", [], "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self._until(lambda: self._joined(1))
        self.add()

    def add(self) -> None:
        """Start the second node."""
        cpus = self.folder / "cpuinfo"
        real = Path("/proc/cpuinfo").read_text()
        cpus.write_text(re.sub(r"(?m)^(model name\s*:).*$", rf"\1 {OTHER_CPU}", real))
        world = f"mount -t tmpfs none '{self.hidden}' && mount --bind '{cpus}' /proc/cpuinfo && exec \"$@\""
        self._begin("second", ["unshare", "--mount", "sh", "-c", world, "sh"], f"--address={self.address}")
        self._until(lambda: self._joined(2))

    def kill(self) -> None:
        """Kill the second node, as a power cut would."""
        self._end(self._nodes.pop())

    def stop(self) -> None:
        """End the nodes."""
        while self._nodes:
            self._end(self._nodes.pop())

    def log(self) -> str:
        """What the nodes said, for a failure's message."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.out")))

    def _begin(self, name: str, before: list[str], *arguments: str) -> None:
        command = [*before, RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=80000000", *arguments]
        with (self.folder / f"{name}.out").open("wb") as out:
            self._nodes.append(
                subprocess.Popen(
                    [*command, "--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"],
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    env=os.environ | QUICK,
                )
            )

    def _end(self, node: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)  # asked to end, the first would wait half a minute for its workers
        node.wait()

    def _joined(self, count: int) -> bool:
        ask = (
            f"import ray; ray.init('{self.address}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        )
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip() == str(count)

    def _until(self, ready) -> None:
        until = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < until, self.log()
            time.sleep(0.2)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
