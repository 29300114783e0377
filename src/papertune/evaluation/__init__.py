"""Scores from predictions and gold cells, baselines to compare with, and the report."""
