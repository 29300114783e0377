"""Fitting the sources on training rows, and choosing their weights in the join."""
