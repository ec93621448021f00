"""How long a run will take, from what a few of its own steps took on this computer. No torch.

In: what a calibration measured (`Pace`) and how often each part comes. Out: an Estimate in seconds.
"""

import math
from dataclasses import dataclass

from studio.training.config import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of a run's parts: until the first step, a step of usual length, one validation of
    all rows, one checkpoint."""

    setup_seconds: float
    step_seconds: float
    eval_seconds: float
    save_seconds: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds of a whole run; `n_validations` counts the one before the first step, too."""

    n_steps: int
    n_validations: int
    n_checkpoints: int
    setup_seconds: float
    training_seconds: float
    validation_seconds: float
    saving_seconds: float

    @property
    def seconds(self) -> float:
        """All of it. A run that is told to stop early may need less."""
        return (
            self.setup_seconds
            + self.training_seconds
            + self.validation_seconds
            + self.saving_seconds
        )

    @property
    def step_seconds(self) -> float:
        return self.training_seconds / max(self.n_steps, 1)


def estimate(pace: Pace, training: TrainSettings, n_rows: int, validates: bool) -> Estimate:
    """What a run of these settings on `n_rows` encoded rows takes at this pace."""
    n_steps = training.n_steps(n_rows)
    n_validations = 1 + _n_validations(training, n_steps, n_rows) if validates else 0
    n_checkpoints = math.ceil(n_steps / training.steps_between(training.save_steps, n_steps))
    return Estimate(
        n_steps=n_steps,
        n_validations=n_validations,
        n_checkpoints=n_checkpoints,
        setup_seconds=pace.setup_seconds,
        training_seconds=n_steps * pace.step_seconds,
        validation_seconds=n_validations * pace.eval_seconds,
        # The result itself is written as a checkpoint is.
        saving_seconds=(n_checkpoints + 1) * pace.save_seconds,
    )


def _n_validations(training: TrainSettings, n_steps: int, n_rows: int) -> int:
    """Those after the first step."""
    if training.eval_strategy == "epoch":
        per_epoch = max(math.ceil(n_rows / training.effective_batch_size), 1)
        return n_steps // per_epoch
    return n_steps // training.steps_between(training.eval_steps, n_steps)
