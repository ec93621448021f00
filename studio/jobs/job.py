"""A job is a folder: written once by its creator, then only its worker appends events.

    job.json  config.json  events.jsonl  worker.log  worker.lock
    start.request  pause.request  stop.request  notes.json

Nothing stores a state. `state_of` reads it off the facts: the last event, the lock, the requests.
"""

import difflib
import json
import os
import random
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from studio.errors import JobError
from studio.events import Event, parse_line
from studio.jobs.lock import is_held
from studio.jobs.names import ADJECTIVES, ANIMALS
from studio.jobs.notes import RunNotes, read_notes
from studio.paths import Workspace, write_json, write_text

State = Literal[
    "queued", "starting", "running", "paused", "stopping", "finished", "stopped", "failed", "lost"
]
ENDED: tuple[State, ...] = ("finished", "stopped", "failed", "lost")
ACTIVE: tuple[State, ...] = ("starting", "running", "paused", "stopping")
_END_EVENTS: dict[str, State] = {"finished": "finished", "stopped": "stopped", "failed": "failed"}
_TAIL_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class Job:
    """One child process and its folder; `created_at` in seconds since the epoch.

    `number` counts the jobs of a workspace in the order in which they were made: a clock may be
    set back, and a job made after another still comes after it.
    """

    id: str
    kind: str
    name: str
    created_at: float
    folder: Path
    number: int = 0
    # The workspace's folder then: it may have been moved since.
    made_in: str = ""
    notes: RunNotes = RunNotes()

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def log_path(self) -> Path:
        return self.folder / "worker.log"

    @property
    def lock_path(self) -> Path:
        return self.folder / "worker.lock"

    @property
    def start_path(self) -> Path:
        """Please start: holds the place in the queue; the worker removes it."""
        return self.folder / "start.request"

    @property
    def pause_path(self) -> Path:
        return self.folder / "pause.request"

    @property
    def stop_path(self) -> Path:
        return self.folder / "stop.request"

    def config(self) -> dict[str, Any]:
        """The settings; what lay in the workspace is named where it lies now.

        Raises: JobError (job_damaged) where they are gone or cut.
        """
        try:
            values: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise JobError(
                f"The settings of '{self.name}' (config.json) are gone or damaged.",
                "Delete it, and start a new one with settings of your own.",
                "job_damaged",
            ) from error
        moved: dict[str, Any] = _moved(values, self.made_in, str(self.folder.parent.parent))
        return moved


def _moved(value: Any, old: str, new: str) -> Any:
    """`value` with every path in the folder `old` as one in the folder `new`."""
    if not old or old == new:
        return value
    if isinstance(value, dict):
        return {name: _moved(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if isinstance(value, str) and value.startswith(old + os.sep):
        return new + value.removeprefix(old)
    return value


def create_job(
    workspace: Workspace, kind: str, name: str, config: dict[str, Any], place: int | None = None
) -> Job:
    """A new folder under jobs/ with job.json and config.json; nothing runs yet.

    With `place` it waits there in the queue from its first moment on.
    """
    now = datetime.now()
    while True:
        pair = f"{random.choice(ADJECTIVES)}-{random.choice(ANIMALS)}"
        job_id = f"{now:%Y%m%d-%H%M}-{pair}"
        folder = workspace.jobs_dir / job_id
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
    write_json(folder / "config.json", config)
    if place is not None:
        write_text(folder / "start.request", f"{place}\n")
    facts = {
        "schema_version": 1,
        "kind": kind,
        "name": name or pair,
        "number": 1 + max((job.number for job in list_jobs(workspace)), default=0),
        "created_at": round(time.time(), 3),
        "versions": _versions(),
        "workspace": str(workspace.root),
    }
    write_json(folder / "job.json", facts)
    return read_job(folder)


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "transformers", "peft", "trl", "llama-cpp-python", "gguf"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_job(folder: Path) -> Job:
    """The job of a folder that holds a job.json."""
    facts = json.loads((folder / "job.json").read_text("utf-8"))
    notes = read_notes(folder)
    return Job(
        id=folder.name,
        kind=facts["kind"],
        name=notes.name or facts["name"],
        created_at=facts["created_at"],
        folder=folder,
        number=facts.get("number", 0),
        made_in=facts.get("workspace", ""),
        notes=notes,
    )


def _job_or_none(folder: Path) -> Job | None:
    try:
        return read_job(folder)
    except (OSError, ValueError, KeyError):  # deleted in this moment, or not written by a studio
        return None


def list_jobs(workspace: Workspace, kind: str | None = None) -> list[Job]:
    """All jobs, newest first. A folder without job.json is not a job (a creation that died)."""
    return _jobs_in(workspace.jobs_dir, kind)


def list_trash(workspace: Workspace, kind: str | None = None) -> list[Job]:
    """The deleted jobs that can be restored (see `studio.jobs.trash`), newest first."""
    return _jobs_in(workspace.trash_dir, kind)


def _jobs_in(folder: Path, kind: str | None) -> list[Job]:
    paths = (path.parent for path in folder.glob("*/job.json"))
    jobs = [_job_or_none(path) for path in paths if not path.name.startswith(".")]
    chosen = [job for job in jobs if job is not None and kind in (None, job.kind)]
    return sorted(chosen, key=lambda job: (job.number, job.created_at), reverse=True)


def find_job(workspace: Workspace, job_id: str, kind: str | None = None) -> Job:
    """The job with this id, or with this unique name.

    Raises: JobError with the closest known ids.
    """
    jobs = list_jobs(workspace, kind)
    exact = [job for job in jobs if job.id == job_id] or [j for j in jobs if j.name == job_id]
    if exact:
        return exact[0]
    known = [job.id for job in jobs]
    close = difflib.get_close_matches(job_id, known, n=3, cutoff=0.4) or known[:3]
    hint = f"Known: {', '.join(close)}." if close else "There are none yet in this workspace."
    raise JobError(f"There is no {kind or 'job'} '{job_id}'.", hint, "job_not_found")


def delete_job(job: Job) -> None:
    """Remove an ended job and all its files. Raises: JobError while its worker lives."""
    if is_held(job.lock_path):
        raise JobError(f"'{job.name}' is still running.", "Stop it first.", "job_running")
    shutil.rmtree(job.folder)


def last_event(path: Path) -> Event | None:
    """The last finished line of an event file, read from its end."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL_BYTES, 0))
        lines = file.read().split(b"\n")[:-1]
    found = (parse_line(line) for line in reversed(lines))
    return next((event for event in found if event is not None), None)


def state_of(job: Job) -> State:
    """The state as a fold over facts; nothing is stored, so nothing can be stale."""
    held = is_held(job.lock_path)
    if job.start_path.exists():
        return "starting" if held else "queued"
    last = last_event(job.events_path)
    name = last["event"] if last else ""
    if name in _END_EVENTS:
        return _END_EVENTS[name]
    if not held:
        # A log without an event: the worker died at once, or the events went with the power.
        return "lost" if last or job.log_path.exists() else "queued"
    if job.stop_path.exists():
        return "stopping"
    if name == "paused":
        return "paused"
    return "starting" if name in ("", "started", "phase") else "running"


def log_tail(job: Job, n_lines: int = 40) -> str:
    """The last lines of the worker's stdout and stderr; "" where there are none."""
    if not job.log_path.exists():
        return ""
    lines = job.log_path.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(lines[-n_lines:])
