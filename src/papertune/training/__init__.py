"""Training, on transformers' Trainer."""

from papertune.training.answers.batch import VOCABULARY, Question, TrainingRow, collate, split_batch, tree_inputs
from papertune.training.answers.loop import fit
from papertune.training.answers.loss import answer_losses
from papertune.training.answers.rows import MAX_QUESTION_TOKENS, EncodedExamples, encode_examples
from papertune.training.processes import Processes, ProcessLost, is_first_process, joined_processes
from papertune.training.trackers import check_trackers
from papertune.training.trainer import DevScore, FitResult, FitSettings

__all__ = [
    "MAX_QUESTION_TOKENS",
    "VOCABULARY",
    "DevScore",
    "EncodedExamples",
    "FitResult",
    "FitSettings",
    "ProcessLost",
    "Processes",
    "Question",
    "TrainingRow",
    "answer_losses",
    "check_trackers",
    "collate",
    "encode_examples",
    "fit",
    "is_first_process",
    "joined_processes",
    "split_batch",
    "tree_inputs",
]
