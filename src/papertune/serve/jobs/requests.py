"""What a request for a job may say."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from papertune.serve.jobs.job import Kind

Name = Annotated[str, Field(min_length=1, max_length=200)]
Columns = Annotated[list[Name], Field(max_length=1000)]


class Options(BaseModel):
    """Options of a job; an unknown one is an error."""

    model_config = ConfigDict(extra="forbid")


class TrainOptions(Options):
    """Options of `papertune train`.

    Attributes:
        dev: Id of a table of dev rows.
        dev_fraction: Instead of `dev`: share of the rows; None: that of the recipe.
        only: Only these of the recipe's columns.
        stage: The stage, instead of the recipe's.
        start_from: Name of the run whose adapter is trained further, instead of the recipe's `method.start_from`.
        pairs: Id of a `prefer` job that is done; its pairs are learned instead of a table. `dev` is such an id as well.
    """

    dev: Name | None = None
    dev_fraction: Annotated[float, Field(gt=0, le=0.9)] | None = None
    only: Columns = []
    stage: Name | None = None
    start_from: Name | None = None
    pairs: Name | None = None


class PredictOptions(Options):
    """Options of `papertune predict`.

    Attributes:
        columns: Columns of the filled table; "all": those of the table, then the run's.
        probabilities: Whether probabilities and confidences are columns as well.
        sort_by: A label column; the rows are sorted by the probability of its first label.
    """

    columns: Literal["all"] | Annotated[Columns, Field(min_length=1)] = "all"
    probabilities: bool = False
    sort_by: Name | None = None


class EvaluateOptions(Options):
    """Options of `papertune evaluate`.

    Attributes:
        truth: Id of a table with the gold columns, if the table has none.
        baselines: Id of the training table: simple systems are trained on it and compared.
    """

    truth: Name | None = None
    baselines: Name | None = None


class PreferOptions(Options):
    """Options of `papertune prefer`.

    Attributes:
        corrected: Id of the corrected table; None: the corrections that the table itself has.
        synthesise: Whether synthetic pairs are added.
    """

    corrected: Name | None = None
    synthesise: bool = False


class JobRequest(BaseModel):
    """A request for a job.

    Attributes:
        kind: The command.
        table: Id of the table; a training on `options.pairs` has none.
        name: Name of the new run, of the filled table, or a title.
        recipe: The recipe of a training; None with `options.start_from`: that of the start.
        run: The run that a job other than a training uses.
        options: Options of the kind.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    table: Name | None = None
    name: Name
    recipe: dict[str, Any] | None = None
    run: Name | None = None
    options: dict[str, Any] = {}
