"""Scores, their intervals and differences. No torch, no tables here."""
