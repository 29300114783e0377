"""Joining the model with the other sources of label columns, on rows that none of them has learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.calibration.rows import predict_values
from papertune.events import SILENT, Listener
from papertune.inference.joined import joined, model_log_probabilities
from papertune.kinds.base import PredictedTable
from papertune.kinds.label.record import MIN_EVIDENCE, MODEL, Join
from papertune.prompts.examples import RowReader
from papertune.run import Run
from papertune.sources.fitting.choice import add_model
from papertune.sources.fitting.fit import HeldOut
from papertune.sources.fitting.label_rows import LabelRows, QuestionRows, label_rows
from papertune.tables import Table
from papertune.training.answers.label_sets import chance_loss, loss_at_end

# A model whose loss in its first epoch was this many times that of the other sources is not joined with them.
_CLEARLY_WORSE = 1.25


@dataclass(frozen=True)
class TrainingEvidence:
    """What the sources of a run say about its training rows, each held out.

    Attributes:
        tables: The tables that the sources were fitted on, dev rows that were split off among them.
        held_out: By question.
    """

    tables: Sequence[Table]
    held_out: Mapping[str, HeldOut]


@dataclass(frozen=True)
class Evidence:
    """What each source says about rows with a gold label.

    Attributes:
        tables: The tables.
        questions: The rows of each question.
        by_source: By question and source the log-probabilities, float64, shape (rows, labels).
        in_training: Whether the sources were fitted on the rows of each table; they are held out.
    """

    tables: Sequence[Table]
    questions: Mapping[str, QuestionRows]
    by_source: Mapping[str, Mapping[str, NDArray[np.float64]]]
    in_training: Sequence[bool]

    def predicted(
        self, run: Run, name: str, tables: Sequence[Table], joins: Mapping[str, Join] | None = None
    ) -> list[PredictedTable]:
        """Return the joined values of a column for some of the tables; NaN in rows without a gold label.

        Args:
            run: The run.
            name: The column.
            tables: Some of the tables.
            joins: By question how its sources are joined; None: as the run joins them.
        """
        found: list[PredictedTable] = []
        for number, table in enumerate(self.tables):
            if not any(table is each for each in tables):
                continue
            collector = run.recipe.columns[name].collector(name, len(table))
            values: dict[str, list[Any]] = {}
            for question in run.recipe.questions_of(name):
                values[question] = [None] * len(table)
                if question in self.questions:
                    rows = self.questions[question]
                    here = rows.tables == number
                    sources = {each: scores[here] for each, scores in self.by_source[question].items()}
                    probabilities = joined((joins or run.joins)[question], sources).tolist() if here.any() else []
                    for row, answer in zip(rows.rows[here].tolist(), probabilities, strict=True):
                        values[question][row] = answer
            collector.put(range(len(table)), values)
            own = [(joins or run.joins)[question] for question in run.recipe.questions_of(name)]
            is_scaled = all(
                join.evidence == "dev rows" if join.asks_model else self.in_training[number] for join in own
            )
            reader, rows_of_table = RowReader(table, run.recipe), range(len(table))
            found.append(PredictedTable(collector.values(), reader, rows_of_table, is_scaled=is_scaled))
        return found


def gather_evidence(
    run: Run, tables: Sequence[Table], training: TrainingEvidence | None, listener: Listener = SILENT
) -> Evidence:
    """Ask all sources of a run about dev rows.

    Args:
        run: The run.
        tables: Dev tables.
        training: Held-out predictions for those of the tables that the sources were fitted on.
        listener: Gets messages and progress.

    Raises:
        ModelError: If the model's numbers overflow.
    """
    plain = run.label_sources.plain_joins
    data = label_rows(tables, run.recipe, list(plain))
    by_source: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in plain}
    _ask_sources(run, data, tables, training, by_source)
    asking = {name for name in run.recipe.columns if _asks_model(run, name, plain)}
    if asking and data.documents:
        listener.message(
            f"asking the model about {len(data.documents):,} dev rows, to weigh it against the other sources"
        )
        values = predict_values(run, tables, sorted(asking), listener)
        for column in asking:
            for place, question in enumerate(run.recipe.questions_of(column)):
                if question in plain and len(data.questions[question].rows):
                    several = len(run.recipe.questions_of(column)) > 1 or question != column
                    by_source[question][MODEL] = _model(
                        values[column], data.questions[question], place if several else None
                    )
    known = set() if training is None else {table.checksum() for table in training.tables}
    return Evidence(tables, data.questions, by_source, [table.checksum() in known for table in tables])


def _asks_model(run: Run, column: str, plain: Mapping[str, Join]) -> bool:
    """Whether the model is a source of a column that others answer, too."""
    return run.directory.has_model and any(
        question in plain and (asked.chosen_sources is None or MODEL in asked.chosen_sources)
        for question, asked in run.recipe.questions_of(column).items()
    )


def _model(tables: Sequence[PredictedTable], rows: QuestionRows, label: int | None) -> NDArray[np.float64]:
    """Return the model's log-probabilities for the rows of a question.

    Args:
        tables: The model's values for each table.
        rows: The rows.
        label: For a labels column the number of the label; its values are the probabilities of yes.
    """
    values = [tables[number].values[row] for number, row in zip(rows.tables, rows.rows, strict=True)]
    return model_log_probabilities(values if label is None else [[each[label], 1 - each[label]] for each in values])


def _ask_sources(
    run: Run,
    data: LabelRows,
    tables: Sequence[Table],
    training: TrainingEvidence | None,
    by_source: dict[str, dict[str, NDArray[np.float64]]],
) -> None:
    """Fill in the log-probabilities of the sources beside the model."""
    known = {} if training is None else {table.checksum(): number for number, table in enumerate(training.tables)}
    numbers = np.array([known.get(table.checksum(), -1) for table in tables], dtype=np.int64)
    fresh = sorted(
        {place for rows in data.questions.values() for place in rows.documents[numbers[rows.tables] < 0].tolist()}
    )
    place_of = {place: number for number, place in enumerate(fresh)}
    wanted = {name: list(join.weights) for name, join in run.label_sources.plain_joins.items()}
    answers = run.label_sources.log_probabilities([data.documents[place] for place in fresh], wanted) if fresh else {}
    for question, rows in data.questions.items():
        held_out = None if training is None else training.held_out.get(question)
        labels = len(run.recipe.questions[question].joined_labels)
        for source in wanted[question]:
            scores = np.zeros((len(rows.rows), labels))
            of_row = {} if held_out is None else _by_row(held_out, source)
            for index, (table, row, place) in enumerate(zip(rows.tables, rows.rows, rows.documents, strict=True)):
                number = int(numbers[table])
                scores[index] = (
                    of_row[number, int(row)] if number >= 0 else answers[question][source][place_of[int(place)]]
                )
            by_source[question][source] = scores


def _by_row(held_out: HeldOut, source: str) -> dict[tuple[int, int], NDArray[np.float64]]:
    rows = held_out.rows
    pairs = zip(rows.tables.tolist(), rows.rows.tolist(), strict=True)
    return dict(zip(pairs, held_out.log_probabilities[source], strict=True))


def training_rows_as_evidence(training: TrainingEvidence) -> Evidence:
    """Return the held-out predictions of training rows, about which the model cannot be asked."""
    return Evidence(
        training.tables,
        {name: found.rows for name, found in training.held_out.items()},
        {name: found.log_probabilities for name, found in training.held_out.items()},
        [True] * len(training.tables),
    )


def join_sources(run: Run, evidence: Evidence) -> dict[str, Join]:
    """Return the join of each question that has sources beside the model.

    Where there are too few dev rows, the weights come from losses alone: that of the model at the end of its first
    epoch, in which it reads each row before it learns it ("prequential" evidence, Dawid 1984, doi:10.2307/2981683), and
    the held-out loss of the other sources. Weights are inverse to the squares of the losses, and 0 for a model that was
    clearly worse.
    """
    joins: dict[str, Join] = {}
    for question, plain in run.label_sources.plain_joins.items():
        sources, gold = evidence.by_source[question], evidence.questions[question].gold
        asked = run.recipe.questions[question].chosen_sources
        if not run.directory.has_model or (asked is not None and MODEL not in asked):
            joins[question] = plain
        elif MODEL in sources and len(gold) >= MIN_EVIDENCE:
            others = {name: scores for name, scores in sources.items() if name != MODEL}
            joins[question] = add_model(plain, others, sources[MODEL], gold, "dev rows")
        else:
            joins[question] = _by_first_epoch(run, question, plain)
    return joins


def _by_first_epoch(run: Run, question: str, plain: Join) -> Join:
    column = next(name for name in run.recipe.columns if question in run.recipe.questions_of(name))
    of_column = [
        each for name, each in run.label_sources.plain_joins.items() if name in run.recipe.questions_of(column)
    ]
    others = float(np.mean([each.losses["joined"] for each in of_column]))
    found = loss_at_end(_first_epoch(run), column)
    model = float("inf") if found is None else found[0] * _without_class_weights(run, column, of_column[0].rows)
    losses = {**plain.losses, "without model": others} | ({} if found is None else {MODEL: model})
    of_model = 0.0 if model > _CLEARLY_WORSE * others else others**2 / (others**2 + model**2)
    weights = {name: (1 - of_model) * weight for name, weight in plain.weights.items()} | {MODEL: of_model}
    offsets = [(1 - of_model) * offset for offset in plain.offsets]
    if of_model:
        del losses["joined"]  # of the sources without the model; with it there are no rows to measure it on
    return Join(weights, offsets, "first epoch", plain.rows, losses)


def _without_class_weights(run: Run, column: str, rows: int) -> float:
    """Return the factor that makes a loss with class weights comparable: the ratio of the losses by chance."""
    with_weights = without = 0.0
    for question, asked in run.recipe.questions_of(column).items():
        label = run.recipe.columns[column].question_of_label(column).get(question)
        counts = run.manifest.label_counts.get(column, {})
        if label is not None:  # of yes and no
            counts = dict(zip(asked.joined_labels, (counts[label], rows - counts[label]), strict=True))
        weights = asked.answer_weights([answer for answer, count in counts.items() for _ in range(count)])
        with_weights += chance_loss([[count * weights.get(answer, 1.0) for answer, count in counts.items()]])
        without += chance_loss([list(map(float, counts.values()))])
    return without / with_weights if with_weights else 1.0


def _first_epoch(run: Run) -> list[dict[str, float]]:
    """Return the entries of metrics.jsonl with the losses of the first epoch."""
    return [entry for entry in run.directory.metric_entries() if entry.get("epoch", 0) <= 1]
