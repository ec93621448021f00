"""Start a checkup and find it again: a child process that looks at every row, and its result.

In: a dataset's recipe, a model, a maximum length. Out: a Job while it runs, a StoredCheckup
afterwards. Stopped or lost, it leaves nothing.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studio.data.checkup import CheckupCancelled
from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.data.rows import file_sha256
from studio.events import EventWriter
from studio.jobs.checkup_results import (
    StoredCheckup,
    checkup_key,
    latest_checkup,
    load_checkup,
    save_checkup,
    settled,
)
from studio.jobs.job import ACTIVE, Job, create_job, delete_job, list_jobs, state_of
from studio.jobs.lock import hold
from studio.jobs.process import start_worker
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import from_dict, to_dict
from studio.text.examination import run_checkup
from studio.text.examples import encoder_for

__all__ = [
    "KIND",
    "StoredCheckup",
    "find_checkup_job",
    "find_checkup_jobs",
    "latest_checkup",
    "load_checkup",
    "start_checkup",
    "work",
]

KIND = "checkup"
_PROGRESS_SECONDS = 0.25
# Folders of ended checkups that stay, so that how the last one ended can still be read.
_ENDED_KEPT = 1


def start_checkup(
    workspace: Workspace,
    recipe: DatasetRecipe,
    model: str,
    max_length: int,
    dataset_id: str = "",
) -> Job:
    """A running checkup of this; the one that runs already, if there is one.

    Raises: StudioError when the files cannot be read or the model is not there.
    """
    recipe = settled(workspace, recipe)
    key = checkup_key(recipe, model, max_length)
    with hold(workspace.root / "checkup.lock", wait=True):
        if running := _running(workspace, key):
            return running
        _remove_ended(workspace)
        config = {
            "key": key,
            "dataset": to_dict(recipe),
            "dataset_id": dataset_id,
            "model": model,
            "max_length": max_length,
        }
        job = create_job(workspace, KIND, "", config)
        start_worker(job)
    return job


def find_checkup_job(
    workspace: Workspace, recipe: DatasetRecipe, model: str, max_length: int
) -> Job | None:
    """The active checkup of exactly this. Raises: StudioError as `start_checkup` does."""
    return _running(workspace, checkup_key(settled(workspace, recipe), model, max_length))


def find_checkup_jobs(workspace: Workspace, recipe: DatasetRecipe) -> list[Job]:
    """Active checkups of the same files, whatever was changed or chosen since; newest first."""
    hashes = list(recipe.sha256) or [file_sha256(Path(name)) for name in recipe.files]
    jobs = [job for job in list_jobs(workspace, KIND) if state_of(job) in ACTIVE]
    return [job for job in jobs if job.config()["dataset"]["sha256"] == hashes]


def work(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """What the worker of a checkup does; gives the values of its `finished` event.

    Raises: CheckupCancelled when it was asked to stop.
    """
    config = job.config()
    started = time.monotonic()
    recipe = from_dict(DatasetRecipe, config["dataset"], "config.json")
    tell = _teller(events)
    dataset = open_dataset(recipe, workspace.cache_dir, lambda n: tell("Reading the file", n, 0))
    folder = ModelRef.parse(config["model"]).folder()
    encoder = encoder_for(folder, dataset.recipe, config["max_length"])
    found = run_checkup(dataset, encoder, workspace.cache_dir, tell, job.stop_path.exists)
    if job.stop_path.exists():
        raise CheckupCancelled
    profile = found.profile
    facts = {
        "key": config["key"],
        "reading_key": checkup_key(
            replace(dataset.recipe, edits=()), config["model"], config["max_length"]
        ),
        "model": config["model"],
        "max_length": config["max_length"],
        "n_rows": len(profile),
        "n_characters": int(profile.n_characters.clip(min=0).sum()),
        "elapsed_seconds": round(time.monotonic() - started, 3),
        "created_at": round(time.time(), 3),
    }
    save_checkup(workspace, found, dataset.recipe, facts)
    return {name: facts[name] for name in ("key", "n_rows", "elapsed_seconds")}


def _teller(events: EventWriter) -> Callable[[str, int, int], None]:
    """Writes progress a few times a second, and the beginning of each phase at once."""
    last_phase, last_time = "", 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal last_phase, last_time
        now = time.monotonic()
        if phase != last_phase or now - last_time >= _PROGRESS_SECONDS:
            last_phase, last_time = phase, now
            events.write("progress", phase=phase, done=done, total=total)

    return tell


def _running(workspace: Workspace, key: str) -> Job | None:
    jobs = (job for job in list_jobs(workspace, KIND) if state_of(job) in ACTIVE)
    return next((job for job in jobs if job.config()["key"] == key), None)


def _remove_ended(workspace: Workspace) -> None:
    ended = [job for job in list_jobs(workspace, KIND) if state_of(job) not in ACTIVE]
    for job in ended[_ENDED_KEPT:]:
        delete_job(job)
