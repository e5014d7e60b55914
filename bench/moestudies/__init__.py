"""The studies that moebench brings: plug-ins of the group ``moebench.studies``, found as anyone's are."""
