"""Names of what is written for a column of the recipe, beside the column itself."""

from papertune.kinds.columns import Column, LabelColumn, LabelsColumn, RankedKeywordsColumn

# Numbers the rows of a table that has no id column.
ROW = "row"


def given_column(name: str) -> str:
    """Give the name of the column that keeps what the table itself had."""
    return f"{name}_given"


def set_column(name: str) -> str:
    """Give the name of the column with the label sets of a label column."""
    return f"{name}_set"


def probability_columns(name: str, column: LabelColumn | LabelsColumn) -> list[str]:
    """Give the names of the columns with the probability of each label, in the recipe's order."""
    return [f"{name}_probability_{label}" for label in column.labels]


def confidence_column(name: str) -> str:
    """Give the name of the column that says how sure each ranked keyword is."""
    return f"{name}_confidence"


def names_beside(name: str, column: Column) -> dict[str, str]:
    """Give every name that may stand beside a column in the output, and in a few words what it holds."""
    beside = {given_column(name): "what the table itself had"}
    if isinstance(column, LabelColumn) and column.coverage is not None:
        beside[set_column(name)] = "the label sets"
    if isinstance(column, RankedKeywordsColumn):
        beside[confidence_column(name)] = "how sure each keyword is"
    if isinstance(column, LabelColumn | LabelsColumn):
        titles = probability_columns(name, column)
        beside |= {title: f"the probability of {label}" for title, label in zip(titles, column.labels, strict=True)}
    return beside
