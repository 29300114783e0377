"""What may make scores better than they should be, and labels that may be wrong."""
