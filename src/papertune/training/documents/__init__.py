"""Training on whole texts: token files, packed blocks, their loss, and how probable held-out texts are."""

from papertune.training.documents.blocks import PackedBlocks
from papertune.training.documents.likelihood import HeldOut
from papertune.training.documents.loop import fit_documents
from papertune.training.documents.token_file import TokenFile, TokenWriter

__all__ = ["HeldOut", "PackedBlocks", "TokenFile", "TokenWriter", "fit_documents"]
