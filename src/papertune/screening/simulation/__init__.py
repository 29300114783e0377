"""Screenings without a reader, on tables whose labels are known."""
