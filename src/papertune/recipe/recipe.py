"""A recipe: all settings of a run, as frozen pydantic models.

A recipe is read from TOML and never changed afterwards. It has one small model for each package that uses it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator

from papertune.kinds import AskedSpec, Column
from papertune.kinds.base import Part, PredictedTable, Text
from papertune.kinds.output_names import ROW, given_column
from papertune.methods import LoraMethod, Method
from papertune.stages import AnyStage, SftStage, check_not_removed, stages_by_kind
from papertune.templates import TemplatePart, parse_template

Layout = Literal["document-first", "question-first"]


def _check_template(template: str) -> str:
    try:
        parts = parse_template(template)
    except ValueError as error:
        hint = '; a column name with braces stands in quotes: {"Title {EN}"}' if "lone" in str(error) else ""
        raise ValueError(f"{error}{hint}") from None
    if not any(part.is_column for part in parts):
        raise ValueError('names no column; write for example "title: {title}\\nabstract: {abstract}"')
    return template


class TableSpec(Part):
    """How a row of the table becomes a document.

    Attributes:
        id: The column that names a row; None: rows are identified by their number.
        document: A template with column names in braces, see `papertune.templates`; no other text is ever truncated.
        clean: Whether cells are put into it without the marks of their sources (`prompts/documents.py`).
    """

    id: Text | None = None
    document: Annotated[StrictStr, AfterValidator(_check_template)]
    clean: bool = True


class EncodingSpec(Part):
    """Lengths, in tokens.

    Attributes:
        max_prompt_tokens: Maximum length of a prompt; a document that makes it longer is truncated.
        max_answer_tokens: Maximum length of an answer in training; a list is cut between keywords, a text anywhere.
    """

    max_prompt_tokens: Annotated[int, Field(ge=16)] = 1024
    max_answer_tokens: Annotated[int, Field(ge=2)] = 160


class TrainingSpec(Part):
    """How the parameters are trained.

    Attributes:
        epochs: Passes over the training rows.
        max_steps: Train for this many optimizer steps instead of `epochs`, if set.
        micro_batch_size: Rows per forward pass; if the question stands first, each column of a row counts as one.
        accumulation: Forward passes per optimizer step.
        learning_rate: The highest rate of the schedule.
        schedule: How the rate falls after the warm-up.
        warmup_steps: Optimizer steps during which the rate rises from 0.
        weight_decay: AdamW's decay.
        max_grad_norm: Gradients are scaled down to this norm.
        dev_fraction: Share of the training rows that become dev rows, if none are given.
        seed: For the row order, new parameters and dropout.
        precision: "auto": bfloat16 if the hardware multiplies it fast, float16 on older GPUs, else float32.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
        logging_steps: Optimizer steps between two lines of metrics.jsonl.
        save_steps: Optimizer steps between two checkpoints; 0: at the end of each epoch, and every 100 steps. The dev
            score is computed at the same steps.
        keep_checkpoints: How many of the last checkpoints are kept, besides the best one.
        dev_rows: Maximum number of rows for the dev score during training.
        calibration_rows: Maximum number of rows in the calibration set.
        patience: Stop after this many dev scores without a new best; 0: never.
        learn_history: Learn earlier answers of a conversation too, where each row of an instruction file has its own
            question.
        report_to: Trackers, for example "tensorboard"; their packages must be installed.
    """

    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    micro_batch_size: Annotated[int, Field(ge=1)] = 8
    accumulation: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    dev_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    logging_steps: Annotated[int, Field(ge=1)] = 10
    save_steps: Annotated[int, Field(ge=0)] = 0
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    dev_rows: Annotated[int, Field(ge=1)] = 200
    calibration_rows: Annotated[int, Field(ge=1)] = 300
    patience: Annotated[int, Field(ge=0)] = 0
    learn_history: bool = False
    report_to: tuple[Text, ...] = ()


class Recipe(Part):
    """All settings of a run.

    Attributes:
        model: A known name, a folder, a .gguf file or a hub id.
        encoder: A sentence encoder for the source "encoder": "all-minilm-l6-v2" or a folder; None: the installed one,
            if there is one.
        layout: Whether the document or the question stands first in the prompt.
        chat: Whether prompts use the model's chat template, if it has one.
        table: How a row becomes a document.
        columns: The columns to learn and fill in, by name; at least one, but for a stage that reads documents only.
        method: Which parameters are trained.
        encoding: Lengths in tokens.
        training: How the parameters are trained.
        stage: What the training learns from.
    """

    model: Text = "smollm2-135m"
    encoder: Text | None = None
    layout: Layout = "document-first"
    chat: bool = True
    table: TableSpec
    columns: dict[Text, Column]
    method: Method = LoraMethod()
    encoding: EncodingSpec = EncodingSpec()
    training: TrainingSpec = TrainingSpec()
    stage: AnyStage = SftStage()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        # LoRA and supervised fine-tuning are the defaults, so their settings need no kind.
        defaults = {
            part: {"kind": kind, **values[part]}
            for part, kind in (("method", "lora"), ("stage", "sft"))
            if isinstance(values.get(part), Mapping)
        }
        kind = defaults.get("stage", {}).get("kind")
        check_not_removed(kind)
        stage = stages_by_kind().get(kind) if isinstance(kind, str) else None
        if stage is not None and not stage.needs_columns:
            defaults["columns"] = values.get("columns", {})
        training = values.get("training", {})
        if stage is not None and isinstance(training, Mapping):
            defaults["training"] = {"learning_rate": stage.usual_rate, **training}
        return {**values, **defaults}

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.stage.needs_columns and not self.columns:
            raise ValueError("columns: names no column; add a section [columns.NAME] for each column to fill in")
        if self.table.id in self.columns:
            raise ValueError(f"columns.{self.table.id}: the column is also table.id; it cannot be learned")
        for name in sorted(self.columns):
            if TemplatePart(name, is_column=True) in parse_template(self.table.document):
                raise ValueError(f'table.document: shows the model "{{{name}}}", the column that it must learn')
        if ROW in self.columns:
            raise ValueError(f'columns.{ROW}: "{ROW}" numbers the rows of a table that has no id column; rename it')
        owners = {name: f"columns.{name}" for name in self.columns} | {self.table.id: "table.id"}
        for name, column in self.columns.items():
            beside = {given_column(name): "the cells of the table itself"}
            beside |= {each.title: each.content for each in column.output_columns(name)}
            for title, what in beside.items():
                if title in owners:
                    raise ValueError(
                        f'columns.{name}: its output column "{title}" ({what}) has the name of {owners[title]}; rename '
                        "one of them"
                    )
                owners[title] = f"an output column of columns.{name}"
        taken = {name: name for name in self.columns}
        for name in self.columns:
            for question in self.questions_of(name):
                if (other := taken.setdefault(question, name)) != name:
                    raise ValueError(
                        f'columns.{other}: "{question}" is the name of a label of columns.{name}; rename it'
                    )
        asking: dict[str, str] = {}
        for name, column in self.questions.items():
            if column.question_column in self.columns:
                raise ValueError(
                    f"columns.{name}.question: asks what stands in {column.question_column}, a column that is learned"
                )
            if (other := asking.setdefault(column.question.strip(), name)) != name:
                raise ValueError(
                    f"columns.{name}.question: {other} has the same question; the model cannot tell them apart"
                )
        return self

    @property
    def base_bits(self) -> Literal[4, 8] | None:
        """Bits of a weight of the base model, if the method quantizes it."""
        return self.method.base_model_bits

    def questions_of(self, name: str) -> dict[str, AskedSpec]:
        """Return the questions of a column, by name: the column itself, or `COLUMN: LABEL` for each label."""
        return self.columns[name].questions(name)

    @property
    def questions(self) -> dict[str, AskedSpec]:
        """The questions about a row, by name, in the order of the columns."""
        return {question: asked for name in self.columns for question, asked in self.questions_of(name).items()}

    @property
    def owners(self) -> dict[str, str]:
        """The column of each question."""
        return {question: name for name in self.columns for question in self.questions_of(name)}

    def with_settings(self, settings: Mapping[str, Mapping[str, Any]]) -> "Recipe":
        """Return this recipe with other settings of some of its columns.

        Args:
            settings: By column what changes, as plain values.
        """
        columns = dict(self.columns)
        for name, changes in settings.items():
            if name in columns:
                columns[name] = type(columns[name]).model_validate({**columns[name].model_dump(), **changes})
        return self.model_copy(update={"columns": columns})

    def with_best_thresholds(self, predicted: Mapping[str, Sequence[PredictedTable]]) -> "Recipe":
        """Return this recipe with the best thresholds for some rows, if its columns ask for them.

        Args:
            predicted: The predictions of a model for these rows, by column.
        """
        columns = {name: each.with_best_thresholds(name, predicted[name]) for name, each in self.columns.items()}
        return self.model_copy(update={"columns": columns})

    def only(self, names: tuple[str, ...]) -> "Recipe":
        """Return this recipe with these columns only, in the recipe's order."""
        return self.model_copy(update={"columns": {n: c for n, c in self.columns.items() if n in names}})
