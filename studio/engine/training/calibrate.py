"""A few seconds of a run, to know how long all of it takes: its own model, rows, steps, validation
and checkpoint, on this computer. Nothing of it is kept but the times.
"""

import shutil
import time
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from studio.engine.training.data import TrainData
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.full_disk import told_when_full
from studio.engine.training.report import Reporter
from studio.engine.training.rows import Rows
from studio.engine.training.run import CHECKPOINTS, START_VALUES, Training
from studio.engine.training.samples import Sampling
from studio.jobs.job import Job
from studio.jobs.worker import StopRequested
from studio.training.duration import Pace, estimate

# Steps go on until so much time is measured, but never more of them, and where one takes long no
# fewer than two beside the first, which allocates what the others find.
_SECONDS = 4.0
_MOST, _FEWEST = 100, 3
# Validated are so many batches, spread over the lengths.
_EVAL_BATCHES = 4


def calibrate(training: Training, data: TrainData) -> dict[str, object]:
    """Time the parts of `training`; gives the values of the `finished` event.

    Raises: StopRequested after a stop.
    """
    started = time.monotonic() - training.reporter.elapsed_seconds
    training.begin()
    trainer = training.trainer(data, resuming=False)
    settings = training.config.training
    some = _spread(data.validation, _EVAL_BATCHES * settings.effective_batch_size)
    watch = _Watch(training.reporter, validates=len(some) > 0)
    sampling = [c for c in trainer.callback_handler.callbacks if isinstance(c, Sampling)]
    trainer.eval_dataset = some
    quiet(trainer)
    trainer.add_callback(watch)
    training.events.write("phase", name="measuring")
    try:
        with told_when_full(training.job.folder, training.job.folder / CHECKPOINTS):
            trainer.train()
    finally:
        clean_up(training.job)
    if training.reporter.stopped or training.reporter.stop_requested:
        raise StopRequested
    pace = Pace(
        setup_seconds=watch.first_began - started,
        step_seconds=watch.step_seconds * _usual_length(watch, data.train, trainer),
        eval_seconds=_eval_seconds(watch.eval_seconds, sampling, _times(data.validation, some)),
        save_seconds=watch.save_seconds,
    )
    return vars(estimate(pace, settings, len(data.train), validates=len(data.validation) > 0))


def clean_up(job: Job) -> None:
    """Remove what a worker has written beside its events."""
    shutil.rmtree(job.folder / CHECKPOINTS, ignore_errors=True)
    (job.folder / START_VALUES).unlink(missing_ok=True)


def quiet(trainer: WatchedTrainer) -> None:
    """Nothing is validated or saved but where a callback asks for it."""
    trainer.args.eval_on_start = False
    trainer.args.eval_strategy = IntervalStrategy.NO
    trainer.args.save_strategy = SaveStrategy.NO


def _spread(rows: Rows, n_most: int) -> Rows:
    """At most so many of `rows`, their lengths spread as those of all."""
    by_length = sorted(range(len(rows)), key=lambda index: rows.lengths[index])
    n_taken = min(n_most, len(rows))
    # From the middle of each of so many equal parts.
    places = [(2 * place + 1) * len(rows) // (2 * n_taken) for place in range(n_taken)]
    some = type(rows)()
    for place in places:
        some.append(rows[by_length[place]])
    return some


def _times(rows: Rows, some: Rows) -> float:
    """How many times the tokens of `some` are in `rows`."""
    return sum(rows.lengths) / sum(some.lengths) if len(some) else 0.0


def _eval_seconds(measured: float, sampling: list[Sampling], times: float) -> float:
    """Of a whole validation; prompts are answered once, however many rows there are."""
    answering = sum(one.seconds for one in sampling)
    return (measured - answering) * times + answering


def _usual_length(watch: "_Watch", rows: Rows, trainer: WatchedTrainer) -> float:
    """By how much a usual step is longer than the measured ones."""
    if not watch.n_tokens or trainer.config.method == "grpo":
        return 1.0  # most of its tokens are the answers, whose lengths nobody knows yet
    size = trainer.settings.effective_batch_size
    usual = sum(rows.lengths) / len(rows) * min(size, len(rows))
    return usual * watch.n_measured / watch.n_tokens


class _Watch(TrainerCallback):
    """Added last: what the others do belongs to the time."""

    def __init__(self, reporter: Reporter, validates: bool) -> None:
        self._reporter = reporter
        self._validates = validates
        self.first_began = 0.0
        self.eval_seconds = self.save_seconds = 0.0
        self._steps: list[tuple[float, int]] = []
        self._marked = 0.0
        self._tokens_before = 0

    @property
    def _measured(self) -> Sequence[tuple[float, int]]:
        return self._steps[1:] or self._steps

    @property
    def n_measured(self) -> int:
        return len(self._measured)

    @property
    def step_seconds(self) -> float:
        return sum(seconds for seconds, _ in self._measured) / max(self.n_measured, 1)

    @property
    def n_tokens(self) -> int:
        return sum(tokens for _, tokens in self._measured)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        now = time.monotonic()
        if not self._steps:
            self.first_began = self._marked = now
        self._tokens_before = self._reporter.progress.n_tokens

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        # From end to end: what happens between two steps is part of the pace.
        now = time.monotonic()
        self._steps.append(
            (now - self._marked, self._reporter.progress.n_tokens - self._tokens_before)
        )
        self._marked = now
        measured = sum(seconds for seconds, _ in self._measured)
        enough = len(self._steps) >= _MOST or (len(self._steps) >= _FEWEST and measured >= _SECONDS)
        if enough or state.global_step >= state.max_steps or control.should_training_stop:
            control.should_training_stop = True
            control.should_evaluate = self._validates
            control.should_save = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.eval_seconds = self._lap()

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.save_seconds = self._lap()

    def _lap(self) -> float:
        before, self._marked = self._marked, time.monotonic()
        return self._marked - before
