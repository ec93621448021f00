"""One idle process that has imported torch and its family: a run's first step comes seconds sooner.

The screen keeps it. It waits for a job's folder on its standard input and is then that job's
worker, the same way as any other (`worker.main`). It ends with the screen, because its input ends,
and by itself after some minutes, which gives its memory back.
"""

import subprocess
import threading
from dataclasses import dataclass, field

from studio.jobs.job import Job
from studio.jobs.lock import is_held
from studio.jobs.process import READY, WAIT, detached, device_lock
from studio.paths import Workspace
from studio.training.config import read_config


@dataclass
class _Idle:
    """The process; `ready` once it has imported everything and waits."""

    process: subprocess.Popen[bytes]
    ready: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Until it is ready or has ended."""
        assert self.process.stdout is not None
        if any(line.strip() == READY.encode() for line in self.process.stdout):
            self.ready.set()


_lock = threading.Lock()
_idle: _Idle | None = None


def keep_warm(workspace: Workspace) -> None:
    """Start the idle process where there is none and no run needs the cores; returns at once."""
    global _idle
    if is_held(device_lock(workspace)):
        return
    with _lock:
        if _idle is None or _idle.process.poll() is not None:
            _idle = _Idle(detached([WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            threading.Thread(target=_idle.listen, name="warm worker", daemon=True).start()


def take(job: Job) -> subprocess.Popen[bytes] | None:
    """The idle process, now the worker of `job`; None where none is ready, or none that fits."""
    global _idle
    if read_config(job.config(), "config.json").needs_bitsandbytes:
        return None
    with _lock:
        if _idle is None or not _idle.ready.is_set():
            return None
        process, _idle = _idle.process, None
    assert process.stdin is not None
    try:
        process.stdin.write(f"{job.folder}\n".encode())
        process.stdin.close()
    except OSError:  # it ended by itself
        return None
    return process
