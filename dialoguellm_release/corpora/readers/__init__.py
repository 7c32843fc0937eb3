"""One module for each format of native files."""
