"""Predictions and truth become scores, baselines stand beside them, and a report tells both."""
