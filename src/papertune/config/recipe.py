"""A recipe: all that a run needs to know, as frozen pydantic models.

A recipe is read from TOML and never written to afterwards. `Recipe` holds one small part for each room; a room gets its
own part, not the whole.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, model_validator

from papertune.config.templates import parse_template, render_template

Layout = Literal["document-first", "question-first"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[StrictStr, Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a recipe: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_template(template: str) -> str:
    if not any(part.is_column for part in parse_template(template)):
        raise ValueError('names no column; write for example "title: {title}\\nabstract: {abstract}"')
    return template


def _check_label_set(labels: tuple[str, ...], key: str = "labels") -> None:
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(f"{key} are repeated: {', '.join(repeated)}")
    untrimmed = [label for label in labels if label != label.strip()]
    if untrimmed:
        raise ValueError(f"{key} must not begin or end with a blank: {untrimmed}")


class TableSpec(Part):
    """How a row of the table becomes a document.

    Attributes:
        id: The column that names a row; without one, rows are told by their number.
        document: A template of column names in braces; the only text that is ever shortened.
    """

    id: Text | None = None
    document: Annotated[StrictStr, AfterValidator(_check_template)]


class LabelColumn(Part):
    """A column that holds one of a set of labels.

    Attributes:
        question: What the model is asked about the document.
        labels: The allowed labels, as text; the first is the positive class of two.
        loss: "labels": cross-entropy over the label set, where each label is one token of its own, else as "answer".
            "answer": cross-entropy over the whole vocabulary at each answer token.
        weights: How much a row of each label counts in the loss; "balanced": rows / (labels x rows of that label), as
            scikit-learn has it.
        abstain_below: A row whose best label has a lower probability gets an empty cell.
    """

    kind: Literal["label"]
    question: Text
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    loss: Literal["labels", "answer"] = "labels"
    weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    abstain_below: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> "LabelColumn":
        _check_label_set(self.labels)
        if isinstance(self.weights, dict) and set(self.weights) != set(self.labels):
            raise ValueError(f"weights must name each of the labels once: {', '.join(self.labels)}")
        return self


class LabelsColumn(Part):
    """A column that holds none, one or several of a set of labels.

    Each label is a question of its own that is answered with yes or no ("binary relevance", Tsoumakas and Katakis 2007,
    doi:10.4018/jdwm.2007070101). So the probabilities of a row do not add up to 1.

    Attributes:
        question: What the model is asked about the document and one label, which stands in it as {label}.
        labels: The set, as text.
        answers: What the model says, yes first.
        separator: What stands between labels in the cell that is written. Cells are also read at semicolons and line
            breaks and, where a cell has none of these, at commas.
        thresholds: The probability from which on a row has a label, for all labels or for each; "f1": for each label
            the one with the highest F1 on the dev rows, chosen when the training ends.
        loss: As in `LabelColumn`, of the two answers.
        weights: For each label how much its yes counts in the loss where its no counts 1; "balanced": its yes and its
            no count the same in total.
    """

    kind: Literal["labels"]
    question: Text
    labels: Annotated[tuple[Text, ...], Field(min_length=1)]
    answers: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)] = ("yes", "no")
    separator: Text = "; "
    thresholds: Literal["f1"] | Probability | dict[str, Probability] = 0.5
    loss: Literal["labels", "answer"] = "labels"
    weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _check(self) -> "LabelsColumn":
        try:
            names = {part.text for part in parse_template(self.question) if part.is_column}
        except ValueError as error:
            raise ValueError(f"question {error}") from None
        if names != {"label"}:
            raise ValueError("question must ask about one label: write {label} in it, and no other name in braces")
        _check_label_set(self.labels)
        _check_label_set(self.answers, "answers")
        # Where a label's own signs would part it, a cell could not be read again.
        signs = [";", "；", "\n", self.separator.strip() or " "]
        if parted := [label for label in self.labels if any(sign in label for sign in signs)]:
            raise ValueError(
                f"labels are parted at {self.separator!r}, semicolons and line breaks, so {parted[0]!r} could not be "
                "read; choose another separator or another word"
            )
        for key, given in (("thresholds", self.thresholds), ("weights", self.weights)):
            if isinstance(given, dict) and set(given) != set(self.labels):
                raise ValueError(f"{key} must name each of the labels once: {', '.join(self.labels)}")
        return self

    def about(self, label: str) -> LabelColumn:
        """Give the question about one label as a column that is answered with yes or no."""
        yes, no = self.answers
        return LabelColumn(
            kind="label",
            question=render_template(self.question, {"label": label}),
            labels=(yes, no),
            loss=self.loss,
            weights={yes: self.weights[label], no: 1.0} if isinstance(self.weights, dict) else self.weights,
        )


class KeywordsColumn(Part):
    """A column that holds a list of keywords.

    Attributes:
        question: What the model is asked about the document.
        separator: What stands between keywords in the text that is learnt; with a semicolon, comma or line break in
            it, since that is where predicted lists are split.
        output_separator: What stands between keywords in the cell that is written.
        max_new_tokens: How long a predicted list may become, in tokens.
    """

    kind: Literal["keywords"]
    question: Text
    separator: Text = "; "
    output_separator: Text = "; "
    max_new_tokens: Annotated[int, Field(ge=4)] = 96

    @model_validator(mode="after")
    def _check(self) -> "KeywordsColumn":
        if not set(self.separator) & set(";；,，、\n"):
            raise ValueError(
                f"separator is {self.separator!r}, where a list is not split again; use one with ; or , in it"
            )
        return self


class RankedKeywordsColumn(Part):
    """A column that holds keywords, the surest first.

    Each keyword is an answer of its own (Meng et al. 2017, arXiv:1704.06879), so the model learns how likely it is that
    a keyword is one of the paper's; the likeliest are found by beam search. A list that is decoded as one text has no
    such order, and a small model loses its way in it.

    Attributes:
        question: What the model is asked about the document; it asks for one keyword.
        count: How many keywords are written.
        beams: How many unfinished keywords the search goes on with. At least `count`; some of what it finds differs in
            its ending only, and is written once.
        max_keyword_tokens: How long a keyword may be, in tokens, in training and in prediction.
        output_separator: What stands between keywords in the cell that is written.
    """

    kind: Literal["ranked_keywords"]
    question: Text
    count: Annotated[int, Field(ge=1)] = 5
    beams: Annotated[int, Field(ge=1)] = 16
    max_keyword_tokens: Annotated[int, Field(ge=2)] = 16
    output_separator: Text = "; "

    @model_validator(mode="after")
    def _check(self) -> "RankedKeywordsColumn":
        if self.beams < self.count:
            raise ValueError(f"beams is {self.beams}, but {self.count} keywords are to be found; raise it")
        return self


# A column that is filled in by the answer to one question.
AskedColumn = LabelColumn | KeywordsColumn | RankedKeywordsColumn

Column = Annotated[LabelColumn | LabelsColumn | KeywordsColumn | RankedKeywordsColumn, Field(discriminator="kind")]


class LoraMethod(Part):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): W = W0 + scale x B A.

    Attributes:
        rank: Rank of B A.
        alpha: The scale is alpha / rank, or alpha / sqrt(rank) with `rslora` (arXiv:2312.03732).
        dropout: Dropout on the adapter's input while training.
        targets: Names of the linear layers to adapt, or "all-linear" (all but the output layer).
        layers: Only in this many decoder layers, counted from the last; None: in all. The backward pass ends at the
            first adapted layer, so half the layers train in well under two thirds of the time.
        rslora: Scale by the square root of the rank.
        dora: Learn magnitude and direction apart (arXiv:2402.09353).
        base_bits: Store the base model's linear layers in so many bits (QLoRA, arXiv:2305.14314); None: in the
            precision of the training.
        start_from: A run whose adapter is the start of this one.
    """

    kind: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16
    dropout: Fraction = 0.0
    targets: Literal["all-linear"] | tuple[Text, ...] = "all-linear"
    layers: Annotated[int, Field(ge=1)] | None = None
    rslora: bool = False
    dora: bool = False
    base_bits: Literal[4, 8] | None = None
    start_from: Text | None = None


