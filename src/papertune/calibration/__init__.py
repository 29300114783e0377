"""What prediction has to know beside the weights, found out on dev rows."""
