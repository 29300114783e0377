"""Which sources answer which question."""

from papertune.errors import MissingExtraError, RecipeError
from papertune.kinds.label.record import MODEL
from papertune.models.sentence_encoder import ENCODER_INSTALL, find_encoder
from papertune.recipe import Recipe


def wanted_sources(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return the sources of each question of a recipe; the model alone for answers that are generated.

    By default these are all that are there: words, the model, and the sentence encoder if one is installed. The probe
    reads the base model once more, so it is one of them only where no model is trained.

    Raises:
        RecipeError: If a question is left without a source, or asks for a model that is not trained.
        MissingExtraError: If a sentence encoder is asked for and none is installed.
        ModelError: If the recipe names an encoder that is not there.
    """
    found: dict[str, tuple[str, ...]] = {}
    trains = recipe.method.trains
    encoder = find_encoder(recipe.encoder)
    default = ("words", *((MODEL,) if trains else ("probe",)), *(() if encoder is None else ("encoder",)))
    for name, column in recipe.questions.items():
        chosen = column.chosen_sources
        if not trains and not column.joined_labels and MODEL in (chosen or ()):
            raise RecipeError(
                f'columns.{name}: method.kind = "{recipe.method.kind}" trains no model, and only label and labels '
                'columns have other sources, and ranked_keywords with sources = ["words"]. Choose another method, or '
                "leave the column out."
            )
        if not trains and chosen is not None and MODEL in chosen:
            raise RecipeError(
                f'columns.{name}.sources names "model", but method.kind = "{recipe.method.kind}" trains none. '
                "Leave it out."
            )
        if chosen is not None and "encoder" in chosen and encoder is None:
            raise MissingExtraError(
                f'columns.{name}.sources names "encoder", and no sentence encoder is installed: {ENCODER_INSTALL}'
            )
        found[name] = default if chosen is None else chosen
    return found


def label_sources(recipe: Recipe, wanted: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the sources beside the model, for the label questions that have any."""
    beside = {
        name: tuple(each for each in sources if each != MODEL)
        for name, sources in wanted.items()
        if recipe.questions[name].joined_labels
    }
    return {name: sources for name, sources in beside.items() if sources}
