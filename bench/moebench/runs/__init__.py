"""A run: what identifies it (:class:`Cell`), what came of it (:class:`Record`), where it is kept (:class:`Store`).

Nothing here imports torch: a board is made from records alone.
"""

from moebench.runs.cell import Cell, Kind
from moebench.runs.record import Record, Status, is_settled
from moebench.runs.store import Store

__all__ = ["Cell", "Kind", "Record", "Status", "Store", "is_settled"]
