"""What happened, one JSON object a line: the only thing a worker says while it works.

The worker appends (one writer, each line flushed); everyone else follows with a byte offset.
A line that is not finished yet is left for the next look, and one that a power cut has garbled is
passed over, so no file breaks a reader.
"""

import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class EventWriter:
    """Appends events to a file; an unfinished last line of a killed writer is cut off first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._cut_unfinished_line(path)

    def _cut_unfinished_line(self, path: Path) -> None:
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(path, end)

    def write(self, event: str, **values: Any) -> None:
        """Append one event with the time in seconds since the epoch; NaN becomes null."""
        line = {"event": event, "time": round(time.time(), 3), **_finite(values)}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
        self._append(text.encode() + b"\n")

    def _append(self, line: bytes) -> None:
        """All of `line`, or nothing of it where the disk is full."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            os.truncate(self._file.fileno(), end)
            raise

    def close(self) -> None:
        self._file.close()


@dataclass
class EventReader:
    """Follows an event file: `read` gives what was finished since the last call."""

    path: Path
    offset: int = field(default=0)

    def read(self) -> list[Event]:
        """New events; [] where there are none yet. Moves `offset` past the last whole line."""
        events = (parse_line(line) for line in self.read_lines())
        return [event for event in events if event is not None]

    def read_lines(self) -> list[bytes]:
        """As `read`, the lines as they stand there; a file that has become shorter is read anew."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self.offset:
                self.offset = 0
            file.seek(self.offset)
            content = file.read()
        end = content.rfind(b"\n") + 1
        self.offset += end
        return content[:end].splitlines()


def parse_line(line: bytes) -> Event | None:
    """The event of one line; None for what a power cut left (NUL bytes, half a line, nothing)."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def read_events(path: Path) -> list[Event]:
    """All finished events of a file."""
    return EventReader(path).read()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
