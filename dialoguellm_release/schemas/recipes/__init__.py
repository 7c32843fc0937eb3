"""One module a kind of recipe, and `kinds`, the table of them."""
