"""Tokenizers: what .gguf files say about theirs, and one that reads prompts without transformers."""
