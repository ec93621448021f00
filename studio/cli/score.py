"""`score`: a reward model gives points to the answers of a file."""

import argparse
import json
import shutil
import time
from pathlib import Path

from studio.cli.console import Console
from studio.cli.recipe_source import read_source
from studio.errors import ConfigError, JobError
from studio.jobs.job import ENDED, Job, last_event, state_of
from studio.jobs.process import request_stop
from studio.jobs.score import SCORES, start_score
from studio.paths import Workspace, atomic_path

_POLL_SECONDS = 0.3
_SHOWN = 10


def run_score(options: argparse.Namespace, console: Console) -> int:
    """Score and show the first rows. Ctrl-C cancels."""
    workspace = Workspace.open(options.workspace)
    out = Path(options.out).expanduser().resolve() if options.out else None
    if out and not out.parent.is_dir():
        raise ConfigError(
            f"There is no folder '{out.parent}' to write into.", "Create it first.", "no_folder"
        )
    recipe, _ = read_source(workspace, options.source, console.progress)
    job = start_score(workspace, options.run, recipe)
    _follow(job, console)
    last = last_event(job.events_path) or {}
    if last.get("event") != "finished":
        raise _failure(job, last)
    path = job.folder / SCORES
    if out:
        with atomic_path(out) as part:
            shutil.copyfile(path, part)
        path = out
    values = {name: last[name] for name in ("n_rows", "n_left_out", "accuracy", "margin")}
    _say(path, values, console)
    console.result({**values, "file": str(path)})
    return 0


def _follow(job: Job, console: Console) -> None:
    while state_of(job) not in ENDED:
        try:
            last = last_event(job.events_path) or {}
            share = f", row {last['step']} of {last['n_steps']}" if "step" in last else ""
            console.progress(f"scoring{share} ...")
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            try:
                request_stop(job)
            except JobError:
                continue  # it has just ended by itself


def _failure(job: Job, last: dict[str, object]) -> JobError:
    state = state_of(job)
    if state == "failed":
        return JobError(str(last["message"]), str(last["fix"]), str(last["code"]))
    return JobError(
        f"Scoring is {state}: no file was written.",
        f"Look at {job.log_path}, then run the command again.",
        "score_ended",
    )


def _say(path: Path, values: dict[str, object], console: Console) -> None:
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(_SHOWN), file, strict=False)]
    known = ("row", "chosen", "rejected", "points", "good", "problem")
    columns = [name for name in known if any(name in row for row in rows)]
    console.table(columns, [[row.get(name) for name in columns] for row in rows])
    console.say(f"\n{values['n_rows']} rows, {values['n_left_out']} left out: {path}")
    if values["accuracy"] is not None:
        console.say(
            f"The better answer gets more points in {100 * float(str(values['accuracy'])):.1f} % "
            f"of the comparisons; it leads by {float(str(values['margin'])):.3f} on average."
        )
