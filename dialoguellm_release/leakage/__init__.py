"""What the splits of a dataset share, and which of its records repeat or contradict others."""
