"""The sources beside the model: a new one is a module of its own and a line in `SOURCES`."""

from papertune.sources.encoder import Encoder
from papertune.sources.probe import Probe
from papertune.sources.source import Source
from papertune.sources.words import Words

SOURCES: tuple[type[Source], ...] = (Words, Probe, Encoder)


def sources_by_name() -> dict[str, type[Source]]:
    """Return the classes by their name in a recipe."""
    return {source.name: source for source in SOURCES}
