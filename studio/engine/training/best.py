"""The best moment of a run: keeps its checkpoint, and ends the run when nothing better comes.

What counts is the validation loss after at least one step. The counts go with the run's progress,
so that a resumed run waits no longer than one that went through.
"""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.engine.training.checkpoints import checkpoint_at, damage_of
from studio.engine.training.report import Reporter
from studio.training.config import TrainSettings


class BestWatch(TrainerCallback):
    """Added after the reporter, which has counted the validation loss by then."""

    def __init__(self, settings: TrainSettings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not metrics or not state.global_step:
            return
        loss, progress = metrics["eval_loss"], self._reporter.progress
        before = progress.best_eval_loss
        if before is None or loss < before - self._settings.early_stopping_threshold:
            progress.best_eval_loss, progress.best_step = loss, state.global_step
            progress.n_not_better = 0
            control.should_save = control.should_save or self._settings.keep_best
            return
        progress.n_not_better += 1
        patience = self._settings.early_stopping_patience
        if patience and progress.n_not_better >= patience:
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        progress = self._reporter.progress
        control.should_training_stop = True
        self._reporter.warn(
            "stopped_early",
            f"The validation loss has not improved on {progress.best_eval_loss:.4f} of step "
            f"{progress.best_step} in the last {progress.n_not_better} validations: the run ends "
            f"at step {state.global_step}.",
            "Nothing to do. Raise Stop early after, or set it to 0, to train to the last step.",
        )


def best_checkpoint(folder: Path, reporter: Reporter) -> Path | None:
    """The checkpoint of the lowest validation loss; None, with a warning, where it is not whole."""
    step = reporter.progress.best_step
    if not step:
        return None
    checkpoint = checkpoint_at(folder, step)
    reason = damage_of(checkpoint)
    if not reason:
        return checkpoint
    reporter.warn(
        "best_missing",
        f"The best checkpoint, of step {step}, cannot be used: {reason}. The result is the model "
        "at the last step.",
        "Check the disk if this happens again.",
    )
    return None
