"""The methods there are: a new one is a module of its own and a line in `METHODS`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from papertune.methods.freeze import FreezeMethod
from papertune.methods.full import FullMethod
from papertune.methods.lora import LoraMethod
from papertune.methods.method import AdapterMethod, TrainingMethod
from papertune.methods.probe import ProbeMethod
from papertune.methods.ptuning_v2 import PtuningV2Method

METHODS: tuple[type[TrainingMethod], ...] = (
    LoraMethod,
    PtuningV2Method,
    FullMethod,
    FreezeMethod,
    ProbeMethod,
)

# What `method` of a recipe can be: the class is chosen by `kind`.
if TYPE_CHECKING:
    Method = TrainingMethod
else:
    Method = Annotated[reduce(or_, METHODS), Field(discriminator="kind")]


def methods_by_kind() -> dict[str, type[TrainingMethod]]:
    """Return the methods by the value of `kind`."""
    return {method.kind_name(): method for method in METHODS}


def adapter_methods() -> dict[str, type[AdapterMethod]]:
    """Return the methods that keep an adapter, by peft's name for its type."""
    return {method.peft_type: method for method in METHODS if issubclass(method, AdapterMethod)}
