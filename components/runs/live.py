"""What the chart's script asks for each second: new points, measures and words of one run.

In: {job, since, n_shown, more} from the page. Out: plain JSON. Everything is read from the run's
folder; what is kept here between two looks can be rebuilt from it, so a restart changes nothing.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from components.runs.figure import chart_spec, trace_names
from components.wording import duration, number, size, state_word
from studio.errors import JobError
from studio.events import Event, EventReader
from studio.jobs.job import ACTIVE, ENDED, Job, State, find_job, list_jobs, state_of
from studio.jobs.queue import queue_of
from studio.paths import Workspace
from studio.results.runs import RunSummary, standing_of, summarize
from studio.results.samples import Samples
from studio.training.adapter import PROMPTS
from studio.training.curves import MAX_POINTS, SMOOTHING, CurveFollower, CurveUpdate
from studio.training.figures import Figure, figures_of
from studio.training.methods import Reward
from studio.training.reading_curves import Reading, read_curves
from studio.training.rewards import rule_names

_KEPT_RUNS = 8
# What the chart offers, in words.
SMOOTHINGS = ((0.0, "none"), (0.6, "light"), (SMOOTHING, "usual"), (0.98, "strong"))
_MORE_THAN_DRAWN = 2 * MAX_POINTS


@dataclass
class Remarks:
    """The facts of a run that its summary and its curves leave out."""

    phase: str = ""
    warnings: list[Event] = field(default_factory=list)
    samples: Samples = field(default_factory=Samples)
    evals: dict[int, float] = field(default_factory=dict)
    # The newest value of each curve that the metric strip tells.
    newest: dict[str, float] = field(default_factory=dict)

    def add(self, events: list[Event]) -> None:
        """Take in more events, in their order."""
        self.samples.add(events)
        for event in events:
            kind = event["event"]
            if kind == "phase":
                self.phase = str(event["name"])
            elif kind == "warning":
                self.warnings.append(event)
            elif kind == "eval" and event.get("eval_loss") is not None:
                self.evals[event["step"]] = event["eval_loss"]
            elif kind == "resumed":
                self.evals = {s: loss for s, loss in self.evals.items() if s <= event["step"]}

    @property
    def best_eval(self) -> tuple[int, float] | None:
        """Step and value of the lowest validation loss so far."""
        return min(self.evals.items(), key=lambda item: item[1]) if self.evals else None

    def see(self, name: str, update: CurveUpdate) -> None:
        """Remember the newest value of one curve."""
        values = [value for value in update.traces[name].values if value is not None]
        if values:
            self.newest[name] = values[-1]
        elif update.replace:
            self.newest.pop(name, None)


class _Followed:
    """One run between two looks; `look` is safe from several threads (several windows)."""

    def __init__(self, job: Job, smoothing: float) -> None:
        self.figures = _figures(job)
        self.main = next(iter(self.figures), None)
        self.begins_as_base = _begins_as_base(job)
        names = [figure.name for figure in self.figures]
        self.curves = CurveFollower(job.events_path, names, smoothing)
        self.reader = EventReader(job.events_path)
        self.remarks = Remarks()
        self.lock = threading.Lock()
        self._read: tuple[object, Reading | None] = (None, None)

    def facts(self) -> Remarks:
        """What is known beside the curves, now."""
        with self.lock:
            self.remarks.add(self.reader.read())
            return self.remarks

    def look(self, since: int, generation: int) -> tuple[CurveUpdate, Remarks]:
        with self.lock:
            self.remarks.add(self.reader.read())
            update = self.curves.update(since, generation)
            own = (f"{self.main.name}_smoothed", f"eval_{self.main.name}") if self.main else ()
            for name in ("loss_smoothed", "memory_bytes", *own):
                self.remarks.see(name, update)
            return update, self.remarks

    def reading(self, run: RunSummary, update: CurveUpdate) -> Reading | None:
        """The verdict on the run; of a long one worked out again only with each hundredth more of
        its points, as it reads all of them."""
        n_points = update.since
        seen = (n_points - n_points % (n_points // 100 or 1), update.generation, run.state)
        with self.lock:
            if self._read[0] != seen:
                self._read = (seen, read_curves(self.curves.traces(), standing_of(run)))
            return self._read[1]


def _figures(job: Job) -> tuple[Figure, ...]:
    config = job.config()
    rules = config.get("grpo", {}).get("rewards", [])
    names = rule_names([Reward(kind=str(rule["kind"])) for rule in rules])
    return figures_of(str(config.get("method", "")), names)


def _begins_as_base(job: Job) -> bool:
    """Whether the validation before the first step measures the base itself: not where a run goes
    on from an adapter, and not where learned prompts or a head of points begin at random."""
    config = job.config()
    fresh = not config.get("start_adapter") and config.get("method") != "reward"
    return fresh and config.get("adapter", {}).get("kind") not in PROMPTS


class LiveRuns:
    """Answers the chart of every window; keeps the folds of the runs looked at last."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._runs: OrderedDict[tuple[str, float], _Followed] = OrderedDict()
        self._lock = threading.Lock()

    def poll(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one look; a run that is gone gives an empty picture, not an error."""
        job_id = str(request.get("job", ""))
        try:
            job = find_job(self.workspace, job_id, "train")
        except JobError:
            return _nothing(job_id)
        since, generation = _place(request)
        followed = self._followed(job, _smoothing(request))
        update, remarks = followed.look(since, generation)
        run = summarize(job)
        answer = _answer(run, update, remarks, followed)
        answer["reading"] = _reading_words(followed.reading(run, update))
        if answer["state"] == "queued":
            answer["phase"] = waiting_words(self.workspace, job)
            # Its place decides which buttons there are.
            answer["signature"] += answer["phase"]
        if update.replace:
            answer["spec"] = chart_spec(followed.figures, more=bool(request.get("more")))
        return answer

    def warnings(self, job: Job) -> list[Event]:
        """What the run warned of so far."""
        return list(self._followed(job).facts().warnings)

    def samples(self, job_id: str) -> dict[str, Any]:
        """The run's answers to its prompts, the newest first: what it says now."""
        try:
            job = find_job(self.workspace, job_id, "train")
        except JobError:
            return {"prompts": [], "rows": []}
        found = self._followed(job).facts().samples
        rows = [[f"{step:,}", *answers] for step, answers in reversed(found.answers)]
        return {"prompts": list(found.prompts), "rows": rows}

    def _followed(self, job: Job, smoothing: float = SMOOTHING) -> _Followed:
        key = (job.id, smoothing)
        with self._lock:
            if key not in self._runs:
                self._runs[key] = _Followed(job, smoothing)
            self._runs.move_to_end(key)
            while len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
            return self._runs[key]


def waiting_words(workspace: Workspace, job: Job) -> str:
    """Where a run stands in the queue, and what it waits for."""
    queue = queue_of(workspace)
    place = next((n for n, other in enumerate(queue) if other.id == job.id), 0)
    if place:
        return (
            f"Number {place + 1} in the queue, behind {queue[place - 1].name}. It starts by itself."
        )
    jobs = list_jobs(workspace, "train")
    now = next((other.name for other in jobs if state_of(other) in ACTIVE), "the run before it")
    return f"Next in the queue: it starts by itself when {now} has ended."


def _smoothing(request: dict[str, Any]) -> float:
    """One of the chart's choices; the usual one for anything else."""
    asked = request.get("smoothing")
    return next((value for value, _ in SMOOTHINGS if value == asked), SMOOTHING)


def _place(request: dict[str, Any]) -> tuple[int, int]:
    """Where the page stands; (0, 0), the whole run, when it says so or shows too many points."""
    since = request.get("since")
    if not isinstance(since, list) or len(since) != 2:
        return 0, 0
    if not all(isinstance(part, int) for part in (*since, request.get("n_shown", 0))):
        return 0, 0
    return (0, 0) if request.get("n_shown", 0) > _MORE_THAN_DRAWN else (since[0], since[1])


def _answer(
    run: RunSummary, update: CurveUpdate, remarks: Remarks, followed: _Followed
) -> dict[str, Any]:
    return {
        "job": run.id,
        "state": run.state,
        "active": run.state not in ENDED,
        "signature": f"{run.state} {len(remarks.warnings)}",
        "reset": update.replace,
        "since": [update.since, update.generation],
        "points": [
            [list(update.traces[name].steps), list(update.traces[name].values)]
            for name in trace_names(followed.figures)
        ],
        "best": list(remarks.best_eval or ()),
        "base": remarks.evals.get(0) if followed.begins_as_base else None,
        "metrics": metrics(run, remarks, followed.main),
        "progress": min(run.step / run.n_steps, 1.0) if run.n_steps else 0.0,
        "phase": _phase(run.state, remarks.phase),
        "aloud": _aloud(run, remarks),
    }


def _reading_words(reading: Reading | None) -> dict[str, str] | None:
    if reading is None:
        return None
    return {
        "verdict": reading.verdict,
        "title": reading.verdict.capitalize(),
        "words": reading.words,
        "advice": reading.advice,
    }


def _nothing(job_id: str) -> dict[str, Any]:
    return {
        "job": job_id,
        "state": "queued",
        "active": False,
        "signature": "gone",
        "reset": True,
        "since": [0, 0],
        "points": [[[], []] for _ in trace_names(())],
        "best": [],
        "base": None,
        "spec": chart_spec(()),
        "metrics": [],
        "progress": 0.0,
        "reading": None,
        "phase": "This run is no longer in the workspace.",
        "aloud": "No run",
    }


def metrics(run: RunSummary, remarks: Remarks, main: Figure | None) -> list[dict[str, str]]:
    """The metric strip: label, value and a small note each, as words; `main` is the method's."""
    best = remarks.best_eval
    ended = run.state in ENDED
    speed = run.tokens_per_second
    return [
        _metric("Train loss (smoothed)", number(remarks.newest.get("loss_smoothed"))),
        _metric(
            "Best validation loss",
            number(best[1] if best else None),
            f"at step {best[0]:,}" if best else "",
        ),
        *_own(remarks, main),
        _metric("Step", f"{run.step:,}", f"of {run.n_steps:,}" if run.n_steps else ""),
        _metric("Tokens per second", f"{speed:,.0f}" if speed is not None else "–"),
        _metric(
            "Time taken" if ended else "Time left",
            duration(run.elapsed_seconds if ended else run.seconds_left),
            _predicted(duration, run.predicted_seconds),
        ),
        _metric(
            "Memory at the peak" if ended else "Memory now",
            size(run.peak_memory_bytes if ended else remarks.newest.get("memory_bytes")),
            _predicted(size, run.predicted_memory_bytes, "" if ended else "at the peak "),
        ),
    ]


def _predicted(words: Callable[[float], str], value: float | None, what: str = "") -> str:
    return f"{what}predicted {words(value)}" if value is not None else ""


def _own(remarks: Remarks, main: Figure | None) -> list[dict[str, str]]:
    if main is None:
        return []
    validated = remarks.newest.get(f"eval_{main.name}")
    note = f"validation {_worded(main, validated)}" if validated is not None else ""
    return [_metric(main.label, _worded(main, remarks.newest.get(f"{main.name}_smoothed")), note)]


def _worded(figure: Figure, value: float | None) -> str:
    shares = figure.format.endswith("%")
    return f"{value:.1%}" if shares and value is not None else number(value)


def _metric(label: str, value: str, note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _phase(state: State, phase: str) -> str:
    if state == "starting":
        return f"{phase.capitalize()} …" if phase else "Starting the worker …"
    if state == "paused":
        return "Paused; its memory is kept. Continue goes on with the next step."
    if state == "stopping":
        return "Stopping after this step; what it learned is kept …"
    if state == "running" and phase not in ("", "training"):
        return f"{phase.capitalize()} …"
    return ""


def _aloud(run: RunSummary, remarks: Remarks) -> str:
    """The chart in one sentence, for a screen reader."""
    parts = [f"{state_word(run.state)}, step {run.step:,} of {run.n_steps or 0:,}"]
    if "loss_smoothed" in remarks.newest:
        parts.append(f"smoothed train loss {number(remarks.newest['loss_smoothed'])}")
    if remarks.best_eval:
        parts.append(f"best validation loss {number(remarks.best_eval[1])}")
    return ", ".join(parts) + "."