class PtuningV2Method(Part):
    """A learnt prefix (Liu et al. 2021, arXiv:2110.07602): keys and values before the first token in every layer.

    Attributes:
        prefix_length: How many virtual tokens stand there.
        projection: In training two linear layers with a tanh between make the prefix; the run keeps what they made.
        dropout: Dropout on the prefix while training.
    """

    kind: Literal["ptuning_v2"]
    prefix_length: Annotated[int, Field(ge=1)] = 64
    projection: bool = False
    dropout: Fraction = 0.0


class FullMethod(Part):
    """All weights are trained."""

    kind: Literal["full"]


class FreezeMethod(Part):
    """Only some layers are trained; the rest stays as it is.

    Attributes:
        layers: How many decoder layers, counted from the last.
        modules: Only these children of each layer (for example "mlp"); empty: the whole layer.
    """

    kind: Literal["freeze"]
    layers: Annotated[int, Field(ge=1)] = 2
    modules: tuple[Text, ...] = ()


Method = Annotated[LoraMethod | PtuningV2Method | FullMethod | FreezeMethod, Field(discriminator="kind")]


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
        dev_rows: Most rows of the dev table that the dev score looks at during training.
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
        method: Which weights are learnt.
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
        return self.method.base_bits if isinstance(self.method, LoraMethod) else None

    def questions_of(self, name: str) -> dict[str, AskedColumn]:
        """Give what is asked for a column, by name: the column itself or, of a labels column, `COLUMN: LABEL` each."""
        column = self.columns[name]
        if isinstance(column, LabelsColumn):
            return {f"{name}: {label}": column.about(label) for label in column.labels}
        return {name: column}

    @property
    def questions(self) -> dict[str, AskedColumn]:
        """What a row is asked, by name, the columns in order."""
        return {question: asked for name in self.columns for question, asked in self.questions_of(name).items()}

    def only(self, names: tuple[str, ...]) -> "Recipe":
        """Give this recipe with just these of its columns, in the recipe's order."""
        return self.model_copy(update={"columns": {n: c for n, c in self.columns.items() if n in names}})
