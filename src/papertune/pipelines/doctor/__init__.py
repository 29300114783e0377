"""What papertune finds on this machine: versions, devices, caches, extras, and what is missing."""
