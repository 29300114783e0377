"""From prompts to answers: label scoring, greedy decoding, beam search."""
