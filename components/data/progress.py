"""Where a dataset's checkup stands, read off its job and its stored result: nothing is remembered.

Enters: dataset, model and maximum length as a window shows them. Leaves: a CheckupLook, and its
words for checkup_line.js.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from components.data.findings import Group, groups, summary_words
from components.data.open import Opener
from components.wording import duration
from studio.data.dataset import Dataset
from studio.data.mending import rows_to_mend
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.events import Event, read_events
from studio.jobs.checkup import (
    KIND,
    StoredCheckup,
    find_checkup_jobs,
    latest_checkup,
    load_checkup,
)
from studio.jobs.checkup_results import checkup_key, checkup_speed
from studio.jobs.job import Job, list_jobs, state_of
from studio.models.reference import ModelRef
from studio.paths import Workspace

# A checkup that takes no longer than this starts by itself.
AUTOMATIC_SECONDS = 15.0
# Until one has run on this computer: characters a second of two slow cores.
_CHARACTERS_A_SECOND = 300_000.0
_START_SECONDS = 3.0
_MOST_LENGTH = 100_000_000


@dataclass(frozen=True)
class Asked:
    """What a window shows, as it says; checked, for anybody can call a server function."""

    dataset: str
    model: str
    max_length: int

    @classmethod
    def of(cls, asked: dict[str, Any]) -> "Asked":
        """Raises: DataError, ModelError for what no window would say."""
        max_length = int(asked["max_length"])
        if not 0 < max_length <= _MOST_LENGTH:
            raise DataError(
                f"A maximum length of {max_length:,} tokens cannot be.",
                "Set it on the Train tab.",
                "config_problem",
            )
        return cls(str(asked["dataset"]), str(ModelRef.parse(str(asked["model"]))), max_length)


@dataclass(frozen=True)
class CheckupLook:
    """A dataset's checkup at this moment. `result` is the one of the rows as they are, or the
    newest of the same files; `ended` is the job of exactly these rows that came to no result."""

    asked: Asked
    dataset: Dataset
    key: str
    result: StoredCheckup | None
    running: Job | None
    ended: Job | None
    speed: float | None
    n_characters: int

    @property
    def current(self) -> bool:
        """Whether the result is of the rows as they are now."""
        return self.result is not None and self.result.key == self.key

    @property
    def mendable(self) -> bool:
        """Whether the result's rows are read as they were: only edits have come since."""
        if self.current or self.result is None:
            return self.current
        unedited = replace(self.dataset.recipe, edits=())
        now = checkup_key(unedited, self.asked.model, self.asked.max_length)
        return self.result.reading_key == now

    @property
    def n_kept(self) -> int:
        return len(self.dataset)

    @cached_property
    def groups(self) -> list[Group]:
        """The findings by kind, without rows that were mended since."""
        if self.result is None:
            return []
        counts = self.result.profile.n_rows_by_code()
        if not self.current:
            counts = {code: len(self._left(code)) for code in counts}
        return groups(self.result.findings, counts)

    def _left(self, code: str) -> list[int]:
        assert self.result is not None
        return rows_to_mend(self.result, code, self.dataset.recipe)

    @property
    def seconds(self) -> float:
        """What a checkup of these rows takes, more or less."""
        return _START_SECONDS + self.n_characters / (self.speed or _CHARACTERS_A_SECOND)

    def words(self) -> dict[str, Any]:
        """What checkup_line.js draws."""
        about = duration(max(round(self.seconds / 5) * 5, 5))
        guess = "" if self.speed else " or so: a guess from its size"
        return {
            "stamp": self.key,
            "recipe": _stamp(self.dataset.recipe),
            "automatic": self.seconds <= AUTOMATIC_SECONDS,
            "estimate": f"about {about}{guess}",
            "running": progress_words(self.running, self.key) if self.running else None,
            "ended": state_of(self.ended) if self.ended else "",
            "problem": problem_of(self.ended) if self.ended else None,
            "result": {
                "key": self.result.key,
                "current": self.current,
                "summary": summary_words(self.groups, self.n_kept),
            }
            if self.result
            else None,
        }


def look_at(workspace: Workspace, opener: Opener, asked: Asked) -> CheckupLook:
    """The checkup of a dataset as a window shows it. Raises: DataError, ModelError."""
    opened = opener(asked.dataset)
    recipe = opened.dataset.recipe
    key = checkup_key(recipe, asked.model, asked.max_length)
    result = load_checkup(workspace, recipe, asked.model, asked.max_length)
    running = find_checkup_jobs(workspace, recipe)
    return CheckupLook(
        asked=asked,
        dataset=opened.dataset,
        key=key,
        result=result or latest_checkup(workspace, recipe),
        running=running[0] if running else None,
        ended=None if result or running else _ended(workspace, key),
        speed=checkup_speed(workspace),
        n_characters=int(opened.characters.sum()),
    )


def _ended(workspace: Workspace, key: str) -> Job | None:
    """The newest job, where it was of these rows and has left no result."""
    newest = next(iter(list_jobs(workspace, KIND)), None)
    return newest if newest and newest.config().get("key") == key else None


def _stamp(recipe: DatasetRecipe) -> str:
    return hashlib.blake2b(repr(recipe).encode("utf-8", "replace"), digest_size=8).hexdigest()


def progress_words(job: Job, key: str) -> dict[str, Any]:
    """A running checkup: phase, how far it is, and the time left in this phase."""
    events = read_events(job.events_path)
    steps = [event for event in events if event["event"] == "progress"]
    last = steps[-1] if steps else {"phase": "", "done": 0, "total": 0}
    left = seconds_left(steps)
    return {
        "job": job.id,
        "current": job.config().get("key") == key,
        "stopping": state_of(job) == "stopping",
        "phase": str(last["phase"]).lower(),
        "done": last["done"],
        "total": last["total"],
        "share": last["done"] / last["total"] if last["total"] else 0,
        "left": f"about {duration(left)} left" if left is not None and left >= 1 else "",
    }


def seconds_left(steps: list[Event]) -> float | None:
    """Time left in the last phase at its speed so far; None before it can be told."""
    same = [step for step in steps if step["phase"] == steps[-1]["phase"]] if steps else []
    if len(same) < 2 or same[-1]["done"] <= same[0]["done"]:
        return None
    first, last = same[0], same[-1]
    a_unit = (last["time"] - first["time"]) / (last["done"] - first["done"])
    return float((last["total"] - last["done"]) * a_unit)


def problem_of(job: Job) -> dict[str, str] | None:
    """Why a checkup came to nothing; None where a person stopped it."""
    state = state_of(job)
    if state == "lost":
        return {
            "message": "The checkup's process was ended from outside.",
            "fix": "Start it again; close other programs first where memory is short.",
        }
    if state != "failed":
        return None
    last = read_events(job.events_path)[-1]
    return {"message": str(last["message"]), "fix": str(last["fix"])}
