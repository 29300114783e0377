"""Columns of keywords: what both kinds share, and the column of keyword lists."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from papertune.errors import Sentence, quoted
from papertune.kinds.asked import AskedSpec
from papertune.kinds.base import Text
from papertune.kinds.keywords.cells import (
    keyword_cell,
    keywords_as_text,
    read_keyword_cell,
    read_keywords,
    split_keywords,
)
from papertune.kinds.separators import clear_separator, separator_pattern, sign_in_words, unclear_signs
from papertune.tables.lists import STRONG_SIGNS, WEAK_SIGNS, ListError, read_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    import polars as pl

    from papertune.evaluation.report import SampleList
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.decoder import Decoder, DecodingTools, Value
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.kinds.values import Collector, ColumnValues
    from papertune.prompts import PromptEncoder
    from papertune.prompts.examples import RowReader


class KeywordsSpec(AskedSpec):
    """What both kinds of keyword columns share."""

    if TYPE_CHECKING:
        # Declared by the kinds, so that their settings keep their order.
        output_separator: str
        input_separator: str | None

    # Cells

    def read_gold(self, cell: str | None) -> list[str]:
        """Return the keywords of a table's cell; none where there is no cell."""
        return [] if cell is None else read_keywords(cell, self.input_separator)

    def clear_separator(self, cells: Iterable[str]) -> str | None:
        """Return the sign that clearly separates keywords in a column, unless the recipe names one."""
        return clear_separator(cells) if self.input_separator is None else None

    def check_gold(self, check: "GoldCheck") -> None:
        """Report broken lists; warn of rows without keywords, and of signs that may separate keywords."""
        empty: list[int] = []
        whole: list[tuple[int, str]] = []
        for row, cell in check.cells():
            try:
                read_list(cell)
            except ListError as error:
                check.problem(row, Sentence(f"{quoted(cell)} {error}.", "broken_list", value=cell))
                continue
            whole.append((row, cell))
            if not self.read_gold(cell):
                empty.append(row)
        check.warn_of_empty(Sentence("without keywords", "without_keywords"), empty)
        own = self.input_separator
        is_usual = own is not None and own.strip() in {*STRONG_SIGNS, *WEAK_SIGNS}
        if (
            own is not None
            and not is_usual
            and whole
            and not any(separator_pattern(own).search(cell) for _, cell in whole)
        ):
            text = (
                f'{check.table.source}, column "{check.shown}": no cell has {sign_in_words(own)}, which is '
                f"columns.{check.name}.input_separator."
            )
            check.findings.warnings.append(Sentence(text, "separator_not_found", column=check.shown, separator=own))
        if own is None:
            signs, rows = unclear_signs(whole, self.read_gold)
            text = (
                f"{{}} read as a single keyword with {signs} in it; if that separates keywords, set "
                f"columns.{check.name}.input_separator to it"
            )
            check.warn(Sentence(text, "single_keyword"), rows)

    def read_list(self, cell: str) -> list[str]:
        """Return the keywords of a predicted cell, split at the output separator too."""
        return read_keyword_cell(cell, self.output_separator)

    def present_share(self, answer: str, document: str) -> float:
        """Return the share of the keywords that stand in the document."""
        from papertune.metrics.keyword_scores import SearchableDocument, unique_keywords

        phrases, searchable = unique_keywords(split_keywords(answer)), SearchableDocument(document)
        return sum(map(searchable.contains, phrases)) / len(phrases) if phrases else 0.0

    # Preferences

    def read_written(self, cell: str) -> str | None:
        """Return the keywords of a cell, split at the output separator too."""
        return self.write_list(self.read_list(cell)) or None

    def is_same_answer(self, first: str, second: str) -> bool:
        """Whether two lists have the same keywords; order and case do not count."""
        one, other = ({keyword.casefold() for keyword in split_keywords(text)} for text in (first, second))
        return one == other

    def corruptions(self, answer: str, text: str, others: "Sequence[str]", generator: "Random") -> dict[str, str]:
        """Return another paper's list, and lists with keywords swapped, repeated or missing."""
        from papertune.kinds.keywords.corruptions import corrupt

        tiers = corrupt(split_keywords(answer), text, [split_keywords(other) for other in others], generator)
        return {tier: self.write_list(keywords) for tier, keywords in tiers.items()}

    @abstractmethod
    def write_list(self, keywords: "Sequence[str]") -> str:
        """Return keywords as an answer to learn; repeated ones stay."""

    # Predicting

    def collector(self, name: str, rows: int) -> "Collector":
        """Return a collector of texts."""
        from papertune.kinds.values import TextCollector

        return TextCollector(name, rows)

    @abstractmethod
    def keywords_of(self, value: str) -> list[str]:
        """Return the cleaned keywords of a value of the model."""

    def cells(self, values: "ColumnValues", decision: Any) -> "pl.Series":
        """Return the keyword lists."""
        from papertune.kinds.values import each_text, text_series, texts_of

        texts = each_text(texts_of(values))
        separator = self.output_separator
        return text_series("", (None if t is None else keyword_cell(self.keywords_of(t), separator) for t in texts))

    # Evaluating

    def predictions(self, values: "ColumnValues", decision: Any) -> "Predictions":
        """Return the keyword lists."""
        from papertune.kinds.predictions import Predictions

        return Predictions(self.cells(values, decision).fill_null("").to_list())

    @property
    def scoring(self) -> "Scoring":
        """F1 at 5, at O and at M; systems are compared by F1@5."""
        from papertune.kinds.keywords import scoring

        return scoring

    def baselines(self) -> "dict[str, Fill]":
        """Return TF-IDF n-grams."""
        from papertune.kinds.keywords import baselines

        return baselines.baselines(self)

    def other_tools(self) -> "dict[str, Fill]":
        """Return YAKE and KeyBERT."""
        from papertune.evaluation.systems.other_tools import keybert, yake

        return {
            "YAKE": lambda _, documents: yake(self, documents),
            "KeyBERT": lambda _, documents: keybert(self, documents),
        }

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleList":
        """Return the predicted keywords beside the gold ones."""
        from papertune.evaluation.report import SampleList

        own = self.read_gold(gold.given(row, name)) or None
        return SampleList(name, self.kind, self.read_list(predictions.cells[row]), own)


