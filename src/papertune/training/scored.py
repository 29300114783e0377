"""A trainer whose checkpoints are chosen by the scores of dev rows."""

from typing import Any

from papertune.training.callbacks import SCORE, dev_score_keys


class ScoredOnDevRows:
    """What a trainer of transformers that derives from this class first does when it is asked to evaluate."""

    # From the trainer.
    model: Any
    args: Any
    state: Any
    control: Any
    callback_handler: Any
    log: Any

    def dev_scores(self) -> dict[str, float]:
        """Return scores of the model by name; "score" chooses the checkpoint."""
        raise NotImplementedError

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the dev rows."""
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self.dev_scores().items()}
        assert SCORE in metrics
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether the last dev score is a new best, which is then remembered."""
        *before, last = dev_score_keys(self.state)
        is_new_best = all(last > other for other in before)
        if is_new_best:
            self.state.best_metric = metrics[SCORE]
            self.state.best_global_step = self.state.global_step
        return is_new_best
