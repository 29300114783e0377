"""What is set before torch and other large packages are loaded."""
