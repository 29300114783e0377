"""Recipes over HTTP: made, edited in a form, checked, written as TOML."""
