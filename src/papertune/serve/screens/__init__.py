"""Screenings over HTTP."""
