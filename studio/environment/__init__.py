"""The machine's side: the project's own Python environment, from nothing to ready.

Standard library only: this runs before anything is installed. In the order of a first start:
`pins` (what is wanted), `venv` (is `.venv` whole; make, update or rebuild it), `packages` (pip
with progress), then the studio opens and `llama` compiles llama.cpp beside it. `chromium` and
`checks` are for the tests.
"""

from studio.environment.checks import run_checks
from studio.environment.llama import (
    LlamaBuild,
    llama_build_status,
    start_llama_build,
    wait_for_llama,
)
from studio.environment.ports import free_port
from studio.environment.venv import enter, repaired_imports

__all__ = [
    "LlamaBuild",
    "enter",
    "free_port",
    "llama_build_status",
    "repaired_imports",
    "run_checks",
    "start_llama_build",
    "wait_for_llama",
]
