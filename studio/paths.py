"""The workspace: one folder that holds everything a person made, and atomic writes into it.

datasets/   brought files and their recipes
jobs/       one folder a job (see `studio.jobs`)
trash/      deleted runs, until they are restored or removed for good
cache/      what can be made again: rows as Arrow, downloaded facts
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from studio.errors import SetupError

PROJECT_DIR = Path(__file__).resolve().parent.parent
ASSETS_DIR = PROJECT_DIR / "assets"
STARTER_DIR = ASSETS_DIR / "starter"
SAMPLES_DIR = ASSETS_DIR / "samples"


@dataclass(frozen=True)
class Workspace:
    """A folder with the person's datasets and jobs; its sub-folders exist once opened."""

    root: Path

    @classmethod
    def open(cls, root: Path | str | None = None) -> "Workspace":
        """The workspace at `root`, else at $LORA_STUDIO_WORKSPACE, else beside launch.py.

        Raises: SetupError (workspace_read_only) where its folders cannot be made.
        """
        chosen = root or os.environ.get("LORA_STUDIO_WORKSPACE") or PROJECT_DIR / "workspace"
        workspace = cls(Path(chosen).expanduser().resolve())
        for folder in (workspace.datasets_dir, workspace.jobs_dir, workspace.cache_dir):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise workspace._not_writable(error) from error
        return workspace

    def check_writable(self) -> None:
        """Raises: SetupError (workspace_read_only) where nothing can be written."""
        try:
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> SetupError:
        return SetupError(
            f"The workspace {self.root} cannot be written to: {error.strerror}.",
            "Make the folder writable, or start with --workspace and another one.",
            "workspace_read_only",
        )

    @property
    def datasets_dir(self) -> Path:
        return self.root / "datasets"

    @property
    def jobs_dir(self) -> Path:
        return self.root / "jobs"

    @property
    def trash_dir(self) -> Path:
        """Made with the first deleted run."""
        return self.root / "trash"

    @property
    def cache_dir(self) -> Path:
        return self.root / "cache"


def sync(path: Path) -> None:
    """Return once a file's content, or a folder's list of names, would survive a power cut."""
    if path.is_dir():
        if os.name == "nt":  # no such handle there
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """As `sync`, for everything in `folder` and for the folder itself."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


@contextmanager
def atomic_path(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `target`, renamed onto it on success, deleted on failure.

    `durable`: the content is on the disk before the name points to it, as a power cut would
    leave an empty file otherwise; what can be made again does without.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        if durable:
            sync(part)
        os.replace(part, target)
        if durable:
            sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8; a reader sees the old file or the new one, never a half."""
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: object) -> None:
    """Write `value` as readable JSON, atomically; NaN is refused with ValueError."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
