"""Where a release goes."""
