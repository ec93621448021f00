"""What a waiting person sees: which step of how many, what is happening in it, how long it took.

Everything goes to stderr: stdout belongs to the command's own answer.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_INDENT = "      "
_QUIET_SECONDS = 5.0  # where lines cannot be rewritten (a file, CI), at most one this often
_WIDTH = 100


class Steps:
    """Numbered steps with one live line under each; plain lines where there is no terminal."""

    def __init__(self, total: int, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._total = total
        self._number = 0
        self._live = self._out.isatty()
        self._shown = ""
        self._shown_at = 0.0
        self._ending: str | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce the next step; say how long it took when it ends well."""
        self._number += 1
        self._print(f"[{self._number}/{self._total}] {title}")
        begin = time.monotonic()
        self._shown_at = begin
        self._ending = None
        try:
            yield
        finally:
            self._clear()
        done = f"done in {duration(time.monotonic() - begin)}"
        ending = done if self._ending is None else self._ending
        if ending:
            self._print(_INDENT + ending)

    def end_with(self, text: str) -> None:
        """End the running step with `text` in place of "done"; "" for nothing at all."""
        self._ending = text

    def say(self, text: str) -> None:
        """Replace the live line under the step; repeated text is not shown again."""
        if text == self._shown:
            return
        if self._live:
            self._clear()
            self._out.write((_INDENT + text)[:_WIDTH])
            self._out.flush()
        elif time.monotonic() - self._shown_at >= _QUIET_SECONDS:
            self._print(_INDENT + text)
        else:
            return
        self._shown = text
        self._shown_at = time.monotonic()

    def _clear(self) -> None:
        if self._live and self._shown:
            self._out.write("\r" + " " * min(len(_INDENT + self._shown), _WIDTH) + "\r")
        self._shown = ""

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def announce(text: str) -> None:
    """One line for the waiting person, outside any step."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """ "41 s" below two minutes, then "3 min 5 s"."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def megabytes(size_bytes: float) -> str:
    """Decimal megabytes, as package indexes count them."""
    return f"{size_bytes / 1e6:.0f} MB"
