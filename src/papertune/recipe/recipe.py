"""A recipe: all that a run needs to know, as frozen pydantic models.

A recipe is read from TOML and never written to afterwards. `Recipe` holds one small part for each room; a room gets its
own part, not the whole.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator

from papertune.kinds import AskedSpec, Column
from papertune.kinds.base import Part, PredictedTable, Text
from papertune.kinds.output_names import ROW, given_column
from papertune.methods import LoraMethod, Method
from papertune.templates import parse_template

Layout = Literal["document-first", "question-first"]


def _check_template(template: str) -> str:
    if not any(part.is_column for part in parse_template(template)):
        raise ValueError('names no column; write for example "title: {title}\\nabstract: {abstract}"')
    return template


class TableSpec(Part):
    """How a row of the table becomes a document.

    Attributes:
        id: The column that names a row; without one, rows are told by their number.
        document: A template of column names in braces; the only text that is ever shortened.
    """

    id: Text | None = None
    document: Annotated[StrictStr, AfterValidator(_check_template)]


class EncodingSpec(Part):
    """Lengths, in tokens.

    Attributes:
        max_prompt_tokens: The prompt's length; a longer document is shortened at its end.
        max_answer_tokens: The length of a keyword list in training; a longer one is cut between keywords.
    """

    max_prompt_tokens: Annotated[int, Field(ge=16)] = 1024
    max_answer_tokens: Annotated[int, Field(ge=2)] = 160


class TrainingSpec(Part):
    """How the weights are learnt.

    Attributes:
        epochs: Passes over the training rows.
        max_steps: Train for this many optimizer steps instead of `epochs`, if set.
        micro_batch_size: Rows in one forward pass; where the question stands first, each column of a row counts as one.
        accumulation: Forward passes in one optimizer step.
        learning_rate: The highest rate of the schedule.
        schedule: How the rate falls after the warm-up.
        warmup_steps: Optimizer steps in which the rate rises from 0.
        weight_decay: AdamW's decay.
        max_grad_norm: Gradients are scaled down to this norm.
        seed: Of the row order, of new weights and of dropout.
        precision: "auto": bfloat16 where the hardware multiplies it fast, float16 on older GPUs, else float32.
        gradient_checkpointing: Compute activations again in the backward pass: less memory, a third more time.
        logging_steps: Optimizer steps between two lines of metrics.jsonl.
        save_steps: Optimizer steps between two checkpoints; 0: at the end of each epoch, and every 100 steps. The dev
            score is taken at the same steps.
        keep_checkpoints: How many of the last checkpoints stay (the best one stays too).
        dev_rows: Most rows of a dev table that the dev score looks at during training.
        calibration_rows: Most rows of a dev table that are kept apart for probabilities and thresholds.
        patience: Stop after this many dev scores without a new best; 0: never.
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
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    logging_steps: Annotated[int, Field(ge=1)] = 10
    save_steps: Annotated[int, Field(ge=0)] = 0
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    dev_rows: Annotated[int, Field(ge=1)] = 200
    calibration_rows: Annotated[int, Field(ge=1)] = 300
    patience: Annotated[int, Field(ge=0)] = 0
    report_to: tuple[Text, ...] = ()


class Recipe(Part):
    """All that a run needs to know.

    Attributes:
        model: A known name, a folder, a .gguf file or a hub id.
        layout: Whether the document or the question stands first in the prompt.
        chat: Whether the prompt is put into the model's chat template, where it has one.
        table: How a row becomes a document.
        columns: What is learnt and filled in, by column name.
        method: Which parameters are trained.
        encoding: Lengths in tokens.
        training: How the weights are learnt.
    """

    model: Text = "smollm2-135m"
    layout: Layout = "document-first"
    chat: bool = True
    table: TableSpec
    columns: Annotated[dict[Text, Column], Field(min_length=1)]
    method: Method = LoraMethod()
    encoding: EncodingSpec = EncodingSpec()
    training: TrainingSpec = TrainingSpec()

    @model_validator(mode="before")
    @classmethod
    def _default_kind(cls, values: Any) -> Any:
        # LoRA is the default, so its settings alone will do.
        if isinstance(values, Mapping) and isinstance(values.get("method"), Mapping):
            return {**values, "method": {"kind": "lora", **values["method"]}}
        return values

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.table.id in self.columns:
            raise ValueError(f"columns.{self.table.id}: the column is also table.id; it cannot be learnt")
        learnt = {part.text for part in parse_template(self.table.document) if part.is_column} & set(self.columns)
        if learnt:
            name = sorted(learnt)[0]
            raise ValueError(f'table.document: shows the model "{{{name}}}", the column that it is to learn')
        if ROW in self.columns:
            raise ValueError(f'columns.{ROW}: "{ROW}" numbers the rows of a table that has no id column; rename it')
        owners = {name: f"columns.{name}" for name in self.columns} | {self.table.id: "table.id"}
        for name, column in self.columns.items():
            beside = {given_column(name): "what the table itself had"}
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
                    raise ValueError(f'columns.{other}: "{question}" stands for a label of columns.{name}; rename it')
        asking: dict[str, str] = {}
        for name, column in self.questions.items():
            if (other := asking.setdefault(column.question.strip(), name)) != name:
                raise ValueError(f"columns.{name}.question: {other} asks the same; the model could not tell them apart")
        return self

    @property
    def base_bits(self) -> Literal[4, 8] | None:
        """Bits of a base weight, where the method has the base model quantized."""
        return self.method.base_model_bits

    def questions_of(self, name: str) -> dict[str, AskedSpec]:
        """Return what is asked for a column, by name: the column itself, or `COLUMN: LABEL` for each label."""
        return self.columns[name].questions(name)

    @property
    def questions(self) -> dict[str, AskedSpec]:
        """What a row is asked, by name, the columns in order."""
        return {question: asked for name in self.columns for question, asked in self.questions_of(name).items()}

    def with_best_thresholds(self, predicted: Mapping[str, Sequence[PredictedTable]]) -> "Recipe":
        """Return this recipe with the thresholds that suit some rows best, where its columns ask for that.

        Args:
            predicted: By column what a model gives for these rows.
        """
        columns = {name: each.with_best_thresholds(name, predicted[name]) for name, each in self.columns.items()}
        return self.model_copy(update={"columns": columns})

    def only(self, names: tuple[str, ...]) -> "Recipe":
        """Give this recipe with just these of its columns, in the recipe's order."""
        return self.model_copy(update={"columns": {n: c for n, c in self.columns.items() if n in names}})
