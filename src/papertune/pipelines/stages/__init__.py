"""Training of the stages other than supervised fine-tuning: what they have in common, and a module for each."""
