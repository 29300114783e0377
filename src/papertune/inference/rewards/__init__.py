"""Answers chosen by a reward model."""
