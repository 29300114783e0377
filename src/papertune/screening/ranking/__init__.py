"""What to read next, computed in the background."""
