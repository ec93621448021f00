"""Runs wait for the one device: who is next, and who starts it.

A run waits while its `start.request` is there; the file holds its place. Whoever ends makes room:
a worker at its end starts the next one, and because a worker can be killed, the screen's poll and
the command line look as well. `device.lock`, held by each training worker while it lives, makes
two of them impossible; `train.lock` is held by whoever changes the queue.
"""

from pathlib import Path

from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import Job, delete_job, last_event, read_job, state_of
from studio.jobs.lock import hold, is_held
from studio.jobs.process import device_lock, request_stop, start_worker
from studio.jobs.warm import take
from studio.paths import Workspace, write_text

KIND = "train"


def queue_of(workspace: Workspace) -> list[Job]:
    """The runs that wait, the next one first."""
    waiting = []
    for request in workspace.jobs_dir.glob("*/start.request"):
        try:
            job, place = read_job(request.parent), _place(request)
        except (OSError, ValueError, KeyError):  # it was started or removed in this moment
            continue
        if job.kind == KIND and not is_held(job.lock_path):
            waiting.append((place, job.number, job.id, job))
    return [job for *_, job in sorted(waiting, key=lambda item: item[:3])]


def advance_queue(workspace: Workspace, *, wait: bool = True) -> None:
    """Start the next run where none trains; costs a look at the folders where none waits.

    A run that cannot be started fails with its reason and the one behind it is next. Without
    `wait` nothing happens while another process changes the queue.
    """
    if not queue_of(workspace) or is_held(device_lock(workspace)):
        return
    with hold(queue_lock(workspace), wait=wait) as lock:
        if lock is None:
            return
        for job in queue_of(workspace):
            if is_held(device_lock(workspace)):
                return
            try:
                start_worker(job, take)
            except JobError as error:
                _fail(job, error)


def queue_lock(workspace: Workspace) -> Path:
    """Held by whoever adds to the queue, takes from it or starts what is first."""
    return workspace.root / "train.lock"


def last_place(workspace: Workspace) -> int:
    """The place behind all that wait; ask for it, and take it, under `queue_lock`."""
    return max(_places(workspace), default=0) + 1


def move_to_front(workspace: Workspace, job: Job) -> None:
    """Let a waiting run be the next one. Raises: JobError (job_not_queued) where it waits not."""
    with hold(queue_lock(workspace), wait=True):
        _check_queued(job)
        write_text(job.start_path, f"{min(_places(workspace)) - 1}\n")


def remove_from_queue(workspace: Workspace, job: Job) -> None:
    """Take a waiting run back: one that never ran is deleted, another is as it was before.

    Raises: JobError (job_not_queued) where it does not wait.
    """
    with hold(queue_lock(workspace), wait=True):
        _check_queued(job)
        if last_event(job.events_path) is None:
            delete_job(job)
        else:
            job.start_path.unlink()


def stop_run(workspace: Workspace, job: Job) -> None:
    """Ask a run to stop and keep what it has; one that waits is stopped at once.

    Raises: JobError where it neither waits nor runs.
    """
    with hold(queue_lock(workspace), wait=True):
        if state_of(job) != "queued":
            request_stop(job)
            return
        if last_event(job.events_path) is None:
            _write(job, "stopped", step=0)
        job.start_path.unlink(missing_ok=True)


def _check_queued(job: Job) -> None:
    if state_of(job) != "queued":
        raise JobError(
            f"'{job.name}' does not wait in the queue any more: it is {state_of(job)}.",
            "Look at it on the Runs tab.",
            "job_not_queued",
        )


def _places(workspace: Workspace) -> list[int]:
    return [_place(job.start_path) for job in queue_of(workspace)]


def _place(request: Path) -> int:
    text = request.read_text("utf-8").strip()
    return int(text) if text else 0


def _fail(job: Job, error: JobError) -> None:
    """Say in a run's events why it did not start, and take it out of the queue."""
    try:
        _write(job, "failed", message=error.message, fix=error.fix, code=error.code)
    except OSError:  # a full disk, or the folder is gone: out of the queue it must be all the same
        pass
    job.start_path.unlink(missing_ok=True)


def _write(job: Job, event: str, **values: object) -> None:
    """An event of a run that has no worker; its lock is held meanwhile, as the worker would."""
    with hold(job.lock_path, wait=True):
        events = EventWriter(job.events_path)
        events.write(event, **values)
        events.close()
