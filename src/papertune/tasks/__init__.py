"""Tasks: what a row asks, what the answer is, and whether a table fits. No torch here."""

from papertune.tasks.check import Findings, check_table
from papertune.tasks.examples import (
    Example,
    Prompt,
    RowReader,
    answer_text,
    examples_by_document,
    make_prompt,
    training_examples,
)
from papertune.tasks.keywords import (
    KEYWORDS_APART,
    clean_keywords,
    join_keywords,
    keywords_as_text,
    split_keywords,
)
from papertune.tasks.label_sets import join_labels, read_labels, split_labels
from papertune.tasks.labels import balanced_weights, nearest_label, read_label

__all__ = [
    "KEYWORDS_APART",
    "Example",
    "Findings",
    "Prompt",
    "RowReader",
    "answer_text",
    "balanced_weights",
    "check_table",
    "clean_keywords",
    "examples_by_document",
    "join_keywords",
    "join_labels",
    "keywords_as_text",
    "make_prompt",
    "nearest_label",
    "read_label",
    "read_labels",
    "split_keywords",
    "split_labels",
    "training_examples",
]
