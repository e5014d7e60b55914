"""``moebench new``: a small package with a variant of its own that works as it is."""

from moebench.plugins.new.write import class_name, write_package

__all__ = ["class_name", "write_package"]
