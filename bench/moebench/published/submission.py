"""A published directory as its checks see it: what its files say, before anything is believed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moebench.board.model import Verification
from moebench.planning.plan import Group, Plan
from moebench.published import manifest, pack
from moebench.published.manifest import Manifest
from moebench.published.sources import ResultSet, is_published, unpublished
from moebench.published.specs import file_of
from moebench.published.verified import read_verification
from moebench.runs import Cell, Record


@dataclass(frozen=True)
class Submission:
    """A directory whose pack could be read. data: where data sets lie on this machine, for what needs them."""

    directory: Path
    manifest: Manifest
    pack: pack.Pack
    data: Path | None = None

    @classmethod
    def read(cls, directory: Path, data: Path | None = None) -> Submission:
        """:class:`ResultsError` where manifest or records cannot be read at all."""
        if not (directory / manifest.NAME).exists() and not is_published(directory):
            raise unpublished(directory)
        return cls(directory, manifest.read_manifest(directory), pack.read_pack(directory / pack.NAME), data)

    @property
    def plan(self) -> Plan:
        """The plan of its records."""
        return self.pack.plan

    @property
    def verification(self) -> Verification | None:
        """What it says was run again."""
        return read_verification(self.directory)

    @property
    def results(self) -> ResultSet:
        """As boards are made of it."""
        return ResultSet(self.directory, self.plan, self.pack.get)

    @cached_property
    def training(self) -> dict[str, tuple[Group, Cell]]:
        """Every planned trial and final by identity, with its study."""
        return {
            cell.identity: (group, cell)
            for group in self.plan.groups
            for cell in (*group.trial_cells, *group.final_cells(self.pack.get))
        }

    def trained(self) -> list[tuple[Group, Record]]:
        """The records of trials and finals that are there, with their study, in the order of the plan."""
        found = ((group, self.pack.get(identity)) for identity, (group, _) in self.training.items())
        return [(group, record) for group, record in found if record is not None]

    def spec(self, row: str) -> str:
        """Where a row's variant is found: a name, or a file of the directory."""
        spec = self.plan.row(row).spec
        return spec if file_of(spec) is None else str(self.directory / spec)
