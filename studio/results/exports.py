"""What exports left: files with their checks, read from the events of the export jobs.

A file counts only when its event was written and it lies there whole: the event comes first, then
the name, so that a start that was killed leaves nothing that looks finished and is not listed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.events import Event, read_events
from studio.jobs.export_outputs import ADAPTER_GGUF, BASE_GGUF
from studio.jobs.job import Job, State, find_job, list_jobs, state_of
from studio.paths import Workspace
from studio.results.answers import Answers, read_answers
from studio.results.quality import MeasuredFile, Quality, read_quality

Status = Literal["passed", "warned", "failed"]
# The first word of a phase, as people say it; the rest names what it is done to.
_DOING = {
    "answers": "collecting answers",
    "check": "checking",
    "convert": "converting to",
    "hash": "hashing",
    "logits": "computing logits",
    "measure": "measuring",
    "merge": "merging the adapter",
    "quantize": "quantizing to",
    "tokens": "comparing tokens",
    "write": "writing",
}


@dataclass(frozen=True, kw_only=True)
class ExportCheck:
    """One question to a file: `value` within `limit` passes; `type` "" means all files. One that
    is passed with a warning (`warned`) is worth a look."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    note: str
    type: str
    warned: bool = False

    @property
    def status(self) -> Status:
        if not self.passed:
            return "failed"
        return "warned" if self.warned else "passed"


@dataclass(frozen=True, kw_only=True)
class ExportFile:
    """One GGUF or folder with the checks that concern it; `path` is absolute."""

    type: str
    path: Path
    size_bytes: int
    bits_per_weight: float
    sha256: str
    checks: tuple[ExportCheck, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def status(self) -> Status:
        """The worst of its checks."""
        found = {check.status for check in self.checks}
        worst: tuple[Status, ...] = ("failed", "warned")
        return next((status for status in worst if status in found), "passed")

    @property
    def talks(self) -> bool:
        """Whether llama.cpp answers from this file alone: a GGUF that is no adapter."""
        return self.path.suffix == ".gguf" and self.type != ADAPTER_GGUF


@dataclass(frozen=True, kw_only=True)
class Export:
    """One export job; `run` is the run's id, or "" where the untouched `model` was exported.

    `phase`, `done` and `total` tell how far it is, `seconds_left` how long the phase still takes at
    its speed so far, None where that cannot be told; `problem` and `fix` are said after a failure.
    `aside` holds type and path of each file that failed a check and was kept aside.
    """

    job: Job
    run: str
    model: str
    types: tuple[str, ...]
    also: tuple[str, ...]
    state: State
    phase: str
    done: int
    total: int
    seconds_left: float | None
    files: tuple[ExportFile, ...]
    checks: tuple[ExportCheck, ...]
    problem: str
    fix: str
    qualities: tuple[Quality, ...] = ()
    answers: tuple[Answers, ...] = ()
    aside: tuple[tuple[str, Path], ...] = ()

    @property
    def doing(self) -> str:
        """The phase in words: "quantizing to Q8_0"."""
        first, space, rest = self.phase.partition(" ")
        if self.phase == "convert base":
            return "converting the base"
        return f"{_DOING.get(first, first)}{space}{rest}" or "starting"

    @property
    def measured(self) -> list[MeasuredFile]:
        """The files that were measured, with their sizes."""
        sizes = {file.type: file.size_bytes for file in self.files}
        return [
            MeasuredFile(size_bytes=sizes[quality.type], quality=quality)
            for quality in self.qualities
            if quality.type in sizes
        ]

    def base_of(self, file: ExportFile) -> ExportFile | None:
        """The base file that an adapter file goes on; None where it is gone, or for other files."""
        if file.type != ADAPTER_GGUF:
            return None
        return next((found for found in self.files if found.type == BASE_GGUF), None)

    def answers_of(self, name: str) -> Answers | None:
        """What the file of this type, BASE or TUNED answered; None where it was not asked."""
        return next((found for found in self.answers if found.type == name), None)


def list_exports(workspace: Workspace, run_id: str | None = None) -> list[Export]:
    """All exports, newest first; with `run_id` those of that run."""
    exports = [read_export(job) for job in list_jobs(workspace, "export")]
    return [export for export in exports if run_id is None or export.run == run_id]


def find_export(workspace: Workspace, job_id: str) -> Export:
    """The export with this id. Raises: JobError when there is none."""
    return read_export(find_job(workspace, job_id, "export"))


def read_export(job: Job) -> Export:
    """What the events of `job` tell since its last start."""
    state = state_of(job)
    events = _since_last_start(read_events(job.events_path))
    config = job.config()
    checks = tuple(_check(event) for event in events if event["event"] == "check")
    files = [_file(job, event, checks) for event in events if event["event"] == "file"]
    phases = [event["name"] for event in events if event["event"] == "phase"]
    phase = phases[-1] if phases else ""
    steps = [e for e in events if e["event"] == "progress" and e["phase"] == phase]
    failed = next((event for event in events if event["event"] == "failed"), {})
    return Export(
        job=job,
        run=config.get("run", ""),
        model=config.get("model", ""),
        types=tuple(config["types"]),
        also=tuple(config.get("also", ())),
        state=state,
        phase=phase,
        done=steps[-1]["done"] if steps else 0,
        total=steps[-1]["total"] if steps else 0,
        seconds_left=_seconds_left(steps),
        files=tuple(file for file in files if _is_whole(file)),
        checks=checks,
        problem=failed.get("message", ""),
        fix=failed.get("fix", ""),
        qualities=tuple(read_quality(e) for e in events if e["event"] == "quality"),
        answers=tuple(read_answers(e) for e in events if e["event"] == "answers"),
        aside=tuple(
            (event["type"], job.folder / event["path"])
            for event in events
            if event["event"] == "aside"
        ),
    )


def _seconds_left(steps: list[Event]) -> float | None:
    if len(steps) < 2 or steps[-1]["done"] <= steps[0]["done"]:
        return None
    first, last = steps[0], steps[-1]
    per_unit = (last["time"] - first["time"]) / (last["done"] - first["done"])
    return float((last["total"] - last["done"]) * per_unit)


def _since_last_start(events: list[Event]) -> list[Event]:
    starts = [place for place, event in enumerate(events) if event["event"] == "started"]
    return events[starts[-1] :] if starts else events


def _is_whole(file: ExportFile) -> bool:
    return file.path.exists() and size_of(file.path) == file.size_bytes


def files_in(path: Path) -> list[Path]:
    """The files of an exported folder in the order of their names; of a file itself."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def size_of(path: Path) -> int:
    """Bytes of an exported file, or of all files of an exported folder."""
    return sum(file.stat().st_size for file in files_in(path))


def _file(job: Job, event: Event, checks: tuple[ExportCheck, ...]) -> ExportFile:
    return ExportFile(
        type=event["type"],
        path=job.folder / event["path"],
        size_bytes=event["size_bytes"],
        bits_per_weight=event["bits_per_weight"],
        sha256=event["sha256"],
        checks=tuple(check for check in checks if check.type in ("", event["type"])),
    )


def _check(event: dict[str, Any]) -> ExportCheck:
    return ExportCheck(
        name=event["name"],
        passed=event["passed"],
        value=event["value"],
        limit=event["limit"],
        note=event["note"],
        type=event.get("type", ""),
        warned=event.get("warned", False),
    )
