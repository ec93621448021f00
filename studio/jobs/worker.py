"""The worker's entry: hold the lock, do the job's work, say how it ended, let the next one start.

Started as `python -m studio.jobs.worker FOLDER`. The one place, beside the screen's handler,
that catches every exception: whatever happens becomes a `failed` event with its fix.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from studio.errors import JobError, StudioError
from studio.events import EventWriter
from studio.jobs.job import Job, find_job
from studio.jobs.lock import hold
from studio.jobs.prediction import KIND_OF
from studio.jobs.process import ALREADY_RUNNING, DEVICE_BUSY, READY, RETIRED, WAIT, device_lock
from studio.jobs.queue import KIND as TRAIN
from studio.jobs.queue import advance_queue
from studio.jobs.space import disk_full, is_disk_full, room_for_last_words
from studio.paths import Workspace

_LOCK_SECONDS = 2.0
# Kinds of jobs of which one runs at a time.
_ON_DEVICE = (TRAIN, *KIND_OF.values())
# An idle process holds some 400 MB.
_IDLE_SECONDS = 300.0


class StopRequested(Exception):
    """Raised by the engine at a point where the work so far is kept or cleaned up.

    `values` go into the `stopped` event: what is known of the work until then.
    """

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        super().__init__("stopped")
        self.values = dict(values or {})


def main(folder: Path) -> int:
    """Run the job in `folder`; the exit status is 0 when it finished or stopped as asked."""
    workspace = Workspace(folder.parent.parent)
    job = find_job(workspace, folder.name)
    environment = dict(os.environ)
    with _hold_patiently(job.lock_path) as mine, _hold_device(job, workspace) as device:
        if not mine or not device:
            return DEVICE_BUSY if mine else ALREADY_RUNNING
        status = _run(job, workspace)
    if job.kind in _ON_DEVICE:
        # The libraries leave variables of this run there; the next one starts as if by hand.
        os.environ.clear()
        os.environ.update(environment)
        advance_queue(workspace)
    return status


def _run(job: Job, workspace: Workspace) -> int:
    events = EventWriter(job.events_path)
    events.write("started", pid=os.getpid())
    # In this order: killed in between, the run starts again.
    job.start_path.unlink(missing_ok=True)
    try:
        with room_for_last_words(job.folder):
            summary = _told_when_full(job, workspace, events)
        events.write("finished", **summary)
    except StopRequested as stop:
        events.write("stopped", **stop.values)
    except StudioError as error:
        events.write("failed", message=error.message, fix=error.fix, code=error.code)
        return 1
    except Exception as error:
        traceback.print_exc()
        events.write(
            "failed",
            message=f"{type(error).__name__}: {error}",
            fix="The worker's log has the details.",
            code="unexpected",
        )
        return 1
    finally:
        events.close()
    return 0


def _told_when_full(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    try:
        return _work(job, workspace, events)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(job.folder) from error


def _hold_device(job: Job, workspace: Workspace) -> AbstractContextManager[bool]:
    on_device = job.kind in _ON_DEVICE
    return _hold_patiently(device_lock(workspace)) if on_device else nullcontext(True)


@contextmanager
def _hold_patiently(path: Path) -> Iterator[bool]:
    # A reader that asks for the state holds the lock for a moment; only another worker keeps it.
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with ExitStack() as stack:
            held = stack.enter_context(hold(path)) is not None
            if held or time.monotonic() > deadline:
                yield held
                return
        time.sleep(0.01)


def _work(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """What the kind of job asks for; gives the values of its `finished` event."""
    if job.kind == TRAIN:
        from studio.engine.training.entry import run_training  # noqa: PLC0415  (torch)

        return run_training(job, workspace, events)
    if job.kind == "calibration":
        from studio.engine.training.entry import run_calibration  # noqa: PLC0415  (torch)

        return run_calibration(job, workspace, events)
    if job.kind == "rate_test":
        from studio.engine.training.entry import run_rate_test  # noqa: PLC0415  (torch)

        return run_rate_test(job, workspace, events)
    if job.kind == "export":
        from studio.engine.export.entry import run_export  # noqa: PLC0415  (torch)

        return run_export(job, workspace, events)
    if job.kind == "score":
        from studio.engine.score import run_score  # noqa: PLC0415  (torch)

        return run_score(job, workspace, events)
    if job.kind == "synthesis":
        from studio.engine.chat.synthesize import run_synthesis  # noqa: PLC0415  (torch or llama.cpp)

        return run_synthesis(job, workspace, events)
    if job.kind == "sweep":
        from studio.jobs import sweep  # noqa: PLC0415  (it imports this file)

        return sweep.work(job, workspace, events)
    if job.kind == "checkup":
        return _checked(job, workspace, events)
    raise JobError(f"Unknown kind of job '{job.kind}'.", "Delete its folder.", "job_kind")


def _checked(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    from studio.data.checkup import CheckupCancelled  # noqa: PLC0415  (numpy, for this kind only)
    from studio.jobs import checkup  # noqa: PLC0415  (as above)

    try:
        return checkup.work(job, workspace, events)
    except CheckupCancelled as cancelled:
        raise StopRequested from cancelled


def wait() -> int:
    """Be ready, then the worker of the job whose folder comes as a line on standard input.

    Ends where the input ends before that, or after some minutes (RETIRED).
    """
    timer = threading.Timer(_IDLE_SECONDS, os._exit, (RETIRED,))
    timer.daemon = True
    timer.start()
    from studio.engine.training.entry import import_all  # noqa: PLC0415  (torch)

    import_all(bitsandbytes=False)
    print(READY, flush=True)
    line = sys.stdin.readline().strip()
    timer.cancel()
    if not line:
        return 0
    folder = Path(line)
    with (folder / "worker.log").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    return main(folder)


if __name__ == "__main__":
    # Under its real name: the StopRequested that the engine raises must be the class caught here.
    from studio.jobs import worker

    given = sys.argv[1]
    sys.exit(worker.wait() if given == WAIT else worker.main(Path(given).resolve()))
