"""`runs`, `record` and `stop`: what there is, what it came from, and an end that keeps it."""

import argparse
from dataclasses import asdict
from datetime import datetime
from typing import Any

from studio.cli.console import Console
from studio.jobs.job import find_job
from studio.jobs.process import request_stop, wait_until_ended
from studio.paths import Workspace
from studio.results.record import read_record, record_lines
from studio.results.runs import KIND, RunSummary, list_runs

_STOP_SECONDS = 120.0


def run_runs(options: argparse.Namespace, console: Console) -> int:
    """List the runs of the workspace."""
    runs = list_runs(Workspace.open(options.workspace))
    if not runs:
        console.say("No runs yet. Start one: python launch.py train CONFIG")
    else:
        header = ("run", "name", "state", "created", "model", "data", "step", "loss", "best eval")
        console.table(header, [_line(run) for run in runs])
    console.result({"runs": [_plain(run) for run in runs]})
    return 0


def run_record(options: argparse.Namespace, console: Console) -> int:
    """Say what a run depended on."""
    record = read_record(find_job(Workspace.open(options.workspace), options.run, KIND))
    for name, value in record_lines(record):
        console.say(f"{name:<26}{value}")
    console.result(record)
    return 0


def run_stop(options: argparse.Namespace, console: Console) -> int:
    """Ask a run to stop and wait until it has."""
    job = find_job(Workspace.open(options.workspace), options.run, KIND)
    request_stop(job)
    console.progress(f"{job.name} stops after its current step ...")
    state = wait_until_ended(job, _STOP_SECONDS)
    console.say(f"{job.name} is {state}.")
    console.result({"run": job.id, "state": state})
    return 0


def _line(run: RunSummary) -> tuple[object, ...]:
    n_steps = "?" if run.n_steps is None else run.n_steps
    return (
        run.id,
        run.name,
        run.state,
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
