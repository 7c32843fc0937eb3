"""One module a kind of `manifest.json`, and `base` with what every one says."""
