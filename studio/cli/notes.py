"""`note`, `delete` and `restore`: what a person says of a run, and the trash."""

import argparse
from typing import Any

from studio.cli.console import Console
from studio.jobs.job import find_job
from studio.jobs.notes import change_notes, tags_of
from studio.jobs.trash import delete_run, restore_run
from studio.paths import Workspace
from studio.results.runs import KIND


def run_note(options: argparse.Namespace, console: Console) -> int:
    """Write what was given; say what then stands there."""
    workspace = Workspace.open(options.workspace)
    job = find_job(workspace, options.run, KIND)
    changes: dict[str, Any] = {
        "name": None if options.name is None else options.name.strip(),
        "tags": None if options.tags is None else tags_of(options.tags),
        "notes": options.notes,
        "archived": None if options.archive is None else options.archive == "yes",
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if given:
        change_notes(job.folder, **given)
    job = find_job(workspace, job.id, KIND)
    notes = job.notes
    console.say(f"{job.name}{' (archived)' * notes.archived}: {', '.join(notes.tags) or 'no tags'}")
    if notes.notes:
        console.say(notes.notes)
    said = {"tags": list(notes.tags), "notes": notes.notes, "archived": notes.archived}
    console.result({"run": job.id, "name": job.name, **said})
    return 0


def run_delete(options: argparse.Namespace, console: Console) -> int:
    """Put a run into the trash."""
    workspace = Workspace.open(options.workspace)
    job = find_job(workspace, options.run, KIND)
    delete_run(workspace, job)
    console.say(f"{job.name} is deleted. It comes back with: python launch.py restore {job.id}")
    console.result({"run": job.id})
    return 0


def run_restore(options: argparse.Namespace, console: Console) -> int:
    """Take a run out of the trash."""
    job = restore_run(Workspace.open(options.workspace), options.run)
    console.say(f"{job.name} is back.")
    console.result({"run": job.id})
    return 0
