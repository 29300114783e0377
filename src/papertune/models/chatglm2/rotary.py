"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) of half of each head, in pairs of neighbours.

head        x0 x1 | x2 x3 | ... | x(r-2) x(r-1) | x(r) ... x(d-1)       r = d / 2
rotated by  p f0    p f1          p f(r/2-1)      not rotated           f(i) = 10000^(-2i/r), p the position
"""

import torch
from torch import Tensor

_BASE = 10000.0

# Cosines and sines, shape (batch or 1, seq, pairs) each.
RotaryTable = tuple[Tensor, Tensor]


def rotary_table(positions: Tensor, width: int, dtype: torch.dtype = torch.float32) -> RotaryTable:
    """Return the cosines and sines of the angles by which pairs are rotated.

    The frequencies (32 in the published model) are computed in each forward pass. In a buffer of the model they would
    be rounded together with the weights, for example by `model.half()`.

    Args:
        positions: Positions of the tokens, int64, shape (batch or 1, seq).
        width: How many numbers of a head are rotated.
        dtype: Dtype of the table and of all steps up to the angle. In half precision frequencies, positions and angles
            are all rounded, as in the original: its float16 table is off by up to 0.17 at position 500 and by 0.98 at
            2047, and in bfloat16, which has no odd numbers above 256, neighbouring positions become equal.

    Returns:
        The table, in `dtype`.
    """
    steps = torch.arange(0, width, 2, dtype=dtype, device=positions.device)
    frequencies = 1.0 / _BASE ** (steps / width)
    angles = (positions[..., None].to(dtype) * frequencies).float()
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states: Tensor, table: RotaryTable) -> Tensor:
    """Rotate the first numbers of each head by the positions, in the dtype of the table.

    Args:
        states: Queries or keys, shape (batch, heads, seq, head_dim).
        table: The result of `rotary_table`.

    Returns:
        The rotated states, in the shape and dtype of `states`.
    """
    cos, sin = (part[:, None] for part in table)  # (batch, 1, seq, pairs)
    width = 2 * cos.shape[-1]
    pairs = torch.unflatten(states[..., :width].to(cos.dtype), -1, (-1, 2))  # (batch, heads, seq, pairs, 2)
    first, second = pairs.unbind(dim=-1)
    rotated = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)
    return torch.cat([rotated.to(states.dtype), states[..., width:]], dim=-1)
