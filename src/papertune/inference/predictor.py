"""Answers the questions of a recipe about batches of rows."""

import gc
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import answer_ends
from papertune.decoding.scoring.question_tree import QuestionTree, split_questions
from papertune.errors import ModelError
from papertune.inference.gpu_memory import is_sharded, tokens_on_gpu
from papertune.inference.plan import MIN_PROMPT_TOKENS, Plan, RowPrompts, batch_tokens, encode_rows, make_plan
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.models import precision_name
from papertune.prompts import shared_prefix, sorted_token_batches
from papertune.prompts.context import encoder_within_context
from papertune.prompts.examples import Prompt, RowReader, make_prompt
from papertune.recipe import Recipe
from papertune.templates import render_template, template_columns

# Documents that begin with different tokens, to find the common beginning of all prompts.
_PROBES = ("a", "Z", "9", "(", "中", " ")
# A shorter beginning is not worth its own cache.
_MIN_BEGINNING = 8
# Answers that are drawn together.
_MAX_SAMPLES = 64


class Predictor:
    """Answers the columns of a recipe with a model.

    On a GPU a batch goes through the model in parts that fit into its memory beside the weights. A part that still
    does not fit is answered in halves, and each half likewise.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        recipe: The columns, the layout and the lengths.
        max_batch_tokens: Padded prompt tokens in a batch; None: as suits the device.
        decisions: How each column is predicted, as `ColumnSpec.decision` returns it; None: without calibration.

    Attributes:
        model: The model, for what else is asked of it.
        tokenizer: Its tokenizer.
        encodes_ahead: Whether prompts are encoded while the model answers the batch before. On a CPU the model needs
            the cores itself.
        answers_in_threads: Whether several threads may call `answer`, with encoded prompts.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        recipe: Recipe,
        max_batch_tokens: int | None = None,
        decisions: Mapping[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        self.model = model
        self.tokenizer = tokenizer
        self._questions = recipe.questions
        self.encoder = encoder_within_context(tokenizer, recipe, model.config, getattr(model, "prefix_length", 0))
        self._engine = Engine(model)
        self.max_batch_tokens = max_batch_tokens or batch_tokens(self._engine.device.type)
        self._pass_tokens = tokens_on_gpu(self._engine.model)
        self._is_sharded = is_sharded(self._engine.model)
        self.encodes_ahead = self._engine.device.type != "cpu"
        self.answers_in_threads = self._engine.in_threads
        self.precision_name = precision_name(model)
        end_ids = answer_ends(model, self.encoder.end_id)
        self._beginnings: dict[tuple[str, ...], tuple[list[int], Engine]] = {}
        self._decoders: dict[str, Decoder] = {}
        self._owners = {question: name for name in recipe.columns for question in recipe.questions_of(name)}
        for name, column in self._questions.items():
            decision = (decisions or {}).get(self._owners[name])
            tools = DecodingTools(self.encoder, tokenizer, end_ids, recipe.table.document, decision)
            self._decoders[name] = column.decoder(name, tools)
        self._tries = {name: decoder.trie for name, decoder in self._decoders.items() if decoder.trie is not None}

    def use_decisions(self, decisions: Mapping[str, Any]) -> None:
        """Use these decisions from now on, after calibration has changed."""
        for name, decoder in self._decoders.items():
            decoder.decision = decisions[self._owners[name]]

    def plan(self, reader: RowReader, rows: Sequence[int]) -> Plan:
        """Measure all prompts and put them into batches."""
        return make_plan(self.encoder, reader, rows, self.max_batch_tokens)

    def encode(self, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
        """Encode the prompts of one batch of rows; safe in another thread, beside `answer`."""
        return encode_rows(self.encoder, reader, rows)

    def answer(
        self, reader: RowReader, rows: Sequence[int], encoded: Sequence[RowPrompts] | None = None
    ) -> dict[str, list[Value | None]]:
        """Answer all questions for one batch of rows.

        Args:
            reader: Reads the rows.
            rows: Which ones.
            encoded: From `encode`; None: they are encoded here.

        Returns:
            For each of the recipe's questions a value for each row; None where the row does not ask it.

        Raises:
            ModelError: If the model's numbers overflow, or a single prompt does not fit into the memory of a GPU.
        """
        reading = {name for name, decoder in self._decoders.items() if decoder.reads_document}
        answers = self._ask(self.encode(reader, rows) if encoded is None else encoded, reading)
        return {
            name: [None if answer is None else self._decoders[name].value(answer) for answer in cells]
            for name, cells in answers.items()
        }

    def find_candidates(self, reader: RowReader, rows: Sequence[int]) -> dict[str, list[Any]]:
        """Return the candidates from which predictions are chosen, for one batch of rows.

        Returns:
            For each question with candidates those of each row; None where the row does not ask it.
        """
        searched = {name for name, decoder in self._decoders.items() if decoder.has_candidates}
        answers = self._ask(self.encode(reader, rows), searched)
        return {name: answers[name] for name in self._questions if name in searched}

    def sample(self, name: str, prompts: Sequence[Sequence[int]], uniforms: Tensor, temperature: float) -> list[Value]:
        """Draw answers to a question whose answers are written; each prompt goes through the model once.

        Args:
            name: The question.
            prompts: Token ids of the prompts.
            uniforms: As in `papertune.decoding.sampling.sample`, shape (prompts x answers, tokens).
            temperature: As there.

        Returns:
            The values; those for a prompt are neighbours.
        """
        count = len(uniforms) // len(prompts)
        together = max(1, _MAX_SAMPLES // max(count, 1))
        values: list[Value] = []
        for begin in range(0, len(prompts), together):
            part = [list(ids) for ids in prompts[begin : begin + together]]
            engine, begun = self._engine_for({name: part})
            state = engine.prefill([ids[begun:] for ids in part])
            state.select(torch.arange(len(part), device=engine.device).repeat_interleave(count))
            own = uniforms[begin * count : (begin + len(part)) * count]
            values += self._decoders[name].sample(engine, state, own, temperature)
        return values

    def _ask(self, rows: Sequence[RowPrompts], reading: Collection[str]) -> dict[str, list[Any]]:
        """Return what the decoders answer, for each question and row; None where the row does not ask the question.

        Args:
            rows: What each row asks.
            reading: Questions whose decoders get the text of the documents.
        """
        found: dict[str, list[Any]] = {name: [None] * len(rows) for name in self._questions}
        asked = [tuple(row) for row in rows]
        for names in sorted(set(asked) - {()}):
            members = [index for index, each in enumerate(asked) if each == names]
            prompts = {name: [rows[index][name][1].ids for index in members] for name in names}
            documents = {
                name: [
                    prompt.document[: encoded.kept_chars] if name in reading else ""
                    for prompt, encoded in (rows[index][name] for index in members)
                ]
                for name in names
            }
            for part in self._parts(prompts):
                some = {name: [ids[place] for place in part] for name, ids in prompts.items()}
                texts = {name: [document[place] for place in part] for name, document in documents.items()}
                tokens = min(self.max_batch_tokens, self._pass_tokens or self.max_batch_tokens)
                for name, answers in self._answer_or_halve(some, texts, tokens).items():
                    for place, answer in zip(part, answers, strict=True):
                        found[name][members[place]] = answer
        return found

    def _parts(self, prompts: Mapping[str, Sequence[Sequence[int]]]) -> Iterable[Sequence[int]]:
        """Cut a batch into parts that fit into the memory of a GPU; on a CPU it stays whole."""
        lengths = [max(map(len, row)) for row in zip(*prompts.values(), strict=True)]
        if self._pass_tokens is None:
            return [range(len(lengths))]
        return sorted_token_batches(lengths, self._pass_tokens, max_rows=self._pass_tokens // MIN_PROMPT_TOKENS)

    def _answer_or_halve(
        self, prompts: dict[str, list[list[int]]], documents: Mapping[str, Sequence[str]], tokens: int
    ) -> Mapping[str, Sequence[Any]]:
        """Call `_answer_prompts`; if a GPU runs out of memory, with half of the rows and tokens at a time.

        Raises:
            ModelError: If a single row does not fit.
        """
        count = len(next(iter(prompts.values())))
        try:
            return self._answer_prompts(prompts, documents, tokens)
        except torch.OutOfMemoryError as error:
            if self._is_sharded:
                raise  # the other processes would wait for this one in another pass
            if count == 1 and tokens <= MIN_PROMPT_TOKENS:
                longest = max(len(row) for rows in prompts.values() for row in rows)
                raise ModelError(
                    f"a prompt of {longest:,} tokens does not fit into the memory of {self._engine.device} beside the "
                    "model. End other programs that use this memory, or take --device cpu."
                ) from error
        # Not in the handler: the exception keeps the tensors of the failed pass alive.
        gc.collect()
        torch.cuda.empty_cache()
        # Of a single row, the tokens behind its prompt can still be split.
        halves = [slice(None)] if count == 1 else [slice(count // 2), slice(count // 2, None)]
        answers: dict[str, list[Any]] = {name: [] for name in prompts}
        for half in halves:
            some = {name: rows[half] for name, rows in prompts.items()}
            texts = {name: rows[half] for name, rows in documents.items()}
            for name, values in self._answer_or_halve(some, texts, tokens // 2).items():
                answers[name] += values
        return answers

    def _answer_prompts(
        self, prompts: dict[str, list[list[int]]], documents: Mapping[str, Sequence[str]], tokens: int
    ) -> dict[str, Sequence[Any]]:
        """Answer questions that all rows ask; what their prompts share goes through the model once.

        Args:
            prompts: For each question the token ids of each row.
            documents: For each question what the prompts hold of each document; "" where the decoder does not read it.
            tokens: How many may go through the model together behind the prompts.

        Returns:
            For each question the answer for each row: a value, or candidates.
        """
        shared = [shared_prefix(row) for row in zip(*prompts.values(), strict=True)]
        engine, begun = self._engine_for(prompts)
        behind = sum(len(ids) - begun for ids in next(iter(prompts.values())))
        if len(prompts) > 1 and (min(shared) <= begun or 2 * sum(n - begun for n in shared) < behind):
            # Where a question stands first, hardly anything is shared, and a prefill for each keeps the causal kernel.
            return {name: self._answer_prompts({name: ids}, documents, tokens)[name] for name, ids in prompts.items()}
        prompts = {name: [ids[begun:] for ids in rows] for name, rows in prompts.items()}
        if len(prompts) == 1:
            ((name, rows),) = prompts.items()
            if name in self._tries and not self._tries[name].tokens:
                trie = self._tries[name]
                logits = engine.last_logits(rows, trie.root_tokens)
                return {name: trie.at_root.label_probabilities(logits, None).tolist()}
            return {name: self._decoders[name].answer(engine, engine.prefill(rows), documents[name], tokens)}
        # Where the document stands first, its keys and values serve all questions.
        cuts = [length - begun for length in shared]
        state = engine.prefill([ids[:n] for ids, n in zip(next(iter(prompts.values())), cuts, strict=True)])
        behind_it = {name: [row[n:] for row, n in zip(rows, cuts, strict=True)] for name, rows in prompts.items()}
        answers: dict[str, Sequence[Any]] = self._answer_labels(
            {n: rows for n, rows in behind_it.items() if n in self._tries}, engine, state, tokens
        )
        for name, rows in behind_it.items():
            if name not in answers:
                branch = state.fork()
                engine.extend(branch, rows)
                answers[name] = self._decoders[name].answer(engine, branch, documents[name], tokens)
        return answers

    def _answer_labels(
        self, questions: Mapping[str, Sequence[Sequence[int]]], engine: Engine, state: PromptState, tokens: int
    ) -> dict[str, Sequence[Value]]:
        """Answer label questions together, in few passes.

        Rows with the same tokens behind their documents go through together. The tokens differ if a document is
        truncated more for one question than for another.

        Args:
            questions: For each question the token ids behind the state, of each row.
            engine: Has run the state.
            state: The documents; it is as before afterwards.
            tokens: How many may go through the model together.

        Returns:
            The answers; none where a pass for each question is less work.
        """
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for row, suffixes in enumerate(zip(*questions.values(), strict=True)):
            groups.setdefault(tuple(map(tuple, suffixes)), []).append(row)
        if len(groups) > len(questions):
            return {}
        values: dict[str, list[Value]] = {name: [[]] * len(state.lengths) for name in questions}
        names = list(questions)
        tries = [self._tries[name] for name in names]
        for suffixes, rows in groups.items():
            documents = state
            if len(groups) > 1:
                documents = state.fork()
                documents.select(torch.tensor(rows, device=engine.device))
            for part in split_questions(suffixes, tries, tokens // len(rows)):
                tree = QuestionTree.build([(suffixes[index], tries[index]) for index in part])
                logits = engine.tree_logits(documents, tree.tokens, tree.ancestors(), tree.depths, tree.wanted)
                found = tree.label_probabilities([tries[index] for index in part], logits)
                for index, probabilities in zip(part, found, strict=True):
                    for row, answer in zip(rows, probabilities.tolist(), strict=True):
                        values[names[index]][row] = answer
        return dict(values)

    def _engine_for(self, prompts: dict[str, list[list[int]]]) -> tuple[Engine, int]:
        """Return the engine that has run the common beginning of these prompts, and its number of tokens."""
        names = tuple(prompts)
        if names not in self._beginnings:
            self._beginnings[names] = self._beginning(names)
        beginning, engine = self._beginnings[names]
        begun = len(beginning)
        # Rows of an instruction file may begin differently.
        fits = all(ids[:begun] == beginning and len(ids) > begun for rows in prompts.values() for ids in rows)
        return (engine, begun) if fits else (self._engine, 0)

    def _beginning(self, names: Sequence[str]) -> tuple[list[int], Engine]:
        """Return what the prompts of these columns begin with, whatever the document, and the engine behind it.

        Not on a GPU: fused kernels there are for prompts without a prefix.
        """
        template = self.recipe.table.document
        prompts = [
            self.encoder.encode(
                make_prompt(
                    self.recipe.layout,
                    render_template(template, dict.fromkeys(template_columns(template), text)),
                    self._questions[name].question,
                )
                if self._questions[name].question_column is None
                else Prompt("", text, "")
            ).ids
            for name in names
            for text in _PROBES
        ]
        beginning = prompts[0][: shared_prefix(prompts)]
        if self._engine.device.type != "cpu" or len(beginning) < _MIN_BEGINNING:
            return [], self._engine
        engine = self._engine.after(beginning)
        return ([], self._engine) if engine is None else (beginning, engine)
