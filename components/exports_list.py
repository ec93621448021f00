"""The exports of a run: progress, files, and each file's report card, as words for exports.js.

Read from the export jobs' folders once a second while one is under way, else every five.
"""

import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.wording import STATES, duration, size, when
from studio.errors import JobError
from studio.events import Event, read_events
from studio.jobs.job import ACTIVE
from studio.paths import Workspace
from studio.results.exports import Export, ExportCheck, ExportFile, find_export, list_exports

_served: set[Path] = set()
_serving = threading.Lock()


def build_exports(workspace: Workspace) -> gr.HTML:
    """The list for the run that is its value; raises `cancel`, `remove`, `talk` in the page."""

    @answer_errors
    def exports(run_id: Any) -> dict[str, Any]:
        found = list_exports(workspace, str(run_id)) if run_id else []
        return {"exports": [export_words(export) for export in found]}

    return live("exports", "exports", "", server_functions=[exports])


def export_words(export: Export) -> dict[str, Any]:
    """One export as plain words and numbers."""
    word, shape = STATES[export.state]
    active = export.state in ACTIVE
    left = seconds_left(read_events(export.job.events_path), export) if active else None
    return {
        "id": export.job.id,
        "title": f"{', '.join((*export.types, *export.also))} · {when(export.job.created_at)}",
        "state": export.state,
        "word": word,
        "shape": shape,
        "active": active,
        "phase": export.phase.capitalize(),
        "share": export.done / export.total if export.total else 0,
        "left": f"about {duration(left)} left in this step" if left is not None else "",
        "problem": export.problem,
        "fix": export.fix,
        "files": [_file_words(export, file) for file in export.files],
        "checks": [check_words(check) for check in export.checks],
    }


def seconds_left(events: list[Event], export: Export) -> float | None:
    """Time left in the current step at its speed so far; None before it can be told."""
    steps = [e for e in events if e["event"] == "progress" and e["phase"] == export.phase]
    if len(steps) < 2 or steps[-1]["done"] <= steps[0]["done"]:
        return None
    first, last = steps[0], steps[-1]
    per_unit = (last["time"] - first["time"]) / (last["done"] - first["done"])
    return float((last["total"] - last["done"]) * per_unit)


def _file_words(export: Export, file: ExportFile) -> dict[str, Any]:
    return {
        "type": file.type,
        "name": file.path.name,
        "size": size(file.size_bytes),
        "bits": f"{file.bits_per_weight:.2f}",
        "sha256": file.sha256,
        "path": str(file.path),
        "link": "" if file.path.is_dir() else _served_link(file.path),
        "talks": file.talks,
        "passed": file.passed,
        "job": export.job.id,
    }


def _served_link(path: Path) -> str:
    """Where the page downloads the file. Only this export's own folder is opened for it."""
    with _serving:
        if path.parent not in _served:
            gr.set_static_paths([path.parent])
            _served.add(path.parent)
    return f"gradio_api/file={quote(path.as_posix())}"


def check_words(check: ExportCheck) -> dict[str, Any]:
    """One line of the report card."""
    numbers = ""
    if check.value is not None:
        numbers = f"{check.value:.3g}"
        if check.limit is not None:
            numbers += f" (limit {check.limit:.3g})"
    return {
        "name": check.name,
        "type": check.type or "all files",
        "passed": check.passed,
        "numbers": numbers,
        "note": check.note,
    }


def exported_file(workspace: Workspace, job_id: str, file_type: str) -> ExportFile:
    """The file of this type in this export. Raises: JobError when it is not there."""
    export = find_export(workspace, job_id)
    for file in export.files:
        if file.type == file_type:
            return file
    raise JobError(
        f"There is no {file_type} file in this export.",
        "Export it again, or choose another file.",
        "export_file_missing",
    )
