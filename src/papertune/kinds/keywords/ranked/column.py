"""The column of ranked keywords: its settings and methods."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from papertune.kinds.base import CalibrationOutcome, OutputColumn, PredictedTable, Probability, Text
from papertune.kinds.keywords.cells import keywords_as_text, split_keywords
from papertune.kinds.keywords.column import KeywordsSpec

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from papertune.kinds.decoder import Decoder, DecodingTools, Value
    from papertune.kinds.keywords.ranked.ranking import KeywordChoice
    from papertune.kinds.keywords.ranked.record import Ranking
    from papertune.kinds.values import ColumnValues
    from papertune.prompts import PromptEncoder
    from papertune.recipe import Recipe
    from papertune.tables import Table


class RankedKeywordsColumn(KeywordsSpec):
    """A column that holds keywords, the most confident first.

    Each keyword is an answer of its own (Meng et al. 2017, arXiv:1704.06879), so the model learns the probability that
    a keyword belongs to the paper; the most probable ones are found by beam search. A list that is decoded as one text
    has no such ranking, and small models write poor lists.

    Attributes:
        question: The question about the document; it asks for one keyword.
        count: Maximum number of written keywords.
        candidates: Where keywords come from: "generated" by beam search, the phrases of the "document", or "both".
        sources: What ranks them: "words", what the training rows say about the words of a phrase; "encoder", beside
            words: how near the meaning of a phrase is to that of the document; and "model".
        min_confidence: Minimum confidence of written keywords; "f1": the one with the highest F1 on the calibration
            set.
        beams: Number of unfinished keywords that the search keeps, at least `count`. Some results differ in their
            endings only, and are written once.
        max_keyword_tokens: Maximum tokens of a keyword, in training and in prediction.
        output_separator: The text between keywords in written cells.
        input_separator: The text between keywords in the table's cells; None: semicolons or commas, or the sign that
            the column clearly has.
    """

    record_field: ClassVar[str] = "rankings"
    calibration_stage: ClassVar[str] = "ranking keywords"
    is_calibrated_on_candidates: ClassVar[bool] = True

    kind: Literal["ranked_keywords"]
    count: Annotated[int, Field(ge=1)] = 5
    candidates: Literal["generated", "document", "both"] = "both"
    sources: Annotated[tuple[Literal["words", "encoder", "model"], ...], Field(min_length=1)] = ("words", "model")
    min_confidence: Literal["f1"] | Probability = 0.0
    beams: Annotated[int, Field(ge=1)] = 16
    max_keyword_tokens: Annotated[int, Field(ge=2)] = 16
    output_separator: Text = "; "
    input_separator: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> "RankedKeywordsColumn":
        if self.candidates != "document" and self.beams < self.count:
            raise ValueError(f"beams is {self.beams}, but {self.count} keywords are to be found; raise it")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError('sources names one twice; the sources are "words", "encoder" and "model"')
        if "encoder" in self.sources and "words" not in self.sources:
            raise ValueError('sources names "encoder", which looks again at phrases ranked by "words"; name both')
        if "model" not in self.sources and self.candidates == "generated":
            names = ", ".join(f'"{name}"' for name in self.sources)
            raise ValueError(
                f'sources is [{names}], which ranks phrases of the document, but candidates is "generated"; remove one'
            )
        return self

    @property
    def uses_words(self) -> bool:
        """Whether phrases of the document are ranked by what the training rows say about their words."""
        return "words" in self.sources and self.candidates != "generated"

    def fit_sources(self, name: str, recipe: "Recipe", tables: "Sequence[Table]", folder: "Path") -> list[str]:
        """Learn from the training rows which phrases are keywords."""
        if not self.uses_words:
            return []
        from papertune.kinds.keywords.by_words.fit import fit_source

        return fit_source(name, self, recipe, tables, folder)

    def with_sources(self, decision: "KeywordChoice", folder: "Path", encoder: str | None) -> "KeywordChoice":
        """Return the decision with the source "words", if the run has it."""
        if not self.uses_words:
            return decision
        from papertune.kinds.keywords.by_words.words import load_words

        return replace(decision, words=load_words(folder, encoder))

    @property
    def chosen_sources(self) -> tuple[str, ...] | None:
        """The sources that take part."""
        return self.sources if self.uses_words else ("model",)

    def asks_model(self, decision: "KeywordChoice") -> bool:
        """Whether the model ranks, alone or with the words."""
        return decision.words is None or ("model" in self.sources and not decision.is_by_words)

    def answer_without_model(self, documents: Sequence[str], decision: "KeywordChoice") -> "Sequence[Value]":
        """Return the best phrases of each document with their confidences, ranked by their words."""
        from papertune.kinds.keywords.ranked.ranking import ranked_as_text

        assert decision.words is not None
        ranked = (decision.words.rank(document, self.count) for document in documents)
        return [ranked_as_text(decision.cut_off(keywords, self.count)) for keywords in ranked]

    @property
    def fitted_keys(self) -> list[str]:
        """The settings that need a calibration set."""
        return ["min_confidence"] if self.min_confidence == "f1" else []

    @property
    def wants_calibration_set(self) -> bool:
        """Whether the column needs a calibration set: for the ranking by the model, or a minimum confidence."""
        return "model" in self.sources or bool(self.fitted_keys)

    def calibration_shortage(self, answers: Sequence[str]) -> tuple[list[str], str]:
        """Return which settings cannot be fitted on this number of rows, and why."""
        from papertune.kinds.label.fit import row_shortage

        return (keys, row_shortage(len(answers))) if (keys := self.fitted_keys) else ([], "")

    def calibrate(self, name: str, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
        """Fit the ranking of keywords."""
        from papertune.kinds.keywords.ranked.fit import calibrate

        return calibrate(name, self, predicted)

    def uncalibrated(self, name: str) -> str:
        """Return the message for keywords without a fitted ranking."""
        if self.uses_words:
            return "no ranking of keywords with the model is fitted"
        return "keywords are ranked by their probability alone"

    def decision(self, name: str, record: "Ranking | None") -> "KeywordChoice":
        """Return how keywords are ranked and cut off."""
        from papertune.kinds.keywords.ranked.ranking import KeywordChoice

        return KeywordChoice.of(name, self, record)

    def decision_in_words(self, decision: "KeywordChoice") -> list[str]:
        """Return that keywords are ranked."""
        return ["the run ranks keywords of several answers and of the document; the model alone writes one answer."]

    def calibration_gaps(self, record: "Ranking | None") -> dict[str, str]:
        """Return the settings for which calibration found nothing."""
        if self.fitted_keys and (record is None or record.min_confidence is None):
            return {"min_confidence": f"up to {self.count} keywords are written"}
        return {}

    # Cells

    def read_answer(self, cell: str) -> str | None:
        """Return the keywords of a cell as one text; None without keywords."""
        return self.write_list(self.read_gold(cell)) or None

    def write_list(self, keywords: Sequence[str]) -> str:
        """Return keywords as one text."""
        return keywords_as_text(keywords)

    # Preferences

    def preferences(self, better: str, worse: str) -> list[tuple[str, str]]:
        """Return each wrong keyword beside a right one: the missing keywords first, then those that both lists have.

        The question asks for one keyword, so a whole list is no answer to it.
        """
        right, written = ({keyword.casefold(): keyword for keyword in split_keywords(each)} for each in (better, worse))
        wrong = [keyword for key, keyword in written.items() if key not in right]
        chosen = sorted(right, key=lambda key: key in written)
        return [(right[chosen[place % len(chosen)]], keyword) for place, keyword in enumerate(wrong)]

    def single_answers(self, answer: str) -> list[str]:
        """Return each keyword."""
        return split_keywords(answer)

    # Learning

    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return each keyword as an answer of its own; those that are too long are left out, at least one stays."""
        encoded = [encoder.encode_text(keyword) for keyword in split_keywords(answer)]
        answers = [[*ids, encoder.end_id] for ids in encoded if 0 < len(ids) <= self.max_keyword_tokens]
        fit = sum(end <= encoder.max_answer_tokens for end in accumulate(map(len, answers)))
        return answers[: max(fit, 1)]

    def count_left_out(self, answer: str, encoded: Sequence[Sequence[int]], encoder: "PromptEncoder") -> int:
        """Return how many keywords of an answer are not learned."""
        return len(split_keywords(answer)) - len(encoded)

    def answer_facts(self, name: str, answers: Sequence[str], encoder: "PromptEncoder") -> list[str]:
        """Return how many keywords are not learned."""
        count = sum(self.count_left_out(each, self.encode_answers(each, encoder), encoder) for each in answers)
        return [self.left_out_in_words(name, count)] if count else []

    def left_out_in_words(self, name: str, count: int) -> str:
        """Return the warning for keywords that are not learned."""
        keywords = "1 keyword has" if count == 1 else f"{count:,} keywords have"
        return f'column "{name}": {keywords} more tokens than columns.{name}.max_keyword_tokens; not learned.'

    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the limit of one keyword."""
        return self.max_keyword_tokens

    def one_answer(self, answer: str) -> str:
        """Return the first keyword."""
        return split_keywords(answer)[0]

    @property
    def has_answer_tree(self) -> bool:
        """Whether several answers of one row go through the model together: the keywords do."""
        return True

    # Predicting

    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return a decoder that searches for keywords and ranks them."""
        from papertune.kinds.keywords.decoders import RankedDecoder

        return RankedDecoder(name, self, tools)

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the confidences."""
        return [OutputColumn(f"{name}_confidence", "the confidence of each keyword")]

    def keywords_of(self, value: str) -> list[str]:
        """Return the ranked keywords."""
        return [keyword for keyword, _ in _clean(value)]

    def output(
        self, name: str, values: "ColumnValues", decision: "KeywordChoice", titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield the confidence of each keyword, in the order of the keywords."""
        from papertune.kinds.values import each_text, text_series, texts_of

        if (title := f"{name}_confidence") in titles:
            texts = each_text(texts_of(values))
            yield title, text_series(title, (None if text is None else self._confidences(text) for text in texts))

    def _confidences(self, value: str) -> str:
        return self.output_separator.join(f"{confidence:.6f}" for _, confidence in _clean(value))


def _clean(value: str) -> list[tuple[str, float]]:
    """Return cleaned keywords, each with its confidence."""
    from papertune.kinds.keywords.ranked.ranking import read_ranked
    from papertune.kinds.values import writable

    clean = ((" ".join(writable(keyword).split()), confidence) for keyword, confidence in read_ranked(value))
    return [(keyword, confidence) for keyword, confidence in clean if keyword]
