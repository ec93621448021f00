"""`synthesize`: a model proposes rows; with --approve they become part of a recipe.

Ctrl-C stops the job and keeps what was proposed.
"""

import argparse
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from studio.cli.config_file import write_recipe_file
from studio.cli.console import Console
from studio.cli.recipe_source import read_source
from studio.data.proposals import Proposal, read_decisions, read_proposals
from studio.errors import ConfigError
from studio.events import Event, EventReader
from studio.jobs.job import ENDED, Job, find_job, state_of
from studio.jobs.process import request_stop
from studio.jobs.sampling import Sampling
from studio.jobs.synthesis import (
    KIND,
    SynthesisConfig,
    config_of,
    settle,
    start_synthesis,
)
from studio.paths import Workspace

INTERRUPTED = 130
_POLL_SECONDS = 0.2


def run_synthesize(options: argparse.Namespace, console: Console) -> int:
    """Propose rows for a dataset; or decide about a job's proposals."""
    workspace = Workspace.open(options.workspace)
    if options.approve or options.reject:
        return _decide(workspace, options, console)
    recipe, dataset_id = read_source(workspace, options.source, console.progress)
    sampling = SynthesisConfig().sampling
    given = {
        field.name: value
        for field in fields(Sampling)
        if (value := getattr(options, field.name)) is not None
    }
    config = SynthesisConfig(
        dataset=recipe,
        dataset_id=dataset_id,
        model=options.model,
        kind=options.kind,
        rows=_numbers(options.rows, "--rows"),
        n_rows=options.n,
        n_per_row=options.per_row,
        instruction=options.instruction,
        sampling=replace(sampling, **given),
    )
    console.progress("reading data ...")
    job = start_synthesis(workspace, config)
    console.note(f"job {job.id}")
    return _follow(job, console)


def _follow(job: Job, console: Console) -> int:
    reader = EventReader(job.events_path)
    status = 0
    last: Event = {"event": ""}
    while last["event"] not in ENDED:
        try:
            state = state_of(job)
            for event in reader.read():
                last = _show(event, console)
            if state in ENDED:
                break
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            if status:
                raise
            status = INTERRUPTED
            request_stop(job)
    proposals = read_proposals(job.folder)
    for proposal in proposals:
        mark = f" [{proposal.mark}]" if proposal.mark else ""
        console.say(f"{proposal.number}. row {proposal.row}{mark}: {proposal.text}")
    if proposals:
        console.say(f"Approve some: python launch.py synthesize {job.id} --approve 1,2,...")
    result: dict[str, Any] = {
        "job": job.id,
        "state": state_of(job),
        "proposals": [asdict(proposal) for proposal in proposals],
    }
    if last["event"] == "failed":
        error = {key: last[key] for key in ("code", "message", "fix")}
        console.note(f"error [{error['code']}]: {error['message']}\nfix: {error['fix']}")
        result["error"] = error
    elif result["state"] == "lost":
        console.note(f"The job ended by itself; the end of its log is in {job.log_path}.")
    console.result(result)
    return status or (0 if result["state"] in ("finished", "stopped") else 1)


def _show(event: Event, console: Console) -> Event:
    if event["event"] == "phase":
        console.progress(f"{event['name']} ...")
    elif event["event"] == "progress":
        console.progress(f"row {event['done']:,} of {event['n']:,} ...")
    elif event["event"] == "warning":
        console.note(event["message"])
    return event


def _decide(workspace: Workspace, options: argparse.Namespace, console: Console) -> int:
    job = find_job(workspace, options.source, KIND)
    approve = _numbers(options.approve, "--approve")
    reject = _numbers(options.reject, "--reject")
    if approve and not options.out and not config_of(job).dataset_id:
        raise ConfigError(
            f"'{job.name}' was started from a file: approved rows need a recipe to stand in.",
            "Name it with --out, for example --out recipe.yaml.",
            "recipe_file",
        )
    if reject:
        recipe = settle(workspace, job, reject, "rejected")
    if approve:
        recipe = settle(workspace, job, approve, "approved")
    if options.out:
        write_recipe_file(Path(options.out).expanduser(), recipe)
    decisions = read_decisions(job.folder)
    counts = {verdict: _decided(job, verdict) for verdict in ("approved", "rejected")}
    left = len(read_proposals(job.folder)) - len(decisions)
    console.say(
        f"{len(counts['approved']):,} approved, {len(counts['rejected']):,} rejected, {left:,} "
        "not looked at"
    )
    console.result(
        {
            "job": job.id,
            **{name: [proposal.number for proposal in found] for name, found in counts.items()},
            "recipe": str(Path(options.out).expanduser().resolve()) if options.out else None,
            "dataset": config_of(job).dataset_id or None,
        }
    )
    return 0


def _decided(job: Job, verdict: str) -> list[Proposal]:
    decisions = read_decisions(job.folder)
    return [p for p in read_proposals(job.folder) if decisions.get(p.number) == verdict]


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Numbers separated by commas; a range is written 3-7. Raises: ConfigError."""
    numbers: list[int] = []
    for item in filter(None, text.replace(" ", "").split(",")):
        first, sign, last = item.partition("-")
        if not first.isdigit() or (sign and not last.isdigit()):
            raise ConfigError(
                f"{option} {text} does not list numbers.",
                f"Write it as {option} 1,2,5-9.",
                "bad_numbers",
            )
        numbers += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(numbers))
