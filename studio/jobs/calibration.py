"""Measure how long a run would take: a job of some seconds, and the estimate that comes of it.

In: a RunConfig, as a person set it. Out: an Estimate, which `studio.jobs.prediction` finds again by
the same settings.
"""

import time

from studio.errors import JobError
from studio.jobs.job import ENDED, Job, create_job, delete_job, list_jobs, state_of
from studio.jobs.lock import hold, is_held
from studio.jobs.prediction import CALIBRATION, fingerprint, result_of
from studio.jobs.process import device_lock, request_stop, start_worker
from studio.jobs.queue import queue_lock
from studio.jobs.start_adapter import copy_start
from studio.jobs.train import settle
from studio.jobs.warm import take
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig
from studio.training.duration import Estimate

_KEPT = 20
_POLL_SECONDS = 0.2


def measure(workspace: Workspace, config: RunConfig) -> Estimate:
    """Let a worker do a few steps of the run and wait for what it says: seconds to minutes, by the
    size of the model.

    Raises: JobError (device_busy) while a run trains; what `start_run` raises; StudioError where
    the steps themselves fail.
    """
    job = start_calibration(workspace, config)
    try:
        while state_of(job) not in ENDED:
            time.sleep(_POLL_SECONDS)
    finally:
        if state_of(job) not in ENDED:  # Ctrl-C: nobody waits for it any more
            _ask_to_stop(job)
    return result_of(job)


def start_calibration(workspace: Workspace, config: RunConfig) -> Job:
    """The job, running. Raises: as `measure`."""
    workspace.check_writable()
    settled, start = settle(workspace, config)
    with hold(queue_lock(workspace), wait=True):
        if is_held(device_lock(workspace)):
            raise _busy()
        _forget_old(workspace)
        job = create_job(workspace, CALIBRATION, fingerprint(config), to_dict(settled))
        if start:
            copy_start(start, job)
        start_worker(job, take)
    if state_of(job) == "queued":  # another worker was quicker
        delete_job(job)
        raise _busy()
    return job


def _forget_old(workspace: Workspace) -> None:
    ended = [job for job in list_jobs(workspace, CALIBRATION) if state_of(job) in ENDED]
    for job in ended[_KEPT - 1 :]:
        delete_job(job)


def _ask_to_stop(job: Job) -> None:
    try:
        request_stop(job)
    except JobError:
        return  # it has just ended by itself


def _busy() -> JobError:
    return JobError(
        "A run is training: what is measured beside it would be wrong.",
        "Measure when it has ended, or start: the run waits for its turn.",
        "device_busy",
    )
