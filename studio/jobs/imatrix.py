"""May importance matrices be made here? A self-test in a process of its own gives the answer.

llama.cpp shows its computation through a layout in memory that a new version may change; where the
self-test does not hold, the types that need a matrix are not offered.
"""

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

from studio.errors import ExportError
from studio.models.gguf_types import NEED_IMATRIX
from studio.paths import PROJECT_DIR

_SECONDS = 60.0


def imatrix_problem() -> str:
    """Why no importance matrix can be made; "" where it can, or llama.cpp is not built yet."""
    return "" if find_spec("llama_cpp") is None else _tested()


@cache
def _tested() -> str:
    command = [sys.executable, "-m", "studio.engine.export.imatrix"]
    try:
        done = subprocess.run(
            command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its self-test did not end within {_SECONDS:.0f} s"
    if done.returncode == 0 and done.stdout.strip() == "holds":
        return ""
    said = done.stderr.strip().splitlines()
    return f"its self-test does not hold with this llama.cpp ({said[-1] if said else 'it crashed'})"


def needs_imatrix(types: Sequence[str], wanted: bool) -> bool:
    """Whether an export of these types makes an importance matrix."""
    return wanted or any(name in NEED_IMATRIX for name in types)


def refuse_without_imatrix(types: Sequence[str], wanted: bool) -> None:
    """Raises: ExportError where a matrix is needed and none can be made."""
    if not needs_imatrix(types, wanted):
        return
    problem = imatrix_problem()
    if problem:
        raise ExportError(
            f"No importance matrix can be made: {problem}.",
            f"Export without it, in other types than {', '.join(NEED_IMATRIX)}.",
            "imatrix_failed",
        )
