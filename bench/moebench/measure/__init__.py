"""What a stretch of work costs: its time and its memory. Knows nothing of layers, hosts or runs."""
