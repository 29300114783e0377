"""README.md of an export: a model card with the metadata of the hub."""

from typing import Any

from papertune.exports.answers import CHECK_FILE
from papertune.exports.base_model import base_title, hub_id, trained_on
from papertune.exports.format import Exported, ExportFormat


def model_card(exported: Exported, export: ExportFormat) -> str:
    """Return the card: metadata as YAML, then Markdown."""
    from huggingface_hub import EvalResult, ModelCardData

    manifest = exported.run.manifest
    base = hub_id(manifest.base_name)
    results = None
    if manifest.dev_score is not None:
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type="papertune-dev-rows",
                dataset_name="dev rows of the run",
                metric_type="dev-score",
                metric_name="mean score of the columns on the dev rows that chose the checkpoint",
                metric_value=round(manifest.dev_score, 4),
            )
        ]
    more: dict[str, Any] = {} if base is None else {"base_model": base, "base_model_relation": _relation(exported)}
    data = ModelCardData(
        model_name=exported.name,
        library_name="peft" if exported.adapter and export.library == "transformers" else export.library,
        pipeline_tag="text-generation",
        tags=["papertune", *export.tags],
        eval_results=results,
        **more,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(exported)}"


def _text(exported: Exported) -> str:
    run = exported.run
    columns = "\n".join(f"- `{name}` ({column.kind})" for name, column in run.recipe.columns.items())
    tables = "\n".join(f"- {table.rows:,} rows" for table in run.manifest.tables) or "- none (adopted adapter)"
    score = run.manifest.dev_score
    scored = "" if score is None else f"\nScore on the dev rows that chose the checkpoint: {score:.4f}.\n"
    return f"""# {exported.name}

A language model fine-tuned by papertune on a table of papers, from {base_title(run)} with the method
`{run.recipe.method.kind}`. It was trained on {trained_on(run)}. It fills in these columns:

{columns}

Trained on:

{tables}
{scored}
`ANSWERS.md` says how to ask it so that it answers as the run does. `{CHECK_FILE}` has prompts as token ids with
log-probabilities, to check a server.
"""


def _relation(exported: Exported) -> str:
    if exported.adapter:
        return "adapter"
    return "quantized" if exported.weights == "q8_0" else "finetune"
