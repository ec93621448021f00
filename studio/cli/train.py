"""`train` and `resume`: start or continue a run and follow it to its end, from its place in the
queue on.

Ctrl-C asks the run to stop and keep what it learned; a second one leaves it in the background.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from studio.cli.config_file import read_config_file
from studio.cli.console import Console
from studio.environment.terminal import duration
from studio.errors import JobError
from studio.events import Event, EventReader
from studio.jobs.job import ENDED, Job, State, find_job, state_of
from studio.jobs.queue import advance_queue, queue_of, stop_run
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace
from studio.results.runs import KIND, RunSummary, standing_of, summarize
from studio.training.curves import points_from_events
from studio.training.reading_curves import read_curves

INTERRUPTED = 130
_POLL_SECONDS = 0.3


def run_train(options: argparse.Namespace, console: Console) -> int:
    """Train as the settings file says."""
    workspace = Workspace.open(options.workspace)
    config = read_config_file(Path(options.config).expanduser())
    console.progress("reading model and data ...")
    job = start_run(workspace, config)
    return _follow_to_end(workspace, job, options.background, console, _train_result)


def run_resume(options: argparse.Namespace, console: Console) -> int:
    """Continue a run from its last checkpoint."""
    workspace = Workspace.open(options.workspace)
    job = find_job(workspace, options.run, KIND)
    reader = EventReader(job.events_path)
    reader.read()
    resume_run(workspace, job)
    return _follow_to_end(workspace, job, options.background, console, _state_result, reader)


def _follow_to_end(
    workspace: Workspace,
    job: Job,
    background: bool,
    console: Console,
    result: Any,
    reader: EventReader | None = None,
) -> int:
    console.note(f"run {job.id}")
    n_before = _n_before(workspace, job)
    if n_before:
        console.note(f"It waits: {n_before} before it. It starts by itself.")
    if background:
        if not n_before:
            console.say("It runs in the background. Look at it: python launch.py runs")
        console.result(result(summarize(job)))
        return 0
    left = not _follow(workspace, job, reader or EventReader(job.events_path), console)
    run = summarize(job)
    if left:
        console.note(
            f"Left {run.name} in the background ({run.state}). Look at it: python launch.py runs"
        )
        console.result(result(run))
        return INTERRUPTED
    if run.step:
        _say_reading(job, run, console)
    if run.error is not None:
        console.note(f"error [{run.error.code}]: {run.error.message}\nfix: {run.error.fix}")
        console.result(result(run))
        return 1
    _say_summary(run, console)
    console.result(result(run))
    return 0


def _n_before(workspace: Workspace, job: Job) -> int:
    """Runs that train or wait before this one; 0 where it does not wait."""
    waiting = [other.id for other in queue_of(workspace)]
    return waiting.index(job.id) + 1 if job.id in waiting else 0


def _follow(workspace: Workspace, job: Job, reader: EventReader, console: Console) -> bool:
    """Show the run until it has ended; False where a second Ctrl-C left it."""
    asked_to_stop = False
    n_steps = summarize(job).n_steps or 0
    while True:
        try:
            state: State = state_of(job)
            for event in reader.read():
                n_steps = event.get("n_steps", n_steps) or n_steps
                _show(event, n_steps, console)
            if state in ENDED:
                return True
            if state == "queued":
                console.progress("waiting for the run that trains now ...")
                advance_queue(workspace, wait=False)
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            if asked_to_stop:
                return False
            asked_to_stop = True
            _ask_to_stop(workspace, job, console)


def _ask_to_stop(workspace: Workspace, job: Job, console: Console) -> None:
    try:
        stop_run(workspace, job)
    except JobError:
        return  # it has just ended by itself
    console.note(
        "Stopping after this step; what was learned is kept. Ctrl-C again leaves it in the "
        "background."
    )


def _show(event: Event, n_steps: int, console: Console) -> None:
    kind = event["event"]
    if kind == "phase":
        console.progress(f"{event['name']} ...")
    elif kind == "plan":
        console.note(
            f"{event['n_steps']} steps, {event['n_train_rows']} rows to train on, "
            f"{event['n_validation_rows']} to validate; {event['n_trainable']:,} of "
            f"{event['n_parameters']:,} parameters; {event['device']}, {event['precision']}"
        )
    elif kind == "step":
        loss = event["loss"]
        left = event.get("seconds_left")
        parts = [
            f"step {event['step']} of {n_steps}",
            "loss not a number" if loss is None else f"loss {loss:.4f}",
            f"{event['tokens_per_second'] or 0:.0f} tokens/s",
        ]
        console.progress(", ".join([*parts, f"{duration(left)} left"] if left else parts))
    elif kind == "eval" and event["eval_loss"] is not None:
        console.note(f"step {event['step']}: validation loss {event['eval_loss']:.4f}")
    elif kind == "warning":
        console.note(f"warning [{event['code']}]: {event['message']}\nfix: {event['fix']}")
    elif kind == "paused":
        console.note(f"paused after step {event['step']}; python launch.py resume goes on")
    elif kind == "continued":
        console.note("goes on")
    elif kind == "resumed":
        console.note(f"continues after step {event['step']}")


def _say_reading(job: Job, run: RunSummary, console: Console) -> None:
    """What the curves say of the run, and what to do next."""
    traces = points_from_events(EventReader(job.events_path).read())
    reading = read_curves(traces, standing_of(run))
    if reading is not None:
        console.note(f"{reading.verdict}: {reading.words}\nadvice: {reading.advice}")


def _say_summary(run: RunSummary, console: Console) -> None:
    console.say(f"{run.name} is {run.state} after {run.step} steps.")
    rows = [
        (
            "loss, first to last steps",
            f"{_loss(run.train_loss_first)} → {_loss(run.train_loss_last)}",
        ),
        ("validation loss", f"{_loss(run.eval_loss)} (best {_loss(run.best_eval_loss)})"),
        ("time", duration(run.elapsed_seconds or 0)),
        ("speed", f"{run.tokens_per_second or 0:.0f} tokens/s"),
        ("adapter", str(run.adapter or "none: it was stopped before anything was learned")),
    ]
    for name, value in rows:
        console.say(f"  {name:<26}{value}")
    if run.adapter:
        console.say(f'Ask it: python launch.py chat {run.id} --prompt "Hello"')


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _train_result(run: RunSummary) -> dict[str, Any]:
    return {
        "run": run.id,
        "state": run.state,
        "adapter": str(run.adapter) if run.adapter else None,
        "n_steps": run.step,
        "train_loss_first": run.train_loss_first,
        "train_loss_last": run.train_loss_last,
        "eval_loss": run.eval_loss,
        "tokens_per_second": run.tokens_per_second,
        "peak_memory_bytes": run.peak_memory_bytes,
        "elapsed_seconds": run.elapsed_seconds,
    }


def _state_result(run: RunSummary) -> dict[str, Any]:
    return {"run": run.id, "state": run.state}
