"""The built-in variants: plug-ins like anyone's, found through the entry-point group ``moebench.variants``."""
