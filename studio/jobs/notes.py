"""What a person says about a run afterwards: another name, tags, notes, out of sight or not.

Kept beside config.json, which stays what was trained; written whole or not at all.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.paths import write_json

NOTES = "notes.json"


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """`name` is "" where the run keeps its first one."""

    name: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    archived: bool = False


def read_notes(folder: Path) -> RunNotes:
    """The notes of a run's folder; empty ones where there are none, or they cannot be read."""
    try:
        values = json.loads((folder / NOTES).read_text("utf-8"))
        return RunNotes(
            name=str(values.get("name", "")),
            tags=tuple(map(str, values.get("tags", ()))),
            notes=str(values.get("notes", "")),
            archived=bool(values.get("archived", False)),
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return RunNotes()


def change_notes(folder: Path, **changes: Any) -> RunNotes:
    """Write the notes of a run's folder with these changes; the others stay."""
    notes = replace(read_notes(folder), **changes)
    write_json(folder / NOTES, asdict(notes))
    return notes


def tags_of(text: str) -> tuple[str, ...]:
    """Tags as a person types them, between commas; each once, whatever its capitals."""
    return _once(" ".join(part.split()) for part in text.split(","))


def _once(tags: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for tag in tags:
        if tag:
            first.setdefault(tag.casefold(), tag)
    return tuple(first.values())
