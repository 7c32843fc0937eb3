"""Cards: rendered from manifests, checked offline."""
