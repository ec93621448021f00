"""A rule that runs strange code, kept in a child process: it may hang or die, training goes on.

Enters: attempts. Leaves: points, or why there are none. A child that took too long is replaced by
a fresh one.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.errors import ConfigError
from studio.training import reward_child

# The child ends itself in time; this is for one that cannot.
_GRACE_SECONDS = 5.0
_END_SECONDS = 1.0
MOST_HANGS = 5


@dataclass(frozen=True)
class Attempt:
    """A prompt's last message, an answer to it, and the row's own answer where it has one."""

    prompt: str
    answer: str
    reference: str | None = None


class RewardFailed(Exception):
    """A rule has no points for an answer; the text says why."""


class RewardProcess:
    """A child process with one rule; it starts with the first attempt.

    `program` holds `kind` and `path`, and `pattern` or `source`; an attempt may take `seconds`.
    """

    def __init__(self, name: str, program: dict[str, Any], seconds: float) -> None:
        self._name = name
        self._program = {**program, "seconds": seconds}
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._n_hangs = 0

    def points(self, attempt: Attempt) -> float:
        """Points of one attempt.

        Raises: RewardFailed when the rule fails on it, takes too long or dies. ConfigError
        (reward_python) when it cannot even start, (reward_too_slow) when it took too long
        MOST_HANGS times.
        """
        if self._child is None:
            self._child = self._started()
        began = time.monotonic()
        answer = self._asked(self._child, asdict(attempt), self._seconds)
        if answer is None:
            self.close()
            raise RewardFailed(self._ended(time.monotonic() - began))
        if "error" in answer:
            raise RewardFailed(answer["error"])
        return float(answer["points"])

    def _ended(self, took_seconds: float) -> str:
        if took_seconds < self._seconds:
            return "its process ended"
        self._n_hangs += 1
        if self._n_hangs < MOST_HANGS:
            return f"it took longer than {self._seconds:g} s"
        raise ConfigError(
            f"The reward '{self._name}' took longer than {self._seconds:g} s for {MOST_HANGS} "
            "answers: training would wait for it.",
            "Make the rule simpler: a pattern without nested repeats, a function without waiting.",
            "reward_too_slow",
        )

    def _started(self) -> subprocess.Popen[bytes]:
        folder = Path(self._program["path"]).parent
        child = subprocess.Popen(
            # Isolated: no code of a folder, a user or a variable comes in beside what was approved.
            [sys.executable, "-I", reward_child.__file__],
            cwd=folder if folder.is_dir() else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        answer = self._asked(child, self._program, reward_child.START_SECONDS)
        if answer is None or "error" in answer:
            _end(child)
            why = answer["error"] if answer else "its process ended while the file was read"
            raise ConfigError(
                f"The reward '{self._name}' cannot start: {why}.",
                "Mend it, try it on the Train tab, and start again.",
                "reward_python",
            )
        return child

    @staticmethod
    def _asked(
        child: subprocess.Popen[bytes], question: dict[str, Any], seconds: float
    ) -> dict[str, Any] | None:
        """The child's answer; None when it ended instead."""
        assert child.stdin and child.stdout
        watch = threading.Timer(seconds + _GRACE_SECONDS, child.kill)
        watch.start()
        try:
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            return None
        finally:
            watch.cancel()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def close(self) -> None:
        """End the child; the next attempt starts another."""
        if self._child is not None:
            _end(self._child)
            self._child = None


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin and child.stdout
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
