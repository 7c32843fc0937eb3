"""The command line: one module a command group, and beside it how what was found reads as text and as data."""
