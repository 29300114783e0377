"""Full fine-tuning."""

from typing import TYPE_CHECKING, Any, Literal

from papertune.methods.method import WholeModelMethod

if TYPE_CHECKING:
    import torch


class FullMethod(WholeModelMethod):
    """All parameters of the base model are trained."""

    kind: Literal["full"]

    def base_dtype(self, compute_dtype: "torch.dtype") -> "torch.dtype":
        """Return float32: every parameter is trained."""
        import torch

        return torch.float32

    def build(self, model: Any) -> Any:
        """Make all parameters trainable."""
        return model.float().requires_grad_(True)
