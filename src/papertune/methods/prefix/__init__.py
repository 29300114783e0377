"""A trained prefix (P-Tuning v2): the model, its cache and its files. Only `model` is imported without torch."""

from papertune.methods.prefix.model import Prefix, PrefixModel, prefix_of

__all__ = ["Prefix", "PrefixModel", "prefix_of"]
