"""The builder of llama.cpp: pip compiles the pinned version with the slim flags.

Runs as a process of its own (`python -m studio.environment.llama_build`), holds the lock while
it lives and writes how far it is. A wheel in pip's cache is taken as it is.
"""

import os
import re
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from studio.environment import lock, packages, program
from studio.environment.llama import LlamaBuild, LlamaFiles
from studio.environment.pins import LLAMA, read_pins
from studio.errors import SetupError

# 140 build steps in place of 193: no command line tools, no server, no image input
SLIM_FLAGS = (
    "-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_TESTS=OFF "
    "-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF"
)
_GENTLE = 10
_LOCK_SECONDS = 3.0

_COMPILING = re.compile(r"^\s*\*\*\* Building project")
_STEP = re.compile(r"^\s*\[\s*(\d+)(?:/(\d+)|%)\]")
_PHASES = (
    ("Collecting " + LLAMA, "fetching the source"),
    ("Installing build dependencies", "fetching the build tools"),
    ("Preparing metadata", "reading the source"),
    ("*** Configuring CMake", "looking at the compiler"),
    ("*** Installing project", "packing"),
    ("Installing collected packages", "installing"),
)
_NO_COMPILER = re.compile(
    r"No CMAKE_C(XX)?_COMPILER could be found|CMAKE_C(XX)?_COMPILER not set"
    r"|is not able to compile a simple test program|C(XX)? compiler identification is unknown"
    r"|could not find any instance of Visual Studio"
)
_NO_MEMORY = re.compile(r"Killed signal terminated program|out of memory|virtual memory exhausted")
_COMPILER_FIX = {
    "linux": "on Debian and Ubuntu: sudo apt install build-essential; on Fedora: "
    "sudo dnf install gcc gcc-c++ make",
    "darwin": "in a terminal: xcode-select --install",
    "win32": "Visual Studio Build Tools with 'Desktop development with C++'",
}


class BuildProgress:
    """Turns pip's lines into how far the build is."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.phase = "starting"
        self._compiling_since: float | None = None

    def feed(self, line: str) -> bool:
        """Take one line of pip -v; whether it changed anything."""
        if _COMPILING.match(line):
            self._compiling_since = time.monotonic()
            self.phase = "compiling"
            return True
        # before that line, the same brackets come from CMake's trials of the compiler
        if self.phase == "compiling" and (match := _STEP.match(line)):
            self.done, self.total = int(match[1]), int(match[2] or 100)
            return True
        for start, phase in _PHASES:
            if line.lstrip().startswith(start):
                changed, self.phase = phase != self.phase, phase
                return changed
        return False

    def status(self) -> LlamaBuild:
        """The report for those who wait."""
        text = f"llama.cpp: {self.phase}"
        if self.phase == "compiling" and self.total:
            text += f", step {self.done} of {self.total}{self._time_left()}"
        return LlamaBuild("building", self.done, self.total, text + ".")

    def _time_left(self) -> str:
        if self._compiling_since is None or self.done * 10 < self.total:
            return ""
        elapsed = time.monotonic() - self._compiling_since
        minutes = elapsed / self.done * (self.total - self.done) / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", under a minute left"


def build_llama(files: LlamaFiles) -> LlamaBuild:
    """Install the pinned llama-cpp-python here, compiling it unless pip has the wheel."""
    python = Path(sys.executable)
    progress = BuildProgress()
    files.write(progress.status())

    def hear(line: str) -> None:
        if progress.feed(line):
            files.write(progress.status())

    build_dir = files.folder / "llama-build"
    shutil.rmtree(build_dir, ignore_errors=True)
    build_dir.mkdir(parents=True)
    environment = packages.pip_environment(build_dir)
    environment["CMAKE_ARGS"] = f"{SLIM_FLAGS} {os.environ.get('CMAKE_ARGS', '')}".strip()
    environment.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    command = packages.pip_command(python, [read_pins().llama], "--verbose")
    try:
        if find_spec("pip") is None:
            program.follow([python, "-m", "ensurepip"], files.log, environment, hear, _nothing)
        code = program.follow(command, files.log, environment, hear, _nothing)
    finally:
        shutil.rmtree(build_dir, ignore_errors=True)
    if code != 0:
        error = explain_failure(files.log.read_text(encoding="utf-8", errors="replace"), files.log)
        return _failed(error, progress)
    try:
        packages.check_imports(python, ("llama_cpp",))
    except SetupError as error:
        remove: list[str | Path] = [python, "-m", "pip", "uninstall", "--yes", LLAMA]
        program.follow(remove, files.log, environment, _ignore, _nothing)
        return _failed(
            SetupError(
                error.message.replace("The packages are", "llama.cpp is", 1),
                "Empty pip's cache with: python -m pip cache remove llama_cpp_python; then start "
                "the build again.",
                "llama_broken",
            ),
            progress,
        )
    return LlamaBuild("ready", progress.total, progress.total, "llama.cpp is ready.")


def explain_failure(output: str, log: Path) -> SetupError:
    """Why the build failed, as its output tells it."""
    if _NO_COMPILER.search(output):
        how = _COMPILER_FIX.get(sys.platform, "GCC or Clang, with C++")
        return SetupError(
            "llama.cpp could not be built: this machine has no working C and C++ compiler.",
            f"Install one ({how}), then start the build again. Everything but GGUF export and "
            "GGUF chat works without it.",
            "no_compiler",
        )
    if _NO_MEMORY.search(output):
        return SetupError(
            "llama.cpp could not be built: the compiler ran out of memory.",
            "Close other programs, then start the build again.",
            "no_memory",
        )
    error = packages.explain(output, log)
    if error.code != "install_failed":
        return error
    wrong = [line.strip() for line in output.splitlines() if " error: " in line.lower()]
    return SetupError(
        f"llama.cpp could not be built: {wrong[0] if wrong else 'the compiler stopped'}",
        f"Start the build again. The whole output is in {log}.",
        "llama_build_failed",
    )


def _failed(error: SetupError, progress: BuildProgress) -> LlamaBuild:
    return LlamaBuild("failed", progress.done, progress.total, error.message, error.fix, error.code)


def _ignore(line: str) -> None:
    """For programs whose lines only go to the log."""


def _nothing() -> None:
    """For programs that nobody watches between the lines."""


def main(arguments: list[str]) -> int:
    """Build unless another process already does."""
    if "--gentle" in arguments and hasattr(os, "nice"):
        os.nice(_GENTLE)
    files = LlamaFiles()
    # a reader may hold the lock for a moment while it looks
    with lock.hold(files.lock, _LOCK_SECONDS) as held:
        if not held:
            return 0
        result = build_llama(files)
        files.write(result)
    return 0 if result.state == "ready" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
