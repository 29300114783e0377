"""REINFORCE with the other answers to a prompt as the baseline."""

from typing import Literal

from papertune.stages.sampling import SamplingStage


class RlooStage(SamplingStage):
    """An answer is compared with the mean of the others to its prompt (Ahmadian et al. 2024, arXiv:2402.14740)."""

    kind: Literal["rloo"]
