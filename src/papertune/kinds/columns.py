"""The columns of a recipe: what is learnt and filled in, a variant for each kind."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from papertune.templates import parse_template, render_template

Text = Annotated[StrictStr, Field(min_length=1)]
# Strict, so that true is no 1.
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


class Part(BaseModel):
    """A part of a recipe: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_label_set(labels: tuple[str, ...], key: str = "labels") -> None:
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(f"{key} are repeated: {', '.join(repeated)}")
    untrimmed = [label for label in labels if label != label.strip()]
    if untrimmed:
        raise ValueError(f"{key} must not begin or end with a blank: {untrimmed}")


class Costs(Part):
    """What mistakes about the first of two labels cost, in any unit.

    Attributes:
        false_positive: A row that gets the first label and does not have it.
        false_negative: A row that has the first label and does not get it.
    """

    false_positive: Annotated[float, Field(gt=0, strict=True)]
    false_negative: Annotated[float, Field(gt=0, strict=True)]


class LabelColumn(Part):
    """A column that holds one of a set of labels.

    Attributes:
        question: What the model is asked about the document.
        labels: The allowed labels, as text; the first is the positive class of two.
        loss: "labels": cross-entropy over the label set, where each label is one token of its own, else as "answer".
            "answer": cross-entropy over the whole vocabulary at each answer token.
        weights: How much a row of each label counts in the loss; "balanced": rows / (labels x rows of that label), as
            scikit-learn has it.
        calibration: How probabilities are made to mean what they say, with dev rows that did not choose the weights:
            "temperature" for any labels, "isotonic" for two; "none": they stay as the model gives them.
        threshold: The probability from which on a row gets the first of two labels; "f1" or costs: the one that is best
            for F1 or cheapest on those dev rows; None: the likelier label.
        abstain_below: A row whose label has a lower probability gets an empty cell.
        abstain_for_accuracy: So do those that must, on those dev rows, for this accuracy of the others.
        coverage: A second column has a set of labels for each row; this share of the sets shall hold the true one.
    """

    kind: Literal["label"]
    question: Text
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    loss: Literal["labels", "answer"] = "labels"
    weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    threshold: Literal["f1"] | Probability | Costs | None = None
    abstain_below: Probability = 0.0
    abstain_for_accuracy: Probability | None = None
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "LabelColumn":
        _check_label_set(self.labels)
        if isinstance(self.weights, dict) and set(self.weights) != set(self.labels):
            raise ValueError(f"weights must name each of the labels once: {', '.join(self.labels)}")
        if len(self.labels) != 2:
            if self.calibration == "isotonic":
                raise ValueError(f'calibration is "isotonic", which is for two labels; there are {len(self.labels)}')
            if self.threshold is not None:
                raise ValueError(f"threshold is set, which is for two labels; there are {len(self.labels)}")
        if self.coverage is not None and (parted := [label for label in self.labels if ";" in label]):
            raise ValueError(f"coverage: the labels of a set are parted by semicolons, and {parted[0]!r} has one")
        return self

    @property
    def fitted_keys(self) -> list[str]:
        """The keys that ask for something which only dev rows can tell, calibration aside."""
        asked = {
            "threshold": self.threshold is not None and not isinstance(self.threshold, float),
            "abstain_for_accuracy": self.abstain_for_accuracy is not None,
            "coverage": self.coverage is not None,
        }
        return [key for key, is_asked in asked.items() if is_asked]

    @property
    def wants_dev_rows(self) -> bool:
        """Whether dev rows are to be kept apart for it."""
        return self.calibration != "none" or bool(self.fitted_keys)


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
        own = self.separator.strip()
        signs = {";", "；", "\n", own} if own else {";", "；", *filter(str.isspace, "".join(self.labels))}
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
        count: How many keywords are written, at most.
        candidates: Where keywords come from: "generated" by beam search, the phrases of the "document", or "both".
        min_confidence: A keyword that is less sure is not written; "f1": the confidence with the highest F1 of what is
            written on the dev rows that are kept apart.
        beams: How many unfinished keywords the search goes on with. At least `count`; some of what it finds differs in
            its ending only, and is written once.
        max_keyword_tokens: How long a keyword may be, in tokens, in training and in prediction.
        output_separator: What stands between keywords in the cell that is written.
    """

    kind: Literal["ranked_keywords"]
    question: Text
    count: Annotated[int, Field(ge=1)] = 5
    candidates: Literal["generated", "document", "both"] = "both"
    min_confidence: Literal["f1"] | Probability = 0.0
    beams: Annotated[int, Field(ge=1)] = 16
    max_keyword_tokens: Annotated[int, Field(ge=2)] = 16
    output_separator: Text = "; "

    @model_validator(mode="after")
    def _check(self) -> "RankedKeywordsColumn":
        if self.candidates != "document" and self.beams < self.count:
            raise ValueError(f"beams is {self.beams}, but {self.count} keywords are to be found; raise it")
        return self

    @property
    def fitted_keys(self) -> list[str]:
        """The keys that ask for something which only dev rows can tell."""
        return ["min_confidence"] if self.min_confidence == "f1" else []


# A column that is filled in by the answer to one question.
AskedColumn = LabelColumn | KeywordsColumn | RankedKeywordsColumn

Column = Annotated[LabelColumn | LabelsColumn | KeywordsColumn | RankedKeywordsColumn, Field(discriminator="kind")]
