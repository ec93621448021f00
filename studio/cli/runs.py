"""`runs`, `record`, `pause` and `stop`: what there is, what it came from, a rest, an end that
keeps what was learned.
"""

import argparse
import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from studio.cli.console import Console
from studio.jobs.job import find_job, state_of
from studio.jobs.process import pause_run, wait_until_ended
from studio.jobs.queue import advance_queue, queue_of, stop_run
from studio.jobs.trash import list_deleted
from studio.paths import Workspace
from studio.results.record import read_record, record_lines
from studio.results.runs import KIND, RunSummary, list_runs, search_runs, summarize

_STOP_SECONDS = 120.0


def run_runs(options: argparse.Namespace, console: Console) -> int:
    """List the runs of the workspace, or those in its trash."""
    workspace = Workspace.open(options.workspace)
    advance_queue(workspace, wait=False)
    if options.deleted:
        runs = [summarize(item.job) for item in list_deleted(workspace)]
    else:
        runs = list_runs(workspace)
    runs = search_runs(runs, options.search, archived=options.archived or options.deleted)
    waiting = [job.id for job in queue_of(workspace)]
    if not runs and (options.deleted or options.search or list_runs(workspace)):
        console.say("No such runs.")
    elif not runs:
        console.say("No runs yet. Start one: python launch.py train CONFIG")
    else:
        header = ("run", "name", "state", "created", "model", "data", "step", "loss", "best eval")
        console.table(header, [_line(run, waiting) for run in runs])
    console.result({"runs": [_plain(run) for run in runs], "queue": waiting})
    return 0


def run_record(options: argparse.Namespace, console: Console) -> int:
    """Say what a run depended on."""
    record = read_record(find_job(Workspace.open(options.workspace), options.run, KIND))
    for name, value in record_lines(record):
        console.say(f"{name:<28} {value}")
    console.result(record)
    return 0


def run_stop(options: argparse.Namespace, console: Console) -> int:
    """Ask a run to stop and wait until it has; one in the queue is stopped at once."""
    workspace = Workspace.open(options.workspace)
    job = find_job(workspace, options.run, KIND)
    stop_run(workspace, job)
    console.progress(f"{job.name} stops after its current step ...")
    state = wait_until_ended(job, _STOP_SECONDS)
    console.say(f"{job.name} is {state}.")
    console.result({"run": job.id, "state": state})
    return 0


def run_pause(options: argparse.Namespace, console: Console) -> int:
    """Ask a run to hold still and wait until it does."""
    job = find_job(Workspace.open(options.workspace), options.run, KIND)
    pause_run(job)
    console.progress(f"{job.name} pauses after its current step ...")
    deadline = time.monotonic() + _STOP_SECONDS
    while (state := state_of(job)) in ("starting", "running") and time.monotonic() < deadline:
        time.sleep(0.1)
    console.say(f"{job.name} is {state}. It goes on with: python launch.py resume {job.id}")
    console.result({"run": job.id, "state": state})
    return 0


def _line(run: RunSummary, waiting: list[str]) -> tuple[object, ...]:
    place = f" {waiting.index(run.id) + 1}" if run.id in waiting else ""
    n_steps = "?" if run.n_steps is None else run.n_steps
    return (
        run.id,
        run.name,
        run.state + place,
        f"{datetime.fromtimestamp(run.created_at):%Y-%m-%d %H:%M}",
        run.model,
        run.dataset,
        f"{run.step} of {n_steps}",
        run.train_loss_last,
        run.best_eval_loss,
    )


def _plain(run: RunSummary) -> dict[str, Any]:
    values = asdict(run)
    values["adapter"] = str(run.adapter) if run.adapter else None
    return values
