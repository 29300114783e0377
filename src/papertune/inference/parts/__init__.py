"""Prediction of a table that lies in many Parquet files, a file at a time and a few row groups of it at a time."""
