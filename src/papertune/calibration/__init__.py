"""What prediction needs beside the weights, fitted on dev rows."""
