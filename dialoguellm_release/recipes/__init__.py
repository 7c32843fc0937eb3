"""From YAML to a validated recipe."""
