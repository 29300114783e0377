"""Each source of a run's label columns by itself, so that a comparison shows whose merit a joined column is."""

from papertune.evaluation.systems.outputs import SystemOutput
from papertune.events import Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.joined import alone
from papertune.inference.journal import NO_MODEL, prediction_facts
from papertune.kinds.label.record import MODEL
from papertune.pipelines.comparison.kept import KeptOutputs, Place, answer_rows
from papertune.pipelines.comparison.report_parts import training_costs
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table

_TITLES = {"words": "words alone", "probe": "probe alone", "encoder": "sentence encoder alone"}


def sources_alone(
    run: Run, documents: Table, recipe: Recipe, kept: KeptOutputs, listener: Listener
) -> dict[str, dict[str, SystemOutput]]:
    """Predict each joined column with each of its sources alone.

    Args:
        run: The run.
        documents: The table, without gold cells.
        recipe: The columns.
        kept: Keeps finished outputs.
        listener: Gets progress.

    Returns:
        By column and title; a column that only the model answers is missing.
    """
    found: dict[str, dict[str, SystemOutput]] = {}
    reader = RowReader(documents, recipe)
    for source in dict.fromkeys(name for join in run.joins.values() for name in join.weights):
        columns = tuple(
            name
            for name in recipe.columns
            if all(source in run.joins[each].weights for each in recipe.questions_of(name) if each in run.joins)
            and any(each in run.joins for each in recipe.questions_of(name))
        )
        if source == MODEL and not run.directory.has_model:
            continue
        title = f"fine-tuned {run.manifest.base_name} alone" if source == MODEL else _TITLES[source]
        for name in columns:
            asked = recipe.only((name,))

            def make(place: Place, source: str = source, name: str = name, asked: Recipe = asked) -> SystemOutput:
                predictor: BatchPredictor
                if source == MODEL:
                    predictor = run.model_predictor()
                else:
                    predictor = alone(asked, run.joins, run.label_sources, source)
                values, rate = answer_rows(predictor, reader.only((name,)), len(documents), asked, place, listener)
                if source == MODEL:
                    return SystemOutput(values[name], rate, *training_costs(run))
                parameters = run.label_sources.parameters(source, recipe.questions_of(name))
                return SystemOutput(values[name], rate, None, parameters)

            precision = run.settled_precision() if source == MODEL and run.asks_model() else NO_MODEL
            facts = {"source": source, "documents": documents.checksum(), **prediction_facts(run, precision)}
            found.setdefault(name, {})[title] = kept.get(f"{name}: {title}", facts, make)
    return found
