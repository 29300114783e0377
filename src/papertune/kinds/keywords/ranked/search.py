"""Candidate keywords of a batch of papers, from beam search and document phrases, with log-probabilities."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.scoring.answer_scoring import answer_log_probabilities
from papertune.kinds.keywords.by_words.words import Words
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked.candidates import Candidate, find_candidates
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.kinds.keywords.ranked.ranking import FoundKeyword, distinct
from papertune.metrics.phrases import normalise_keyword
from papertune.prompts import PromptEncoder
from papertune.templates import parse_template


class KeywordSearch:
    """Finds keywords for a column.

    Args:
        column: The column, with the sources of its candidates.
        encoder: Encodes phrases.
        tokenizer: A transformers tokenizer.
        end_ids: Tokens that end an answer.
        template: Template of the documents; its own words, such as "title", are not candidates.
    """

    def __init__(
        self,
        column: RankedKeywordsColumn,
        encoder: PromptEncoder,
        tokenizer: Any,
        end_ids: Collection[int],
        template: str = "",
    ) -> None:
        self._column = column
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._template = template

    # Computed with the first phrases, because the list of stop words takes more than a second to import.
    @cached_property
    def _ignored(self) -> set[str]:
        pieces = [part.text for part in parse_template(self._template) if not part.is_column]
        phrases = {each.form for piece in pieces for each in find_candidates(piece)}
        return phrases | {normalise_keyword(piece) for piece in pieces}

    def __call__(
        self,
        engine: Engine,
        state: PromptState,
        documents: Sequence[str],
        part_nodes: int = 2048,
        words: Words | None = None,
    ) -> list[list[FoundKeyword]]:
        """Find keywords.

        Args:
            engine: Runs the model.
            state: The prompts; consumed.
            documents: The texts whose phrases are candidates, such as the truncated documents of the prompts.
            part_nodes: Tokens of phrases that go through the model together on a GPU.
            words: Adds to each keyword what the training rows say about its words.

        Returns:
            For each paper keywords that differ in more than case, punctuation and endings, the most probable first.
        """
        candidates = [find_candidates(document) for document in documents]
        phrases = [{each.form: each for each in row if each.form not in self._ignored} for row in candidates]
        found = engine.map_rows(
            lambda part, numbers: self._find(engine, part, [phrases[number] for number in numbers], part_nodes), state
        )
        rows = [distinct(keywords) for keywords in found]
        if words is None:
            return rows
        return [_with_words(*row, words) for row in zip(rows, candidates, strict=True)]

    def _find(
        self, engine: Engine, state: PromptState, phrases: Sequence[Mapping[str, Candidate]], part_nodes: int
    ) -> list[list[FoundKeyword]]:
        """Return the candidates of each row with their log-probabilities: its phrases, and results of the search."""
        found: list[list[FoundKeyword]] = [[] for _ in phrases]
        if self._column.candidates != "generated":
            found = self._score(engine, state, [list(row.values()) for row in phrases], part_nodes)
        if self._column.candidates != "document":
            for keywords, row, generated in zip(found, phrases, self._generate(engine, state), strict=True):
                keywords += (
                    FoundKeyword(text, form, log_probability, tokens, generated=True, phrase=row.get(form))
                    for text, form, log_probability, tokens in generated
                )
        return found

    def _score(
        self, engine: Engine, state: PromptState, phrases: Sequence[Sequence[Candidate]], part_nodes: int
    ) -> list[list[FoundKeyword]]:
        """Return each spelling of each phrase that is short enough, with its log-probability."""
        texts = [[(text, phrase) for phrase in row for text in phrase.spellings] for row in phrases]
        encoded = iter(self._encoder.encode_texts([text for row in texts for text, _ in row]))
        max_tokens = self._column.max_keyword_tokens
        spelt = [
            [(*spelling, ids) for spelling, ids in zip(row, encoded, strict=False) if 0 < len(ids) <= max_tokens]
            for row in texts
        ]
        answers = [[ids for *_, ids in row] for row in spelt]
        logs = answer_log_probabilities(engine, state, answers, self._end_ids, part_nodes)
        return [
            [
                FoundKeyword(text, phrase.form, log, len(ids) + 1, generated=False, phrase=phrase)
                for (text, phrase, ids), log in zip(row, row_logs, strict=True)
            ]
            for row, row_logs in zip(spelt, logs, strict=True)
        ]

    def _generate(self, engine: Engine, state: PromptState) -> list[list[tuple[str, str, float, int]]]:
        """Return the results of beam search for each paper: texts, forms, log-probabilities and token counts."""
        beams = beam_search(
            engine,
            state,
            end_ids=self._end_ids,
            beams=self._column.beams,
            max_new_tokens=self._column.max_keyword_tokens,
            vocabulary=len(self._tokenizer),
        )
        texts = [
            self._tokenizer.batch_decode([list(beam.ids) for beam in row], skip_special_tokens=True) for row in beams
        ]
        return [
            [
                (keyword, form, beam.log_probability, len(beam.ids) + 1)
                for beam, text in zip(row, row_texts, strict=True)
                # A model that is not trained on this column may write several keywords.
                for keyword in split_keywords(f"{text};")
                if (form := normalise_keyword(keyword))
            ]
            for row, row_texts in zip(beams, texts, strict=True)
        ]


def _with_words(found: Sequence[FoundKeyword], candidates: Sequence[Candidate], words: Words) -> list[FoundKeyword]:
    """Add to the keywords of a document what the training rows say about their words."""
    odds = words.log_odds(candidates)
    times = words.times_keyword([keyword.form for keyword in found])
    return [
        replace(keyword, word_log_odds=odds[keyword.form])
        if keyword.form in odds
        else replace(keyword, times_keyword=count)
        for keyword, count in zip(found, times, strict=True)
    ]
