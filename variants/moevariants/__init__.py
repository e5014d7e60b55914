"""The built-in variants: plug-ins like anyone's, found through the group ``moebench.variants``."""
