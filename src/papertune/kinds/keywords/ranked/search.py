"""Candidate keywords of a batch of papers, from beam search and document phrases, with log-probabilities."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.scoring.answer_scoring import answer_log_probabilities
from papertune.kinds.keywords.by_words.words import Words
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked.candidates import Candidate, find_candidates
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.kinds.keywords.ranked.ranking import FoundKeyword, KeywordChoice, distinct, longer_forms
from papertune.kinds.keywords.ranked.shortlist import score_possible_keywords
from papertune.metrics.phrases import normalise_keyword
from papertune.prompts import PromptEncoder
from papertune.templates import parse_template

_BY_PROBABILITY = KeywordChoice()


@dataclass(frozen=True, slots=True)
class _Paper:
    """The phrases of a document.

    Attributes:
        all_phrases: Those that `find_candidates` finds.
        phrases: Those that may be keywords, by form.
        spelt: Each spelling of these that is not too long, with its token ids.
    """

    all_phrases: Sequence[Candidate]
    phrases: Mapping[str, Candidate]
    spelt: Sequence[tuple[str, Candidate, Sequence[int]]]

    @property
    def ids(self) -> list[Sequence[int]]:
        """The token ids of each spelling."""
        return [ids for *_, ids in self.spelt]

    def spellings(self, logs: Sequence[float]) -> list[FoundKeyword]:
        """Return each spelling with a log-probability."""
        return [
            FoundKeyword(text, phrase.form, log, len(ids) + 1, generated=False, phrase=phrase)
            for (text, phrase, ids), log in zip(self.spelt, logs, strict=True)
        ]

    def described(self, found: Sequence[FoundKeyword], words: Words | None) -> list[FoundKeyword]:
        """Add to all candidates which of them contain others, and what the words of training rows say about them."""
        longer = longer_forms({keyword.form for keyword in found})
        found = [replace(keyword, longer=longer[keyword.form]) for keyword in found]
        return found if words is None else _with_words(found, self.all_phrases, words)


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
        choice: KeywordChoice = _BY_PROBABILITY,
    ) -> list[list[FoundKeyword]]:
        """Find keywords.

        Args:
            engine: Runs the model.
            state: The prompts; consumed.
            documents: The texts whose phrases are candidates, such as the truncated documents of the prompts.
            part_nodes: Tokens of phrases that go through the model together on a GPU.
            choice: How keywords will be chosen. Its words add to each keyword what they know of it. If it has weights,
                keywords that would not be chosen may be missing.

        Returns:
            For each paper keywords that differ in more than case, punctuation and endings, the most probable first.
        """
        papers = self._papers(documents)
        # A GPU scores all phrases in hardly more time than a few.
        is_short = choice.weights is not None and engine.device.type == "cpu" and state.is_divisible

        def find(part: PromptState, numbers: Sequence[int]) -> list[list[FoundKeyword]]:
            some = [papers[number] for number in numbers]
            if is_short:
                return self._find_possible(engine, part, some, choice)
            return self._find_all(engine, part, some, part_nodes, choice.words)

        return [distinct(keywords) for keywords in engine.map_rows(find, state)]

    def _papers(self, documents: Sequence[str]) -> list[_Paper]:
        """Find the phrases of documents, and encode the spellings of those that are candidates and not too long."""
        candidates = [find_candidates(document) for document in documents]
        phrases = [{each.form: each for each in row if each.form not in self._ignored} for row in candidates]
        texts = [
            [(text, phrase) for phrase in row.values() for text in phrase.spellings]
            if self._column.candidates != "generated"
            else []
            for row in phrases
        ]
        encoded = iter(self._encoder.encode_texts([text for row in texts for text, _ in row]))
        longest = self._column.max_keyword_tokens
        spelt = [
            [(*spelling, ids) for spelling, ids in zip(row, encoded, strict=False) if 0 < len(ids) <= longest]
            for row in texts
        ]
        return [_Paper(*each) for each in zip(candidates, phrases, spelt, strict=True)]

    def _find_all(
        self, engine: Engine, state: PromptState, papers: Sequence[_Paper], part_nodes: int, words: Words | None
    ) -> list[list[FoundKeyword]]:
        """Return all candidates of each paper with their log-probabilities: its phrases, and results of the search."""
        answers = [paper.ids for paper in papers]
        logs: list[list[float]] = [[] for _ in papers]
        if any(answers):
            logs = answer_log_probabilities(engine, state, answers, self._end_ids, part_nodes)
        found = zip(papers, logs, self._generate(engine, state, papers), strict=True)
        return [paper.described([*paper.spellings(own), *generated], words) for paper, own, generated in found]

    def _find_possible(
        self, engine: Engine, state: PromptState, papers: Sequence[_Paper], choice: KeywordChoice
    ) -> list[list[FoundKeyword]]:
        """Return candidates of each paper with their log-probabilities, at least those that are chosen."""
        first = state.last_logits.float().log_softmax(dim=-1)  # (batch, vocab)
        alone = [state.part([row]) for row in range(len(papers))]
        possible: list[list[FoundKeyword]] = []
        for row, (paper, generated) in enumerate(zip(papers, self._generate(engine, state, papers), strict=True)):
            highest = first[row, [ids[0] for ids in paper.ids]].tolist()
            found = paper.described([*paper.spellings(highest), *generated], choice.words)
            phrases, rest = found[: len(paper.ids)], found[len(paper.ids) :]

            def score(answers: list[Sequence[int]], own: PromptState = alone[row]) -> list[float]:
                return answer_log_probabilities(engine, own, [answers], self._end_ids)[0]

            spelt = list(zip(phrases, paper.ids, strict=True))
            possible.append(score_possible_keywords(choice, self._column.count, rest, spelt, score))
        return possible

    def _generate(self, engine: Engine, state: PromptState, papers: Sequence[_Paper]) -> list[list[FoundKeyword]]:
        """Return the results of beam search for each paper; the state is consumed."""
        if self._column.candidates == "document":
            return [[] for _ in papers]
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
                FoundKeyword(keyword, form, beam.log_probability, len(beam.ids) + 1, True, paper.phrases.get(form))
                for beam, text in zip(row, row_texts, strict=True)
                # A model that is not trained on this column may write several keywords.
                for keyword in split_keywords(f"{text};")
                if (form := normalise_keyword(keyword))
            ]
            for paper, row, row_texts in zip(papers, beams, texts, strict=True)
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
