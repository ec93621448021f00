"""A Chromium for the browser tests: the one that is installed, else Playwright's, else apt's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.environment import program
from studio.environment.terminal import Steps
from studio.errors import SetupError

VARIABLE = "STUDIO_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
_PLAYWRIGHTS_OWN = (
    "from playwright.sync_api import sync_playwright\n"
    "with sync_playwright() as p: print(p.chromium.executable_path)"
)
_SECONDS = 60


def find_chromium(log: Path, steps: Steps) -> Path:
    """The path of a Chromium that starts, installed now if there is none.

    Raises: SetupError when none can be had.
    """
    if found := next(_installed(), None):
        return found
    ways = [
        ("Playwright's own Chromium", [sys.executable, "-m", "playwright", "install", "chromium"])
    ]
    ways += [("the system's Chromium", command) for command in _apt_commands()]
    for name, command in ways:
        _run(command, log, steps, name)
        if found := next(_installed(), None):
            return found
    raise SetupError(
        "The browser tests need a Chromium; none is installed, and neither Playwright nor the "
        "system's package manager could bring one.",
        "Install Chromium or Google Chrome (on Debian: sudo apt install chromium), or name one "
        f"in the variable {VARIABLE}; then run the tests again. The whole output is in {log}.",
        "no_chromium",
    )


def _installed() -> Iterator[Path]:
    """Every Chromium on this machine that starts, the chosen one first."""
    if chosen := os.environ.get(VARIABLE):
        if not _starts(Path(chosen)):
            raise SetupError(
                f"{VARIABLE} names {chosen}, and that does not start as a Chromium.",
                f"Correct {VARIABLE} or unset it; then run the tests again.",
                "no_chromium",
            )
        yield Path(chosen)
    found = [shutil.which(name) for name in _NAMES]
    candidates = [path for path in (*found, *_PLACES) if path is not None]
    yield from (Path(path) for path in candidates if _starts(Path(path)))
    own = subprocess.run([sys.executable, "-c", _PLAYWRIGHTS_OWN], capture_output=True, text=True)
    path = own.stdout.strip()
    if path and _starts(Path(path)):
        yield Path(path)


def _starts(path: Path) -> bool:
    """Whether `path` runs: on Ubuntu, chromium-browser may only say where to get it."""
    if not path.is_file():
        return False
    if os.name == "nt":  # there, --version opens a window
        return True
    try:
        result = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and "Chrom" in result.stdout


def _apt_commands() -> list[list[str]]:
    """How to install Chromium with apt; [] where that is not there or not allowed."""
    if shutil.which("apt-get") is None:
        return []
    prefix: list[str] = []
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True).returncode:
            return []
        prefix = [sudo, "-n"]
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    install = [*apt, "install", "--yes", "--no-install-recommends", "chromium"]
    return [install, [*apt, "update"], install]


def _run(command: Sequence[str], log: Path, steps: Steps, name: str) -> None:
    steps.say(f"installing {name}")
    program.follow(
        command,
        log,
        os.environ,
        lambda line: steps.say(f"installing {name}: {line.strip()}"),
        lambda: None,
    )
