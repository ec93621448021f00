"""What a command says: results on stdout, as text or as one JSON object; the rest on stderr."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import StudioError

_QUIET_SECONDS = 5.0  # where lines cannot be rewritten (a file, CI), at most one this often
_WIDTH = 100


class Console:
    """`json_mode` silences the text for people, so that stdout is exactly one JSON object."""

    def __init__(self, json_mode: bool) -> None:
        self.json_mode = json_mode
        self._live = sys.stderr.isatty()
        self._shown = ""
        self._shown_at = 0.0

    def say(self, text: str = "", *, end: str = "\n") -> None:
        """Text for people, on stdout."""
        if not self.json_mode:
            self._clear()
            print(text, end=end, flush=True)

    def result(self, values: Mapping[str, Any]) -> None:
        """The command's answer for programs: one line, the last one on stdout."""
        self._clear()
        if self.json_mode:
            print(json.dumps(values, ensure_ascii=False, allow_nan=False), flush=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns as wide as needed; numbers to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
        right = [_is_numeric([row[i] for row in rows]) for i in range(len(header))]
        for line in [list(header), *cells]:
            aligned = [
                text.rjust(width) if to_right else text.ljust(width)
                for text, width, to_right in zip(line, widths, right, strict=True)
            ]
            self.say("  ".join(aligned).rstrip())

    def note(self, text: str) -> None:
        """One line on stderr that stays."""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """The line that shows how far the work is; rewritten in a terminal, rare elsewhere."""
        if text == self._shown:
            return
        if self._live:
            self._clear()
            sys.stderr.write(text[:_WIDTH])
            sys.stderr.flush()
        elif time.monotonic() - self._shown_at >= _QUIET_SECONDS:
            print(text, file=sys.stderr, flush=True)
        else:
            return
        self._shown = text
        self._shown_at = time.monotonic()

    def error(self, error: StudioError) -> None:
        """Code and fix on stderr; with --json also as the last line of stdout."""
        self.note(f"error [{error.code}]: {error.message}\nfix: {error.fix}")
        self.result({"error": {"code": error.code, "message": error.message, "fix": error.fix}})

    def _clear(self) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r" + " " * min(len(self._shown), _WIDTH) + "\r")
            sys.stderr.flush()
            self._shown = ""


def _is_numeric(column: Sequence[object]) -> bool:
    known = [value for value in column if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
