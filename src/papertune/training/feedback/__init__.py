"""Training from feedback, on TRL's trainers: reward models, preferences, reinforcement learning.

TRL is the extra `papertune[rl]`. Only `reward`, `preference` and `rollouts` import it; the rest of the package is what
they share.
"""

from papertune.training.feedback.bridge import FeedbackTrainer, fit_on_feedback
from papertune.training.feedback.extra import check_trl
from papertune.training.feedback.log_probs import answer_log_probs, pair_measures
from papertune.training.feedback.pairs import EncodedPair, EncodedThumb, encode_pairs, encode_thumbs

__all__ = [
    "EncodedPair",
    "EncodedThumb",
    "FeedbackTrainer",
    "answer_log_probs",
    "check_trl",
    "encode_pairs",
    "encode_thumbs",
    "fit_on_feedback",
    "pair_measures",
]
