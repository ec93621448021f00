"""Install packages with pip: progress in one short line, failures in plain words."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.environment import pins, program
from studio.environment.terminal import Steps, duration, megabytes
from studio.errors import SetupError

_COLLECTING = re.compile(
    r"^(?:Collecting |Processing .*[/\\])([A-Za-z0-9._-]+?)(?:[=<>!~;\[ ]|-\d|$)"
)
_DOWNLOADING = re.compile(r"^\s*Downloading (\S+) \(([\d.]+) (kB|MB|GB)\)")
_INSTALLING = re.compile(r"^Installing collected packages: (.+)")
_RETRYING = re.compile(r"Retrying \(Retry\(total=(\d+)")
_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
_WORTH_A_FIGURE_BYTES = 10e6

_NO_NETWORK = re.compile(
    r"Retrying \(Retry\(|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|SSLError|Temporary failure in name resolution|Max retries exceeded"
)
_NO_SPACE = re.compile(r"No space left on device|\[Errno 28\]|not enough space on the disk", re.I)
_NO_VERSION = re.compile(r"No matching distribution found for (\S+)")


@dataclass
class PipProgress:
    """What pip is doing, learned from its lines and from the files it is writing."""

    n_expected: int
    downloads_dir: Path
    packages_dir: Path
    begin: float = field(default_factory=time.monotonic)
    collected: set[str] = field(default_factory=set)
    current: str = ""
    file_name: str = ""
    file_bytes: float = 0.0
    n_installing: int = 0
    n_before: int = 0

    def feed(self, line: str) -> None:
        """Take one line of pip's output."""
        if match := _COLLECTING.match(line):
            self.collected.add(match[1].lower())
            self.current = match[1]
            self.file_name = ""
        elif match := _DOWNLOADING.match(line):
            self.file_name = match[1].rsplit("/", 1)[-1]
            self.file_bytes = float(match[2]) * _UNITS[match[3]]
            self.current = self.file_name.split("-")[0]
        elif match := _INSTALLING.match(line):
            self.n_installing = match[1].count(",") + 1
            self.n_before = self._n_present()
        elif match := _RETRYING.search(line):
            self.current = "the package index does not answer, trying again"

    def text(self) -> str:
        """The live line: how many of how many, which one, how far, since when."""
        elapsed = duration(time.monotonic() - self.begin)
        if self.n_installing:
            n_done = min(max(self._n_present() - self.n_before, 0), self.n_installing)
            return f"unpacking {n_done} of {self.n_installing} packages, {elapsed}"
        n_found = len(self.collected)
        parts = [f"{n_found} of about {max(self.n_expected, n_found)} packages"]
        if self.current:
            parts.append(self.current + self._download())
        return ", ".join([*parts, elapsed])

    def _download(self) -> str:
        if not self.file_name or self.file_bytes < _WORTH_A_FIGURE_BYTES:
            return ""
        written = [path.stat().st_size for path in self.downloads_dir.glob(f"*/{self.file_name}")]
        return f" ({megabytes(max(written, default=0))} of {megabytes(self.file_bytes)})"

    def _n_present(self) -> int:
        return sum(1 for _ in self.packages_dir.glob("*.dist-info"))


def install(
    python: Path, packages_dir: Path, requirements: Sequence[str], log: Path, steps: Steps
) -> None:
    """Install pinned `requirements` into the environment of `python`, under constraints.txt.

    Raises: SetupError with codes no_network, no_disk, no_package or install_failed.
    """
    downloads_dir = log.parent / "downloads"
    shutil.rmtree(downloads_dir, ignore_errors=True)
    downloads_dir.mkdir(parents=True)
    n_expected = pins.read_pins().n_constraints + len(requirements)
    progress = PipProgress(n_expected, downloads_dir, packages_dir)
    offset = log.stat().st_size if log.exists() else 0

    def hear(line: str) -> None:
        progress.feed(line)
        steps.say(progress.text())

    try:
        code = program.follow(
            pip_command(python, requirements),
            log,
            pip_environment(downloads_dir),
            hear,
            lambda: steps.say(progress.text()),
        )
    finally:
        shutil.rmtree(downloads_dir, ignore_errors=True)
    if code != 0:
        raise explain(log.read_bytes()[offset:].decode("utf-8", "replace"), log)


def pip_command(python: Path, requirements: Sequence[str], *options: str) -> list[str | Path]:
    """pip's command line for `requirements` under the project's constraints."""
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    bounds = ["--constraint", str(pins.CONSTRAINTS)]
    return [python, "-m", "pip", "install", *quiet, *options, *bounds, *requirements]


def pip_environment(downloads_dir: Path) -> dict[str, str]:
    """The environment for pip: it installs into its own environment, whatever the user set.

    Downloads lie beside the environment: the system's own folder for temporary files is often a
    small disk in memory, and torch does not fit.
    """
    return {
        **{name: value for name, value in os.environ.items() if name not in _REDIRECTING},
        "TMPDIR": str(downloads_dir),
        "TEMP": str(downloads_dir),
        "TMP": str(downloads_dir),
        "PIP_USER": "0",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }


_REDIRECTING = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH"}


def explain(output: str, log: Path) -> SetupError:
    """What pip's output says about its failure, in plain words with the next step."""
    where = f"The whole output is in {log}."
    if _NO_SPACE.search(output):
        free = megabytes(shutil.disk_usage(log.parent).free)
        return SetupError(
            f"The disk is full: {free} left on the disk of {log.parent}.",
            f"Free some gigabytes, then run the same command again. {where}",
            "no_disk",
        )
    if _NO_NETWORK.search(output):
        return SetupError(
            "The packages could not be downloaded: the package index did not answer.",
            "Check the internet connection (and proxy, if you use one), then run the same "
            f"command again; what was downloaded is kept. {where}",
            "no_network",
        )
    if match := _NO_VERSION.search(output):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return SetupError(
            f"There is no {match[1]} for Python {version} on this kind of machine.",
            f"Start with another Python from 3.11 on, for example python3.11 launch.py. {where}",
            "no_package",
        )
    errors = [line.strip() for line in output.splitlines() if "error" in line.lower()]
    return SetupError(
        f"Installing the packages failed: {errors[-1] if errors else 'pip stopped'}",
        f"Run the same command again. {where}",
        "install_failed",
    )


def check_imports(python: Path, modules: Sequence[str]) -> None:
    """Import `modules` in the environment of `python`. Raises: SetupError when one does not."""
    result = subprocess.run(
        [str(python), "-c", "import " + ", ".join(modules)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        visual_c = " On Windows, install the Microsoft Visual C++ Redistributable first."
        raise SetupError(
            f"The packages are installed but do not load: {lines[-1]}",
            "Run the same command again: the environment is then built anew."
            + (visual_c if os.name == "nt" else ""),
            "environment_broken",
        )
