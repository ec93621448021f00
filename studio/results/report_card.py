"""A report card beside each exported file: FILE.card.json for programs, FILE.card.html for people.

In: an Export as its events tell it. Out: two files for each exported one, and for each file that
was kept aside; the HTML stands alone and asks nothing of the network.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from studio.paths import ASSETS_DIR, write_json, write_text
from studio.results.answers import BASE, TUNED
from studio.results.exports import Export, ExportCheck, ExportFile, Status
from studio.results.measured_html import measured_html
from studio.results.quality import recommended

_SCHEMA_VERSION = 1
_VERDICTS: dict[Status, str] = {
    "passed": "✓ All checks passed",
    "warned": "! Passed, with something to look at",
    "failed": "✕ A check failed",
}
STATUS_WORDS: dict[Status, str] = {
    "passed": "✓ passed",
    "warned": "! look",
    "failed": "✕ failed",
}


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What a card is about; a file that was kept aside has neither size nor hash."""

    path: Path
    type: str
    status: Status
    checks: tuple[ExportCheck, ...]
    file: ExportFile | None


def card_path(path: Path, ending: str) -> Path:
    """Where the card of the file or folder at `path` lies; `ending` is "json" or "html"."""
    return path.with_name(f"{path.name}.card.{ending}")


def write_cards(export: Export) -> None:
    """Write both cards of every file of the export, and of those kept aside."""
    subjects = [
        _Subject(path=f.path, type=f.type, status=f.status, checks=f.checks, file=f)
        for f in export.files
    ]
    for file_type, path in export.aside:
        checks = tuple(check for check in export.checks if check.type in ("", file_type))
        subjects.append(
            _Subject(path=path, type=file_type, status="failed", checks=checks, file=None)
        )
    for subject in subjects:
        write_json(card_path(subject.path, "json"), _values(export, subject))
        write_text(card_path(subject.path, "html"), _page(export, subject))


def _values(export: Export, subject: _Subject) -> dict[str, Any]:
    facts = json.loads((export.job.folder / "job.json").read_text(encoding="utf-8"))
    qualities = {quality.type: quality for quality in export.qualities}
    quality, best = qualities.get(subject.type), recommended(export.measured)
    asked = {
        name: found.as_dict()["answers"]
        for name in (BASE, TUNED, subject.type)
        if (found := export.answers_of(name)) is not None
    }
    return {
        "schema_version": _SCHEMA_VERSION,
        "made_by": "LoRA Studio",
        "file": subject.path.name,
        "type": subject.type,
        "status": subject.status,
        "size_bytes": subject.file.size_bytes if subject.file else None,
        "bits_per_weight": subject.file.bits_per_weight if subject.file else None,
        "sha256": subject.file.sha256 if subject.file else None,
        "created_at": export.job.created_at,
        "run": export.run,
        "model": export.model,
        "versions": facts.get("versions", {}),
        "checks": [{**asdict(check), "status": check.status} for check in subject.checks],
        "quality": quality.as_dict() if quality else None,
        "recommended": best.quality.type if best else None,
        "answers": asked,
    }


def _page(export: Export, subject: _Subject) -> str:
    style = "".join(
        (ASSETS_DIR / "css" / f"{name}.css").read_text(encoding="utf-8")
        for name in ("card", "quality")
    )
    title = escape(f"Report card: {subject.path.name}")
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in _facts(export, subject)
    )
    checks = "".join(map(_check_row, subject.checks))
    measured = measured_html(export)
    if measured:
        measured = f"<h2>Measured, all files of this export</h2>{measured}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body><main>"
        f'<h1>{title}</h1><p class="verdict {subject.status}">{_VERDICTS[subject.status]}</p>'
        f"<dl class='facts'>{facts}</dl>"
        "<h2>Checks</h2><table class='checks'><thead><tr><th>Result</th><th>Check</th>"
        "<th>Value</th><th>Limit</th><th>What was found</th></tr></thead>"
        f"<tbody>{checks}</tbody></table>{measured}"
        "</main></body></html>\n"
    )


def _facts(export: Export, subject: _Subject) -> list[tuple[str, str]]:
    facts = [("Type", subject.type)]
    if subject.file is not None:
        file = subject.file
        facts += [
            ("Size", f"{file.size_bytes:,} bytes, {file.bits_per_weight:.2f} bits per weight"),
            ("SHA-256", file.sha256),
        ]
    else:
        facts.append(("Kept aside", "It failed a check. Take a type that passed."))
    facts.append(("Made from", f"run {export.run}" if export.run else f"model {export.model}"))
    made = datetime.fromtimestamp(export.job.created_at).isoformat(" ", "minutes")
    return [*facts, ("Export", f"{export.job.id}, {made}")]


def _check_row(check: ExportCheck) -> str:
    value, limit = ("–" if n is None else f"{n:.3g}" for n in (check.value, check.limit))
    cells = "".join(f"<td>{escape(text)}</td>" for text in (check.name, value, limit, check.note))
    status = check.status
    return f"<tr><td class='{status}'>{STATUS_WORDS[status]}</td>{cells}</tr>"
