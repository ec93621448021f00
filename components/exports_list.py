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
from studio.jobs.job import ACTIVE
from studio.paths import Workspace
from studio.results.exports import (
    Export,
    ExportCheck,
    ExportFile,
    Status,
    find_export,
    list_exports,
)
from studio.results.measured_html import measured_html
from studio.results.report_card import STATUS_WORDS, card_path

_VERDICTS: dict[Status, str] = {
    "passed": "✓ checks passed",
    "warned": "! passed, worth a look",
    "failed": "✕ a check failed",
}
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
    left = export.seconds_left if active else None
    return {
        "id": export.job.id,
        "title": f"{', '.join((*export.types, *export.also))} · {when(export.job.created_at)}",
        "state": export.state,
        "word": word,
        "shape": shape,
        "active": active,
        "phase": export.doing[0].upper() + export.doing[1:],
        "share": export.done / export.total if export.total else 0,
        "left": f"about {duration(left)} left in this step" if left is not None else "",
        "problem": export.problem,
        "fix": export.fix,
        "files": [_file_words(export, file) for file in export.files],
        "checks": [check_words(check) for check in export.checks],
        "measured": measured_html(export),
    }


def _file_words(export: Export, file: ExportFile) -> dict[str, Any]:
    return {
        "type": file.type,
        "name": file.path.name,
        "size": size(file.size_bytes),
        "bits": f"{file.bits_per_weight:.2f}",
        "sha256": file.sha256,
        "path": str(file.path),
        "link": "" if file.path.is_dir() else _served_link(file.path),
        "talks": file.talks or export.base_of(file) is not None,
        "status": file.status,
        "verdict": _VERDICTS[file.status],
        "card": _served_link(card) if (card := card_path(file.path, "html")).is_file() else "",
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
        "status": check.status,
        "word": STATUS_WORDS[check.status],
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


def exported_pair(
    workspace: Workspace, job_id: str, file_type: str
) -> tuple[ExportFile, ExportFile | None]:
    """The file of this type to chat with; an adapter's base with it.

    Raises: JobError when one of them is not there.
    """
    file = exported_file(workspace, job_id, file_type)
    base = find_export(workspace, job_id).base_of(file)
    if base is None and not file.talks:
        raise JobError(
            f"The base of '{file.path.name}' is not there any more.",
            "Export the adapter again: its base is written with it.",
            "export_file_missing",
        )
    return file, base
