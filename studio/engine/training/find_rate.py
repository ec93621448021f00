"""Steps of a run at a rate that rises from step to step, to see which rate suits (see
`studio.training.rates`). Nothing of it is kept but rates and losses.
"""

from typing import Any

from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.engine.training.calibrate import clean_up, quiet
from studio.engine.training.data import TrainData
from studio.engine.training.run import Training
from studio.errors import StudioError
from studio.jobs.worker import StopRequested
from studio.training.rates import is_over, rate_of, read_test


def find_rate(training: Training, data: TrainData) -> dict[str, object]:
    """Let the rate rise until the loss does; gives the values of the `finished` event.

    Raises: StopRequested after a stop.
    """
    training.begin()
    trainer = training.trainer(data, resuming=False)
    quiet(trainer)
    rising = _Rising()
    trainer.add_callback(rising)
    training.events.write("phase", name="measuring")
    try:
        trainer.train()
    except StudioError as error:
        if error.code != "diverged":  # a rate that is too high is what the test looks for
            raise
    finally:
        clean_up(training.job)
    if training.reporter.stopped:
        raise StopRequested
    return vars(read_test(rising.rates[: len(rising.losses)], rising.losses))


class _Rising(TrainerCallback):
    """Sets the rate before each step; the schedule would set it otherwise after each."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        assert optimizer is not None  # the Trainer gives it to every callback
        rate = rate_of(len(self.rates))
        self.rates.append(rate)
        for group in optimizer.param_groups:
            group["lr"] = rate

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            control.should_training_stop |= is_over(self.losses)
