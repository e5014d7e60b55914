"""The command line: one file a command, each thin; what it does lives elsewhere."""
