"""The command line: one module a command group, and beside them how findings read as text and as data."""
