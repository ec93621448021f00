"""A file lock of the standard library: let go by the system when its holder dies."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PAUSE_SECONDS = 0.1
_LOOKS = 3


@contextmanager
def hold(path: Path, wait_seconds: float = 0.0) -> Iterator[bool]:
    """Hold `path` exclusively; yields False where another process still has it after waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        deadline = time.monotonic() + wait_seconds
        while not (held := _try(file)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        try:
            yield held
        finally:
            if held:
                _release(file)


def is_held(path: Path) -> bool:
    """Whether some process holds `path`; two that ask at the same moment do not see each other."""
    if not path.exists():
        return False
    with path.open("a+b") as file:
        for _ in range(_LOOKS):
            if _try(file, shared=True):
                _release(file)
                return False
            if sys.platform != "win32":
                return True
            time.sleep(_PAUSE_SECONDS / _LOOKS)  # no shared locks there: look again
    return True


def _try(file: IO[bytes], *, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _release(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
