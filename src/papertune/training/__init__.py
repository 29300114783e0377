"""Training, on transformers' Trainer."""

from papertune.training.batch import VOCABULARY, Question, TrainingRow, collate, tree_inputs
from papertune.training.callbacks import Progress
from papertune.training.loop import DevScore, FitResult, fit
from papertune.training.loss import answer_loss
from papertune.training.rows import EncodedExamples, encode_examples, scores_label_set
from papertune.training.trackers import check_trackers

__all__ = [
    "VOCABULARY",
    "DevScore",
    "EncodedExamples",
    "FitResult",
    "Progress",
    "Question",
    "TrainingRow",
    "answer_loss",
    "check_trackers",
    "collate",
    "encode_examples",
    "fit",
    "scores_label_set",
    "tree_inputs",
]
