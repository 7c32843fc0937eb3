"""The backbone: a language model and its tokenizer."""
