"""Group relative policy optimisation."""

from typing import Literal

from papertune.stages.sampling import SamplingStage


class GrpoStage(SamplingStage):
    """Rewards are standardised within the answers to a prompt (Shao et al. 2024, arXiv:2402.03300)."""

    kind: Literal["grpo"]
