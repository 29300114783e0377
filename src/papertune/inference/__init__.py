"""Rows in, values out: label scoring, keyword decoding, durable prediction."""
