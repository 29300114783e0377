"""Is fine-tuning worth it? A run beside simpler systems, on the same rows."""
