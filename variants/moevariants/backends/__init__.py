"""The built-in backends, a file each; see :mod:`moevariants.parts.backend`."""
