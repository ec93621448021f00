"""Deleted runs: a folder of the workspace, from which they come back until it is emptied.

    workspace/trash/JOB/          the job's folder as it was
    workspace/trash/.gone-JOB/    on its way out: no run any more, removed at the next occasion

Deleting and restoring are one rename each: killed at any moment, a run is here or there, whole.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from studio.errors import JobError
from studio.jobs.job import ENDED, Job, list_trash, read_job, state_of
from studio.jobs.lock import hold
from studio.jobs.queue import KIND, queue_lock
from studio.paths import Workspace

_GONE = ".gone-"


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A run in the trash; `deleted_at` in seconds since the epoch."""

    job: Job
    size_bytes: int
    deleted_at: float


def list_deleted(workspace: Workspace) -> list[Deleted]:
    """The runs that can be restored, the one deleted last first."""
    found = []
    for job in list_trash(workspace, KIND):
        try:
            found.append(
                Deleted(
                    job=job,
                    size_bytes=size_of_folder(job.folder),
                    deleted_at=job.folder.stat().st_ctime,
                )
            )
        except FileNotFoundError:  # restored or removed in this moment
            continue
    return sorted(found, key=lambda item: (item.deleted_at, item.job.id), reverse=True)


def size_of_folder(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def delete_run(workspace: Workspace, job: Job) -> None:
    """Put an ended run into the trash.

    Raises: JobError (job_running) while it runs or waits, SetupError where nothing can be written.
    """
    workspace.check_writable()
    # Nothing starts meanwhile: a resumed run would train in a folder that has just moved.
    with hold(queue_lock(workspace), wait=True):
        state = state_of(job)
        if state not in ENDED:
            raise JobError(
                f"'{job.name}' is {state}.",
                "Stop it, or take it out of the queue, first.",
                "job_running",
            )
        workspace.trash_dir.mkdir(exist_ok=True)
        os.rename(job.folder, _free(workspace.trash_dir / job.id))


def restore_run(workspace: Workspace, job_id: str) -> Job:
    """Take a run out of the trash. Raises: JobError (run_not_deleted) where it is not there."""
    deleted = find_deleted(workspace, job_id)
    target = _free(workspace.jobs_dir / deleted.id)
    os.rename(deleted.folder, target)
    return read_job(target)


def remove_for_good(workspace: Workspace, job_id: str) -> Job:
    """Remove one run from the trash and from the disk.

    Raises: JobError (run_not_deleted) where it is not there.
    """
    job = find_deleted(workspace, job_id)
    os.rename(job.folder, workspace.trash_dir / f"{_GONE}{job.id}")
    _sweep(workspace)
    return job


def empty_trash(workspace: Workspace) -> int:
    """Remove every deleted run from the disk; how many there were."""
    jobs = list_trash(workspace, KIND)
    for job in jobs:
        os.rename(job.folder, workspace.trash_dir / f"{_GONE}{job.id}")
    _sweep(workspace)
    return len(jobs)


def find_deleted(workspace: Workspace, job_id: str) -> Job:
    """The deleted run with this id, or with this name.

    Raises: JobError (run_not_deleted) where there is none.
    """
    jobs = list_trash(workspace, KIND)
    named = [job for job in jobs if job.id == job_id] or [j for j in jobs if j.name == job_id]
    if not named:
        raise JobError(
            f"There is no deleted run '{job_id}'.",
            "Look at the deleted runs again: it was restored, or removed for good.",
            "run_not_deleted",
        )
    return named[0]


def _free(target: Path) -> Path:
    if target.exists():
        raise JobError(
            f"There is already a run with the id '{target.name}'.",
            "Rename or move its folder in the workspace, then try again.",
            "run_id_taken",
        )
    return target


def _sweep(workspace: Workspace) -> None:
    for folder in workspace.trash_dir.glob(f"{_GONE}*"):
        shutil.rmtree(folder, ignore_errors=True)
