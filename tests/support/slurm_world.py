"""A real SLURM of one node on this machine: munged, slurmctld and slurmd, everything in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
JobRequeue=1
KillWait=20
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Why there can be no SLURM here; empty if there can."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    if absent:
        return f"there is no {absent[0]}; apt-get install slurm-wlm munge"
    return no_root()


def no_root() -> str:
    """Why there can be no node with a view of its own here; empty if there can."""
    return "" if os.geteuid() == 0 else "only root starts a node that sees other files"


class Slurm:
    """Runs from ``start`` to ``stop``; ``SLURM_CONF`` names it to SLURM's commands. hidden: a folder that the node sees
    empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf, self.hidden = folder, folder / "slurm.conf", folder / "hidden"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns once the node takes jobs."""
        for name in ("state", "spool", "hidden"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        cpus = os.cpu_count()
        self.conf.write_text(
            CONF.format(
                folder=self.folder,
                host=socket.gethostname().partition(".")[0],
                control=_port(),
                daemon=_port(),
                cpus=cpus,
            )
        )
        socket_path = self.folder / "munge.socket"
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
        self._begin("munged", "--foreground", "--force", f"--socket={socket_path}", *files)
        self._until(socket_path.exists)
        self._begin("slurmctld", "-D", "-f", str(self.conf), "-c")
        self._until(lambda: "UP" in said("scontrol", "ping"))
        view = f"mount -t tmpfs none '{self.hidden}' && exec \"$@\""
        self._begin("slurmd", "-D", "-f", str(self.conf), before=["unshare", "--mount", "sh", "-c", view, "sh"])
        self._until(lambda: "idle" in said("sinfo", "--noheader", "--format=%t"))

    def stop(self) -> None:
        """End the daemons, the last first, and what they started."""
        said("scancel", "--user=root", "--signal=KILL")
        for daemon in reversed(self._daemons):
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def log(self) -> str:
        """What the daemons said, for a failure's message."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.out")))

    def _begin(self, name: str, *arguments: str, before: Sequence[str] = ()) -> None:
        program = _program(name)
        assert program
        with (self.folder / f"{name}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen([*before, program, *arguments], stdout=out, stderr=out, start_new_session=True)
            )

    def _until(self, ready) -> None:
        until = time.monotonic() + 30
        while not ready():
            assert time.monotonic() < until, self.log()
            time.sleep(0.2)


def said(*command: str) -> str:
    """What one of SLURM's commands printed."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
