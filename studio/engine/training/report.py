"""What a training run says while it goes: the callback that appends events and hears a stop.

`Progress` is what must outlive a killed worker beside the Trainer's own state; each checkpoint
carries it.
"""

import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.engine.training.checkpoints import PROGRESS, rotate, seal
from studio.errors import StudioError
from studio.events import EventWriter
from studio.paths import write_json

MEAN_STEPS = 10
PACE_STEPS = 51
PAUSE_LOOK_SECONDS = 0.2
# Sum over what was looked at, and how much that was: a figure's mean is their quotient.
Figures = dict[str, tuple[float, float]]


def add_figures(total: Figures, more: Figures) -> None:
    """Add `more` into `total`."""
    for name, (value, weight) in more.items():
        before, weight_before = total.get(name, (0.0, 0.0))
        total[name] = (before + value, weight_before + weight)


def means_of(figures: Figures) -> dict[str, float]:
    """The mean of each figure that anything was seen of."""
    return {name: value / weight for name, (value, weight) in figures.items() if weight}


@dataclass(kw_only=True)
class Progress:
    """Counts of the whole run, over all its workers; times in seconds."""

    n_tokens: int = 0
    step_seconds: float = 0.0
    elapsed_before: float = 0.0
    first_losses: list[float] = field(default_factory=list)
    last_losses: list[float] = field(default_factory=list)
    eval_loss: float | None = None
    best_eval_loss: float | None = None
    best_step: int = 0
    n_not_better: int = 0
    # Memory was full: how often the rows of a pass were halved, and whether activations are
    # computed twice.
    n_halvings: int = 0
    recomputes: bool = False
    # GRPO: how often the answers that are drawn at once were halved.
    n_generation_halvings: int = 0

    @classmethod
    def read(cls, checkpoint: Path) -> "Progress":
        """What a checkpoint carries."""
        return cls(**json.loads((checkpoint / PROGRESS).read_text("utf-8")))

    def add_loss(self, loss: float) -> None:
        if len(self.first_losses) < MEAN_STEPS:
            self.first_losses.append(loss)
        self.last_losses = [*self.last_losses, loss][-MEAN_STEPS:]

    @property
    def tokens_per_second(self) -> float | None:
        """Non-padding tokens over the time spent in optimizer steps, validation not counted."""
        return self.n_tokens / self.step_seconds if self.step_seconds else None


class Reporter(TrainerCallback):
    """Appends events, seals checkpoints, and asks the Trainer to stop when a person did."""

    def __init__(
        self, events: EventWriter, stop_path: Path, pause_path: Path, started: float
    ) -> None:
        self.progress = Progress()
        self.stopped = False
        self._events = events
        self._stop_path = stop_path
        self._pause_path = pause_path
        self._started = started
        self._recent: deque[tuple[int, float]] = deque(maxlen=MEAN_STEPS)
        self._step_began = 0.0
        self._tokens_before = 0
        self._figures: Figures = {}
        # When the last steps ended: validation and saving in between count for the time left.
        self._ends: deque[float] = deque(maxlen=PACE_STEPS)

    @property
    def stop_requested(self) -> bool:
        return self._stop_path.exists()

    @property
    def elapsed_seconds(self) -> float:
        return self.progress.elapsed_before + time.monotonic() - self._started

    def diverged(self, what: str, step: int) -> StudioError:
        """The end of a run whose numbers are no numbers any more; told as a warning, too."""
        error = StudioError(
            f"The {what} is not a number any more at step {step}: training diverged.",
            "Lower the learning rate (a tenth of it is a good try) or lengthen the warm-up, then "
            "start a new run. The last checkpoint before it is kept.",
            "diverged",
        )
        self._events.write("warning", code=error.code, message=error.message, fix=error.fix)
        return error

    def warn(self, code: str, message: str, fix: str) -> None:
        """Tell of something that the run went on from."""
        self._events.write("warning", code=code, message=message, fix=fix)

    def tell(self, event: str, **values: Any) -> None:
        """Write an event of a part of its own."""
        self._events.write(event, **values)

    def add_step(self, n_tokens: int, figures: Figures) -> None:
        """Count a step's tokens and its method's own figures; they go into the step's event."""
        self.progress.n_tokens += n_tokens
        self._figures = figures

    def summary(self) -> dict[str, object]:
        """The values of the run's end event, as far as they are known."""
        progress = self.progress
        return {
            "train_loss_first": _mean(progress.first_losses),
            "train_loss_last": _mean(progress.last_losses),
            "eval_loss": progress.eval_loss,
            "best_step": progress.best_step or None,
            "tokens_per_second": progress.tokens_per_second,
            "peak_memory_bytes": peak_memory_bytes(),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._hold_still(state.global_step)
        self._step_began = time.monotonic()
        if not self._ends:
            self._ends.append(self._step_began)
        self._tokens_before = self.progress.n_tokens

    def _hold_still(self, step: int) -> None:
        """Wait while a pause is asked for, memory kept; that time counts in no measure."""
        if not self._pause_path.exists() or self.stop_requested:
            return
        began = time.monotonic()
        self._events.write("paused", step=step, elapsed_seconds=round(self.elapsed_seconds, 3))
        while self._pause_path.exists() and not self.stop_requested:
            time.sleep(PAUSE_LOOK_SECONDS)
        paused = time.monotonic() - began
        self._started += paused
        self._ends = deque((end + paused for end in self._ends), maxlen=PACE_STEPS)
        self._events.write("continued", step=step, paused_seconds=round(paused, 3))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        seconds = time.monotonic() - self._step_began
        self.progress.step_seconds += seconds
        self._recent.append((self.progress.n_tokens - self._tokens_before, seconds))
        if self.stop_requested and state.global_step < state.max_steps:
            self.stopped = True
            control.should_training_stop = True
            control.should_save = True
            control.should_evaluate = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # The events are the history; without this every checkpoint would carry it once more.
        state.log_history.clear()
        if not logs or "loss" not in logs:
            return
        self.progress.add_loss(logs["loss"])
        tokens, seconds = (sum(column) for column in zip(*self._recent, strict=True))
        self._ends.append(time.monotonic())
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        values = {
            "step": state.global_step,
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "epoch": round(state.epoch or 0.0, 4),
            "n_tokens": self.progress.n_tokens,
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "seconds_left": round(pace * (state.max_steps - state.global_step), 1),
            "memory_bytes": memory_bytes(),
        }
        self._events.write("step", **values, **means_of(self._figures))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if metrics:
            self.progress.eval_loss = metrics["eval_loss"]
            self._events.write("eval", step=state.global_step, **metrics)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        folder = Path(args.output_dir or "")
        checkpoint = folder / f"checkpoint-{state.global_step}"
        saved = {**asdict(self.progress), "elapsed_before": self.elapsed_seconds}
        write_json(checkpoint / PROGRESS, saved)
        seal(checkpoint)
        rotate(folder, also=self.progress.best_step)
        path = checkpoint.relative_to(folder.parent).as_posix()
        self._events.write("checkpoint", step=state.global_step, path=path)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def memory_bytes() -> int:
    """What this process holds now: on the GPU where one is used, else RAM."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes() -> int:
    """The most memory this process held at once: on the GPU where one is used, else RAM."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage: there the process that started this one counts, as far as exec.
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource  # noqa: PLC0415  (not on Windows)

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
