"""The child process of a rule that runs strange code: a person's function, or a pattern.

Started as a script, with the standard library alone. Lines of JSON: first the rule, answered with
{"ready": true}; then attempts, each answered with {"points": …} or {"error": …}. It ends itself
when one takes too long, and when the pipe that feeds it closes.
"""

import contextlib
import faulthandler
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from numbers import Real
from typing import Any

START_SECONDS = 60.0
MOST_BYTES = 4 * 2**30
Rule = Callable[[str, str, "str | None"], Any]


def main() -> None:
    """Serve one rule until the pipe closes."""
    # What the person's code prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    _limit_memory()
    program = json.loads(sys.stdin.buffer.readline())

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    faulthandler.dump_traceback_later(START_SECONDS, exit=True)
    try:
        rule = _loaded(program)
    except Exception as error:
        answer(error=_told(error, program["path"]))
        return
    answer(ready=True)
    faulthandler.cancel_dump_traceback_later()
    for line in sys.stdin.buffer:
        attempt = json.loads(line)
        faulthandler.dump_traceback_later(program["seconds"], exit=True)
        try:
            given = rule(attempt["prompt"], attempt["answer"], attempt["reference"])
            answer(points=_number(given))
        except Exception as error:
            answer(error=_told(error, program["path"]))
        faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    # Not on Windows, which has no such limit.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def _loaded(program: dict[str, Any]) -> Rule:
    if program["kind"] == "regex":
        search = re.compile(program["pattern"]).search
        return lambda prompt, answer, reference: 1.0 if search(answer) else 0.0
    names: dict[str, Any] = {"__name__": "reward", "__file__": program["path"]}
    exec(compile(program["source"], program["path"], "exec"), names)
    rule: Rule | None = names.get("reward")
    if not callable(rule):
        raise NameError("it has no function named reward")
    return rule


def _number(given: Any) -> float:
    if not isinstance(given, Real) or not math.isfinite(given):
        raise TypeError(f"it gave {given!r:.80} instead of a number")
    return float(given)


def _told(error: Exception, path: str) -> str:
    """What went wrong, with the line of the person's own file."""
    text = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, SyntaxError):
        return text
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == path
    ]
    return f"line {lines[-1]}: {text}" if lines else text


if __name__ == "__main__":
    main()
