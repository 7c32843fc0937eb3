"""A full dataset from its published copy and the user's copies of the corpora published without text."""
