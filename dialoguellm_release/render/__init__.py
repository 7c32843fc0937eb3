"""Tables, numbers and the style of figures: the only place that formats."""
