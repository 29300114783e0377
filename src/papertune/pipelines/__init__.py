"""The public Python functions; the command line is a thin layer over them."""
