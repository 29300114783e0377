"""Attention masks, a fast attention for CPUs, and a cache that grows in place."""
