"""Runs as a table: one RunSummary each, read off the job's folder and never stored.

In: a workspace or a job. Out: frozen values for the Runs tab and the command line. Step lines are
not parsed one by one: only the first and last ten count, so 200 long runs list in a moment.
"""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.errors import JobError
from studio.events import Event, EventReader, parse_line
from studio.jobs.job import ACTIVE, Job, State, list_jobs, state_of
from studio.jobs.prediction import read_prediction
from studio.paths import Workspace
from studio.training.reading_curves import Standing
from studio.training.result_folder import ADAPTER, adapter_kind

KIND = "train"
_MEAN_STEPS = 10
_STEP_LINE = b'{"event": "step"'


@dataclass(frozen=True, kw_only=True)
class RunError:
    """Why a run ended without finishing, and what to do."""

    message: str
    fix: str
    code: str


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run; None where it is not known (yet). Losses are in nats a token.

    `train_loss_first` and `train_loss_last` are means over the first and last ten steps;
    `seconds_left` is there while it runs; `adapter` is the folder once it exists.
    """

    id: str
    name: str
    state: State
    created_at: float
    model: str
    method: str
    dataset: str
    step: int
    n_steps: int | None
    train_loss_first: float | None
    train_loss_last: float | None
    best_eval_loss: float | None
    eval_loss: float | None
    tokens_per_second: float | None
    seconds_left: float | None
    peak_memory_bytes: int | None
    elapsed_seconds: float | None
    adapter: Path | None
    error: RunError | None
    tags: tuple[str, ...] = ()
    notes: str = ""
    archived: bool = False
    n_trainable: int | None = None
    best_eval_step: int | None = None
    # What was expected before it began.
    predicted_memory_bytes: int | None = None
    predicted_seconds: float | None = None


def list_runs(workspace: Workspace) -> list[RunSummary]:
    """All runs, newest first."""
    return [summarize(job) for job in list_jobs(workspace, KIND)]


def search_runs(
    runs: Iterable[RunSummary], query: str = "", *, archived: bool = False
) -> list[RunSummary]:
    """The runs whose name, model, data, tags or notes hold every word of `query`.

    Archived ones are left out unless `archived`.
    """
    words = query.casefold().split()
    return [
        run
        for run in runs
        if (archived or not run.archived) and all(word in _searched(run) for word in words)
    ]


def _searched(run: RunSummary) -> str:
    return "\n".join((run.name, run.model, run.dataset, *run.tags, run.notes)).casefold()


def summarize(job: Job) -> RunSummary:
    """What is known of a run now."""
    # The state first: a run that ends in between then shows as running with its last values.
    state = state_of(job)
    tally = _tally_of(job.events_path).read()
    config = _config(job)
    ended = tally.ended
    adapter = job.folder / ADAPTER
    best_step, best_loss = tally.best_eval
    prediction = read_prediction(job)
    memory, duration = (prediction.memory, prediction.duration) if prediction else (None, None)
    return RunSummary(
        id=job.id,
        name=job.name,
        state=state,
        created_at=job.created_at,
        model=config.get("model", ""),
        method=config.get("method", ""),
        dataset=_dataset_name(config),
        step=tally.step,
        n_steps=tally.n_steps,
        train_loss_first=_first_known(ended.get("train_loss_first"), _mean_loss(tally.first)),
        train_loss_last=_first_known(ended.get("train_loss_last"), _mean_loss(tally.last)),
        best_eval_loss=best_loss,
        eval_loss=_first_known(ended.get("eval_loss"), tally.last_eval),
        tokens_per_second=_first_known(
            ended.get("tokens_per_second"), tally.now("tokens_per_second")
        ),
        seconds_left=tally.now("seconds_left") if state in ACTIVE else None,
        peak_memory_bytes=ended.get("peak_memory_bytes"),
        elapsed_seconds=_first_known(ended.get("elapsed_seconds"), tally.now("elapsed_seconds")),
        adapter=adapter if adapter_kind(adapter) else None,
        error=_error(state, ended),
        tags=job.notes.tags,
        notes=job.notes.notes,
        archived=job.notes.archived,
        n_trainable=tally.n_trainable,
        best_eval_step=best_step,
        predicted_memory_bytes=memory.total_bytes if memory else None,
        predicted_seconds=duration.seconds if duration else None,
    )


def standing_of(run: RunSummary) -> Standing:
    """Where a run stands, for the reading of its curves."""
    error = run.error.code if run.error else ""
    return Standing(state=run.state, step=run.step, n_steps=run.n_steps, error=error)


def _config(job: Job) -> dict[str, Any]:
    """The settings; {} where they are gone: the run itself says so once it is started."""
    try:
        return job.config()
    except JobError:
        return {}


def _error(state: State, ended: Event) -> RunError | None:
    if state == "failed":
        return RunError(
            message=str(ended.get("message", "")),
            fix=str(ended.get("fix", "")),
            code=str(ended.get("code", "unexpected")),
        )
    if state == "lost":
        return RunError(
            message="The worker ended without a word: it was killed, or the power went.",
            fix="Resume the run: it continues from its last checkpoint. The end of the log may "
            "tell why.",
            code="run_lost",
        )
    return None


def _dataset_name(config: dict[str, Any]) -> str:
    files = config.get("dataset", {}).get("files", [])
    if not files:
        return ""
    first = Path(files[0]).name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _first_known(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _mean_loss(lines: Iterable[Event]) -> float | None:
    losses = [line["loss"] for line in lines if line.get("loss") is not None]
    return sum(losses) / len(losses) if losses else None


@dataclass
class _Tally:
    """The fold over one run's events; `ended` holds the values of its end event, if any."""

    first: list[Event] = field(default_factory=list)
    last: deque[Event] = field(default_factory=lambda: deque(maxlen=_MEAN_STEPS))
    evals: dict[int, float | None] = field(default_factory=dict)
    n_steps: int | None = None
    n_trainable: int | None = None
    ended: Event = field(default_factory=dict)
    resumed_step: int = 0

    def snapshot(self) -> "_Tally":
        return replace(self, first=list(self.first), last=deque(self.last), evals=dict(self.evals))

    @property
    def step(self) -> int:
        known = self.last[-1]["step"] if self.last else self.resumed_step
        # A resumed run that is stopped while it loads ends at step 0 of its own.
        return max(int(known), int(self.ended.get("step") or 0))

    @property
    def last_eval(self) -> float | None:
        return next(reversed(self.evals.values()), None)

    @property
    def best_eval(self) -> tuple[int | None, float | None]:
        """Step and value of the lowest validation loss, the earliest of equal ones."""
        known = [(loss, step) for step, loss in self.evals.items() if loss is not None]
        loss, step = min(known, default=(None, None))
        return step, loss

    def now(self, name: str) -> Any:
        return self.last[-1].get(name) if self.last else None

    def add_steps(self, lines: list[bytes]) -> None:
        n_missing = max(_MEAN_STEPS - len(self.first), 0)
        self.first += _parsed(lines[:n_missing])
        self.last.extend(_parsed(lines[-_MEAN_STEPS:]))

    def add(self, event: Event) -> None:
        kind = event["event"]
        if kind == "started":
            self.ended = {}
        elif kind == "plan":
            self.n_steps = event["n_steps"]
            self.n_trainable = event.get("n_trainable")
        elif kind == "resumed":
            self.resumed_step = event["step"]
            self._void_after(event["step"])
        elif kind == "eval":
            self.evals.pop(event["step"], None)
            self.evals[event["step"]] = event["eval_loss"]
        elif kind in ("finished", "stopped", "failed"):
            self.ended = event

    def _void_after(self, step: int) -> None:
        self.first = [event for event in self.first if event["step"] <= step]
        kept = [event for event in self.last if event["step"] <= step]
        self.last = deque(kept, maxlen=_MEAN_STEPS)
        self.evals = {at: loss for at, loss in self.evals.items() if at <= step}


class _TallyReader:
    """Follows one event file; an append-only file never has to be read twice."""

    def __init__(self, path: Path) -> None:
        self._reader = EventReader(path)
        self._tally = _Tally()
        self._lock = threading.Lock()

    def read(self) -> _Tally:
        with self._lock:
            self._read_on()
            return self._tally.snapshot()

    def _read_on(self) -> None:
        before = self._reader.offset
        lines = self._reader.read_lines()
        if self._reader.offset < before:
            self._tally = _Tally()
        steps: list[bytes] = []
        for line in lines:
            if line.startswith(_STEP_LINE):
                steps.append(line)
            elif event := parse_line(line):
                self._tally.add_steps(steps)
                steps = []
                self._tally.add(event)
        self._tally.add_steps(steps)


def _parsed(lines: list[bytes]) -> list[Event]:
    return [event for event in map(parse_line, lines) if event is not None]


@lru_cache(maxsize=1024)
def _tally_of(path: Path) -> _TallyReader:
    return _TallyReader(path)
