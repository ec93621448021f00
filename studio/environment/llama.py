"""llama.cpp, the one long step: compiled after the window is open, by a process of its own.

The state is never stored, it follows from facts: the lock held means building; the pinned
version installed means ready; else the builder's last report says what went wrong.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.environment import lock
from studio.environment.pins import is_met, read_pins
from studio.errors import SetupError
from studio.paths import PROJECT_DIR, write_json

LlamaState = Literal["ready", "building", "failed", "missing"]
_START_SECONDS = 10.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class LlamaBuild:
    """How far llama.cpp is: `done` of `total` build steps (0 of 0 before they are known).

    `message` says it in one sentence; `fix` is the next step where the state is failed.
    """

    state: LlamaState
    done: int = 0
    total: int = 0
    message: str = ""
    fix: str = ""
    code: str = ""


@dataclass(frozen=True)
class LlamaFiles:
    """The builder's lock, log and report, in the environment that gets llama.cpp."""

    folder: Path = Path(sys.prefix) / "lora-studio"

    @property
    def lock(self) -> Path:
        return self.folder / "llama.lock"

    @property
    def log(self) -> Path:
        return self.folder / "llama.log"

    @property
    def report(self) -> Path:
        return self.folder / "llama.json"

    def read(self) -> dict[str, Any]:
        """The builder's last report; {} where there is none."""
        try:
            report: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return report

    def write(self, build: LlamaBuild) -> None:
        """Replace the report."""
        write_json(self.report, vars(build))


def llama_build_status(files: LlamaFiles | None = None) -> LlamaBuild:
    """How far llama.cpp is now; cheap enough to be asked every second."""
    files = files or LlamaFiles()
    held = lock.is_held(files.lock)
    report = files.read()
    reported = LlamaBuild(**report) if report else LlamaBuild("missing")
    if held:
        if reported.state == "building":
            return reported
        return LlamaBuild("building", message="llama.cpp: the build begins.")
    importlib.invalidate_caches()
    if reported.state != "building" and is_met(read_pins().llama):
        return LlamaBuild("ready", message="llama.cpp is ready.")
    if reported.state == "failed":
        return reported
    if reported.state == "building":
        return LlamaBuild(
            "failed",
            reported.done,
            reported.total,
            "The build of llama.cpp was interrupted.",
            "Start it again; it takes a few minutes.",
            "llama_interrupted",
        )
    return LlamaBuild(
        "missing",
        message="llama.cpp is not built yet.",
        fix="Start the build; it takes a few minutes and runs beside your work.",
        code="llama_missing",
    )


def start_llama_build(*, gentle: bool = True) -> LlamaBuild:
    """Have llama.cpp built unless it is there or being built; returns at once.

    The builder goes on when the studio is closed. `gentle` leaves the processor to others first.
    """
    status = llama_build_status()
    if status.state in ("ready", "building"):
        return status
    files = LlamaFiles()
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        files.report.unlink(missing_ok=True)
        output = files.log.open("wb")
    except OSError as error:
        raise SetupError(
            f"llama.cpp cannot be built: {error.strerror}: {files.folder}.",
            "Start the studio with a Python environment that you may write to.",
            "setup_not_writable",
        ) from error
    with output:
        builder = _spawn_builder(output.fileno(), gentle)
    threading.Thread(target=builder.wait, name="reap builder", daemon=True).start()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        status = llama_build_status()
        if status.state != "missing" or builder.poll() is not None:
            break
        time.sleep(0.05)
    return status


def _spawn_builder(output: int, gentle: bool) -> "subprocess.Popen[bytes]":
    flags, detached = 0, True
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        flags |= subprocess.BELOW_NORMAL_PRIORITY_CLASS if gentle else 0
        detached = False
    command = [sys.executable, "-m", "studio.environment.llama_build"]
    return subprocess.Popen(
        command + (["--gentle"] if gentle else []),
        cwd=PROJECT_DIR,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        creationflags=flags,
        start_new_session=detached,  # Ctrl-C and a closed terminal do not reach it
    )


def wait_for_llama(progress: Callable[[LlamaBuild], None]) -> None:
    """Return once llama.cpp is ready, building it if needed; `progress` hears every change.

    Raises: SetupError when it cannot be built.
    """
    status = start_llama_build(gentle=False)
    while status.state == "building":
        progress(status)
        time.sleep(_POLL_SECONDS)
        status = llama_build_status()
    if status.state != "ready":
        raise SetupError(status.message, status.fix, status.code)