class KeywordsColumn(KeywordsSpec):
    """A column that holds a list of keywords.

    Attributes:
        question: The question about the document.
        separator: The text between keywords in the answer to learn, with a semicolon, comma or line break, since
            predicted lists are split there.
        output_separator: The text between keywords in written cells.
        input_separator: The text between keywords in the table's cells; None: semicolons or commas, or the sign that
            the column clearly has.
        max_new_tokens: Maximum tokens of a predicted list.
    """

    kind: Literal["keywords"]
    separator: Text = "; "
    output_separator: Text = "; "
    input_separator: Text | None = None
    max_new_tokens: Annotated[int, Field(ge=4)] = 96

    @model_validator(mode="after")
    def _check(self) -> "KeywordsColumn":
        if not set(self.separator) & set(";；,，、\n"):
            raise ValueError(
                f"separator is {self.separator!r}, at which lists are not split; use one with ; or , in it"
            )
        return self

    # Cells

    def read_answer(self, cell: str) -> str | None:
        """Return the keywords of a cell as the text to learn; None without keywords."""
        return self.write_list(self.read_gold(cell)) or None

    def write_list(self, keywords: "Sequence[str]") -> str:
        """Return keywords with the separator between them."""
        return keywords_as_text(keywords, self.separator)

    # Learning

    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the list; a list that is too long is truncated between keywords."""
        keywords = split_keywords(answer)
        ids = encoder.encode_text(answer)
        while len(ids) + 1 > encoder.max_answer_tokens and len(keywords) > 1:
            keywords.pop()
            ids = encoder.encode_text(keywords_as_text(keywords, self.separator))
        return [[*ids[: encoder.max_answer_tokens - 1], encoder.end_id]]

    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the limit of a predicted list."""
        return self.max_new_tokens

    def max_learned_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the limit of an answer in training."""
        return encoder.max_answer_tokens

    # Predicting

    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return a greedy decoder that repeats no keyword."""
        from papertune.kinds.keywords.decoders import ListDecoder

        return ListDecoder(name, self, tools)

    @property
    def is_written(self) -> bool:
        """Yes: the model writes the list."""
        return True

    def text_of(self, value: "Value") -> str:
        """Return the list of a value."""
        return self.write_list(self.keywords_of(str(value)))

    def answer_f1(self, gold: str, answer: str) -> float:
        """Return F1@M: of all keywords of the answer."""
        from papertune.metrics.keyword_scores import f1_at_m

        return f1_at_m(split_keywords(gold), self.keywords_of(answer))

    def keywords_of(self, value: str) -> list[str]:
        """Return the keywords of a decoded list."""
        from papertune.kinds.values import writable

        return split_keywords(writable(value))
