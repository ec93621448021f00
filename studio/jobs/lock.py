"""The worker's lock: held while it lives, let go by the system when it dies, however it dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import portalocker
from portalocker import LockFlags


@contextmanager
def hold(path: Path, *, wait: bool = False) -> Iterator[IO[str] | None]:
    """Hold `path` exclusively; yields None where another process has it (unless `wait`)."""
    flags = LockFlags.EXCLUSIVE if wait else LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING
    with path.open("a") as file:
        try:
            portalocker.lock(file, flags)
        except portalocker.LockException:
            yield None
            return
        try:
            yield file
        finally:
            portalocker.unlock(file)


def is_held(path: Path) -> bool:
    """Whether a process holds `path`. Probes with a shared lock, so that readers do not collide."""
    if not path.exists():
        return False
    # Opened for reading: a workspace on a read-only disk can still be looked at.
    with path.open("rb") as file:
        try:
            portalocker.lock(file, LockFlags.SHARED | LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            return True
        portalocker.unlock(file)
        return False
