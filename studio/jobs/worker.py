"""The worker's entry: hold the lock, do the job's work, say how it ended.

Started as `python -m studio.jobs.worker FOLDER`. The one place, beside the screen's handler,
that catches every exception: whatever happens becomes a `failed` event with its fix.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from studio.errors import JobError, StudioError
from studio.events import EventWriter
from studio.jobs.job import Job, find_job
from studio.jobs.lock import hold
from studio.paths import Workspace

ALREADY_RUNNING = 3
_LOCK_SECONDS = 2.0


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
    with _hold_patiently(job.lock_path) as lock:
        if lock is None:
            return ALREADY_RUNNING
        events = EventWriter(job.events_path)
        events.write("started", pid=os.getpid())
        try:
            summary = _work(job, workspace, events)
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


@contextmanager
def _hold_patiently(path: Path) -> Iterator[IO[str] | None]:
    # A reader that asks for the state holds the lock for a moment; only another worker keeps it.
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with ExitStack() as stack:
            lock = stack.enter_context(hold(path))
            if lock is not None or time.monotonic() > deadline:
                yield lock
                return
        time.sleep(0.01)


def _work(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """What the kind of job asks for; gives the values of its `finished` event."""
    if job.kind == "train":
        from studio.engine.training.entry import run_training  # noqa: PLC0415  (torch)

        return run_training(job, workspace, events)
    if job.kind == "export":
        from studio.engine.export.entry import run_export  # noqa: PLC0415  (torch)

        return run_export(job, workspace, events)
    if job.kind == "synthesis":
        from studio.engine.chat.synthesize import run_synthesis  # noqa: PLC0415  (torch or llama.cpp)

        return run_synthesis(job, workspace, events)
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


if __name__ == "__main__":
    # Under its real name: the StopRequested that the engine raises must be the class caught here.
    from studio.jobs import worker

    sys.exit(worker.main(Path(sys.argv[1]).resolve()))
