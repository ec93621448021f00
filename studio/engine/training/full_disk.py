"""A disk that is full while a run saves: told as such, and nothing half-written is left."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from studio.engine.training.checkpoints import remove_unfinished
from studio.jobs.space import disk_full, is_disk_full

_NO_SPACE_BYTES = 1_000_000


@contextmanager
def told_when_full(job_folder: Path, checkpoints: Path) -> Iterator[None]:
    """Raises: JobError (disk_full) in place of what the libraries raise then; the checkpoint and
    the result that were being written are removed, whole ones stay."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _says_full(error, job_folder):
            raise
        told = disk_full(job_folder)
        remove_unfinished(checkpoints)
        for rest in job_folder.glob(".*.part"):
            shutil.rmtree(rest)
        raise told from error


def _says_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError):
        return is_disk_full(error)
    text = str(error)
    # safetensors is written in Rust and torch's archives in C++: neither gives an OSError.
    if isinstance(error, SafetensorError):
        return "No space left" in text or "os error 28" in text
    return "inline_container" in text and shutil.disk_usage(folder).free < _NO_SPACE_BYTES
