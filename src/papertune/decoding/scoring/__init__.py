"""Scores of given answers: of labels, of several questions in one pass, of written answers, and their rewards."""
