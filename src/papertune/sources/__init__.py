"""What answers label questions beside the fine-tuned model, and how the answers are joined."""
