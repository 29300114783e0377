"""Joins in words, for the terminal, the report and the README of a run."""

from collections.abc import Mapping

from papertune.kinds.label.record import MIN_EVIDENCE, MODEL, Join

# What a source is called in a sentence.
NAMES = {"words": "words", "probe": "the probe", "encoder": "the sentence encoder", MODEL: "the fine-tuned model"}


def answered_by(join: Join) -> str:
    """Return which sources answer, such as "words (weight 0.62) and the fine-tuned model (0.41)"."""
    used = [(name, weight) for name, weight in join.weights.items() if weight > 0]
    if len(used) == 1:
        return f"{NAMES[used[0][0]]} alone"
    parts = [f"{NAMES[name]} (weight {weight:.2f})" for name, weight in used]
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if parts else "the shares of the labels"


def answered_by_each(joins: Mapping[str, Join], questions: Mapping[str, str]) -> str:
    """Return which sources answer the questions of a column; "" if only the model does.

    Args:
        joins: The joins of a run, by question.
        questions: The column's questions, with the label that each asks about, or "".
    """
    texts = {label: answered_by(joins[name]) for name, label in questions.items() if name in joins}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{label}: {text}" for label, text in texts.items())


def join_in_words(question: str, join: Join) -> str:
    """Return how a question is answered and why, in one line."""
    rows = f"{join.rows:,} {_EVIDENCE[join.evidence]}"
    losses = {NAMES[name]: loss for name, loss in join.losses.items() if name in NAMES}
    beside = "; ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    measured = f"log-loss {join.losses['joined']:.3f} on {rows}" if "joined" in join.losses else f"by {rows}"
    text = f"{question}: answered by {answered_by(join)}; {measured}"
    if len(losses) > 1:
        text += f" (log-loss alone: {beside})"
    if MODEL in join.weights and not join.asks_model:
        text += f". {why_not_model(join)}"
    return text


def why_not_model(join: Join) -> str:
    """Return why the model has no weight."""
    if join.evidence == "dev rows":
        return "The fine-tuned model adds nothing there, so prediction does not load it"
    if MODEL in join.losses:
        return (
            "There are too few dev rows to weigh the fine-tuned model; in its first epoch it was clearly worse than "
            f"the other sources, so prediction does not load it. With at least {MIN_EVIDENCE} dev rows (--dev or "
            "--dev-fraction) it can show what it has learned since"
        )
    return "There are no dev rows to weigh the fine-tuned model by. Give some with papertune calibrate"


_EVIDENCE = {
    "dev rows": "dev rows",
    "first epoch": "training rows, held out in turn",
    "held-out rows": "training rows, held out in turn",
}
