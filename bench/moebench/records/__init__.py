"""A run: what identifies it (:class:`Cell`), what came of it (:class:`Record`), where it is kept (:class:`Store`).

Nothing here imports torch: a board is made from records alone.
"""

from moebench.records.cell import Cell
from moebench.records.record import Record, Status, is_settled
from moebench.records.store import Records, Store

__all__ = ["Cell", "Record", "Records", "Status", "Store", "is_settled"]
