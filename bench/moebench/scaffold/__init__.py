"""``moebench new``: a small package with a variant of its own that works as it is."""

from moebench.scaffold.names import class_name, refuse_name
from moebench.scaffold.write import write_package

__all__ = ["class_name", "refuse_name", "write_package"]
