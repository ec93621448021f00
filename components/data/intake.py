"""Files on their way into the workspace: each read by a thread, watched and ended from the page.

A file of gigabytes takes minutes to read. The page asks how far it is, past the queue, so that
every window stays usable; a window that closes does not end the reading.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from components.handlers import answer_errors
from components.wording import duration
from studio.data.dataset import open_dataset
from studio.data.found_files import Found
from studio.data.library import add_dataset, load_recipe
from studio.data.sources import find_files
from studio.errors import DataError
from studio.paths import Workspace

Told = Callable[[str], None]
# Readings whose end may still be asked for.
_N_KEPT = 50
_MOST_NOTES = 12


class _Cancelled(DataError):
    """Raised out of the readers' progress when a person has cancelled."""


@dataclass
class Intake:
    """One reading: what is read, how far it is, and how it ended."""

    what: str
    started: float = field(default_factory=time.monotonic)
    state: str = "reading"
    n_rows: int = 0
    # What is being done before rows are read, in words: a download.
    words: str = ""
    seconds: float = 0.0
    cancelled: bool = False
    dataset: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    fix: str = ""

    def told(self, words: str) -> None:
        """Told while files are found. Raises: _Cancelled."""
        self.words = words
        self._end_if_cancelled()

    def progress(self, n_rows: int) -> None:
        """Told by the readers. Raises: _Cancelled."""
        self.n_rows, self.words = n_rows, ""
        self._end_if_cancelled()

    def _end_if_cancelled(self) -> None:
        if self.cancelled:
            raise _Cancelled("The reading was cancelled.", "Nothing was kept.")


class Intakes:
    """The readings of one workspace, by token."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Intake] = OrderedDict()
        self.threads: list[threading.Thread] = []

    def take_files(self, files: Sequence[Path]) -> str:
        """Begin to read uploaded files as one dataset; the token to ask with."""
        names = [path.name for path in files]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return self._start(f"{names[0]}{more}", lambda _: Found(files=tuple(files)))

    def take_text(self, text: str) -> str:
        """Begin to read what a person typed: a path or a hub id; the token to ask with."""
        return self._start(
            text.strip() or "an empty line",
            lambda told: find_files(text, self.workspace.cache_dir, told),
        )

    def _start(self, what: str, find: Callable[[Told], Found]) -> str:
        token, intake = token_urlsafe(12), Intake(what)
        with self._lock:
            self._known[token] = intake
            while len(self._known) > _N_KEPT:
                self._known.popitem(last=False)
        thread = threading.Thread(target=self._read, args=(intake, find), daemon=True)
        self.threads = [one for one in self.threads if one.is_alive()] + [thread]
        thread.start()
        return token

    def _read(self, intake: Intake, find: Callable[[Told], Found]) -> None:
        said = self._added(intake, find)
        intake.seconds = time.monotonic() - intake.started
        intake.problem, intake.fix = said.get("error", ""), said.get("fix", "")
        intake.state = "failed" if intake.problem else "cancelled" if intake.cancelled else "done"

    @answer_errors
    def _added(self, intake: Intake, find: Callable[[Told], Found]) -> dict[str, str]:
        try:
            found = find(intake.told)
            dataset = add_dataset(self.workspace, found, progress=intake.progress)
        except _Cancelled:
            return {}
        # Too late to cancel: the dataset is there.
        intake.cancelled = False
        opened = open_dataset(load_recipe(self.workspace, dataset), self.workspace.cache_dir)
        intake.dataset, intake.n_rows = dataset, len(opened)
        intake.notes = (*found.notes, *opened.rows.notes)
        return {}

    def look(self, asked: dict[str, Any]) -> dict[str, Any]:
        """For {token}: how far the reading is, in words the page shows."""
        with self._lock:
            intake = self._known.get(str(asked.get("token", "")))
        if intake is None:
            return {"state": "unknown"}
        running = intake.state == "reading"
        seconds = time.monotonic() - intake.started if running else intake.seconds
        return {
            "state": "cancelling" if running and intake.cancelled else intake.state,
            "what": intake.what,
            "n_rows": intake.n_rows,
            "words": intake.words,
            "time": duration(seconds) if running or seconds >= 1 else "under a second",
            "dataset": intake.dataset,
            "notes": list(intake.notes[:_MOST_NOTES]),
            "n_more_notes": max(len(intake.notes) - _MOST_NOTES, 0),
            "problem": intake.problem,
            "fix": intake.fix,
        }

    def cancel(self, asked: dict[str, Any]) -> dict[str, Any]:
        """For {token}: end the reading with its next rows; then as `look`."""
        with self._lock:
            intake = self._known.get(str(asked.get("token", "")))
        if intake is not None:
            intake.cancelled = True
        return self.look(asked)
