"""Room on the disk: what a run's checkpoints will take, and what is said where it is full."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.errors import JobError
from studio.models.facts import ModelFacts
from studio.training.config import RunConfig
from studio.training.counts import n_trainable

KEPT_CHECKPOINTS = 2
# FP32 weights and two moments of Adam; other optimizers keep less.
_BYTES_A_WEIGHT = 12
_RESERVED_BYTES = 65_536
_OTHER_BYTES = 2_000_000


def needed_bytes(config: RunConfig, facts: ModelFacts) -> int:
    """What a run takes at most: the kept checkpoints, the one being written, and the result."""
    trained = n_trainable(config.adapter, facts)
    return trained * (_BYTES_A_WEIGHT * (KEPT_CHECKPOINTS + 1) + 4) + _OTHER_BYTES


def check_space(folder: Path, config: RunConfig, facts: ModelFacts) -> None:
    """Raises: JobError (disk_full) where the disk of `folder` cannot hold the checkpoints."""
    needed, free = needed_bytes(config, facts), shutil.disk_usage(folder).free
    if free < needed:
        raise JobError(
            f"The checkpoints of this run need about {_megabytes(needed)}, and the disk has "
            f"{_megabytes(free)} free.",
            "Free some space (old runs can be deleted on the Runs tab), or lower Adapter rank.",
            "disk_full",
        )


def disk_full(folder: Path) -> JobError:
    """What is said once a write has failed for want of space."""
    free = shutil.disk_usage(folder).free
    return JobError(
        f"The disk is full: {_megabytes(free)} are free where the workspace is.",
        "Free some space (old runs can be deleted on the Runs tab), then press Resume: it goes on "
        "from the newest whole checkpoint.",
        "disk_full",
    )


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed because there is no space, or the person's quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room_for_last_words(folder: Path) -> Iterator[None]:
    """Keeps a little space while work goes on, so that its end can be told on a full disk."""
    reserve = folder / "reserve"
    try:
        reserve.write_bytes(bytes(_RESERVED_BYTES))
        yield
    finally:
        reserve.unlink(missing_ok=True)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
