"""Training on the answers to questions: rows, batches, the loss over tokens of answers, and the loop."""
