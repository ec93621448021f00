"""The environment in `.venv`: find out whether it is whole; make, update or rebuild it; enter it.

A stamp beside the packages says for which pins they were installed and what lies there. It is
written last and removed first, so an interrupted installation never looks finished.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NoReturn

from studio.environment import lock, packages
from studio.environment.pins import Pins, first_unmet, read_pins
from studio.environment.terminal import Steps, announce
from studio.errors import SetupError
from studio.paths import PROJECT_DIR, write_json

VENV = PROJECT_DIR / ".venv"
NEEDED_BYTES = 6_000_000_000
_UPDATE_BYTES = 1_000_000_000
_STATE_NAME = "lora-studio"
_OUR_PACKAGES = {"studio", "components", "assets"}
_WAIT_SECONDS = 3600.0
_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
_ENTERED = "LORA_STUDIO_ENTERED"  # set for the process inside .venv: a second try is a failure

Kind = Literal["ready", "absent", "unstamped", "outdated", "broken"]


@dataclass(frozen=True)
class Condition:
    """What `.venv` is, and why in a few words where it is not ready."""

    kind: Kind
    reason: str = ""


@dataclass(frozen=True)
class Environment:
    """A virtual environment in the folder `root`; `must_load` are imported as its last check."""

    root: Path
    must_load: tuple[str, ...] = ("torch", "gradio", "polars", "pyarrow", "tokenizers")

    @property
    def python(self) -> Path:
        return self.root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def state_dir(self) -> Path:
        return self.root / _STATE_NAME

    @property
    def stamp_path(self) -> Path:
        return self.state_dir / "stamp.json"

    @property
    def log_path(self) -> Path:
        return self.state_dir / "setup.log"

    @property
    def packages_dir(self) -> Path:
        if os.name == "nt":
            return self.root / "Lib" / "site-packages"
        found = sorted(self.root.glob("lib/python3*/site-packages"))
        return found[-1] if found else self.root / "lib"

    def read_stamp(self) -> dict[str, Any]:
        """The stamp's values; {} where there is none that can be read."""
        try:
            stamp: dict[str, Any] = json.loads(self.stamp_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp

    def write_stamp(self, pins: Pins, extras: Sequence[str]) -> None:
        """Say that the packages are whole for `pins` with `extras`."""
        names = sorted(path.name for path in self.packages_dir.iterdir())
        lasting = [name for name in names if not name.startswith(("__", "~"))]
        stamp = {
            "pins": pins.digest,
            "extras": sorted(extras),
            "python": self._python_version(),
            "packages": lasting,
        }
        write_json(self.stamp_path, stamp)

    def files(self) -> list[Path]:
        """What lies in the environment, except its lock, logs and stamp."""
        if not self.root.is_dir():
            return []
        return [path for path in self.root.iterdir() if path.name != _STATE_NAME]

    def condition(self, pins: Pins, extras: Sequence[str]) -> Condition:
        """Compare the stamp with the pins and with the disk; starts Python once, 20 ms."""
        stamp = self.read_stamp()
        if not (self.root / "pyvenv.cfg").exists():
            return (
                Condition("broken", "it is not complete") if self.files() else Condition("absent")
            )
        if "broken" in stamp:
            return Condition("broken", stamp["broken"])
        version = self._python_version()
        if version is None:
            return Condition("broken", "its Python does not run")
        if not stamp:
            return Condition("unstamped")
        if stamp["python"] != version:
            return Condition("broken", f"its Python is now {version}, not {stamp['python']}")
        present = set(os.listdir(self.packages_dir)) if self.packages_dir.is_dir() else set()
        missing = [name for name in stamp["packages"] if name not in present]
        if missing:
            return Condition("broken", f"{missing[0]} is gone")
        if stamp["pins"] != pins.digest or not set(extras) <= set(stamp["extras"]):
            return Condition("outdated")
        return Condition("ready")

    def _python_version(self) -> str | None:
        """Such as "3.11", asked of the environment's Python; None when that does not run."""
        if self.is_running():
            return _VERSION
        code = "import sys; print(sys.prefix, '%d.%d' % sys.version_info[:2], sep=chr(10))"
        try:
            result = subprocess.run(
                [str(self.python), "-I", "-c", code], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        answer = result.stdout.splitlines()
        if result.returncode != 0 or Path(answer[0]).resolve() != self.root.resolve():
            return None
        return answer[1]

    def is_running(self) -> bool:
        """Whether this very process runs inside the environment."""
        return Path(sys.prefix).resolve() == self.root.resolve()

    def has(self, wanted: Sequence[str]) -> bool:
        """Ask the environment's own Python whether it has all `wanted` pins."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from studio.environment import pins; "
            "sys.exit(pins.first_unmet(sys.argv[2:]) is not None)"
        )
        command = [str(self.python), "-I", "-c", code, str(PROJECT_DIR), *wanted]
        return subprocess.run(command, capture_output=True).returncode == 0


def enter(launcher: Path, arguments: Sequence[str], extras: Sequence[str] = ()) -> None:
    """Return in an interpreter that has the pins of the project (with `extras`).

    Stays where the running one has them; else prepares `.venv` and runs `launcher` there
    instead, and does not return. Raises: SetupError.
    """
    pins = read_pins()
    environment = Environment(VENV)
    if not environment.is_running():
        if first_unmet(pins.wanted(extras)) is None:
            return
        make_ready(environment, pins, extras)
        _run_instead(environment.python, launcher, arguments)
    condition = environment.condition(pins, extras)
    if condition.kind == "ready":
        if os.environ.get(_ENTERED) == "entered":
            del os.environ[_ENTERED]
        return
    if os.environ.get(_ENTERED):
        raise SetupError(
            f"The environment in {VENV} does not stay whole: {condition.reason}.",
            "Delete that folder, then run the same command again.",
            "environment_broken",
        )
    # a Python cannot rebuild the environment it runs in: let the one below do it
    _run_instead(_base_python(), launcher, arguments)


@contextmanager
def repaired_imports(launcher: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Import the studio inside: a package that does not load has `.venv` rebuilt, once."""
    try:
        yield
        os.environ.pop(_ENTERED, None)
    except ImportError as error:
        if (error.name or "").split(".")[0] in _OUR_PACKAGES:
            raise
        environment = Environment(VENV)
        if not environment.is_running() or os.environ.get(_ENTERED) == "repaired":
            raise SetupError(
                f"A package does not load: {error}.",
                f"Delete the folder {VENV}, leave any other Python environment, then run the "
                "same command again.",
                "environment_broken",
            ) from error
        write_json(environment.stamp_path, {"broken": str(error).split(" (")[0]})
        os.environ[_ENTERED] = "repaired"
        _run_instead(_base_python(), launcher, arguments)


def make_ready(environment: Environment, pins: Pins, extras: Sequence[str]) -> None:
    """Make `environment` hold the pins, whatever it is now; one process at a time.

    Raises: SetupError saying what the machine lacks.
    """
    if environment.condition(pins, extras).kind == "ready":
        return
    _refuse_unwritable(environment)
    path = environment.state_dir / "setup.lock"
    if lock.is_held(path):
        announce("Another start is preparing the environment; waiting for it ...")
    with lock.hold(path, _WAIT_SECONDS) as held:
        if not held:
            raise SetupError(
                "Another start has been preparing the environment for an hour.",
                "End that program, then run the same command again.",
                "setup_busy",
            )
        condition = environment.condition(pins, extras)
        kept = [*environment.read_stamp().get("extras", []), *extras]
        wanted_extras = sorted(set(kept) & set(pins.extras))
        if condition.kind == "ready":
            return
        if condition.kind == "unstamped" and environment.has(pins.wanted(wanted_extras)):
            announce("Taking the environment in .venv as it is.")
            _finish(environment, pins, wanted_extras, Steps(1))
        elif condition.kind == "outdated":
            _update(environment, pins, wanted_extras)
        else:
            _build(environment, pins, wanted_extras, condition)


def _refuse_unwritable(environment: Environment) -> None:
    try:
        if environment.root.is_symlink() or environment.root.is_file():
            environment.root.unlink()
        environment.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The environment cannot be made: {error.strerror}: {environment.state_dir}.",
            "Move the project to a folder that you may write to, then start it there.",
            "setup_not_writable",
        ) from error


def _update(environment: Environment, pins: Pins, extras: Sequence[str]) -> None:
    stamp = environment.read_stamp()
    same = stamp["pins"] == pins.digest
    news = f"Adding what '{', '.join(extras)}' needs" if same else "The needed packages changed"
    announce(f"{news}; updating the environment in .venv.")
    refuse_full_disk(_UPDATE_BYTES)
    environment.stamp_path.unlink(missing_ok=True)
    steps = Steps(2)
    with steps.step("Download and install what is missing"):
        try:
            _install(environment, pins, extras, steps)
        except SetupError as error:
            if error.code == "no_network":  # pip downloads all before it changes anything
                write_json(environment.stamp_path, stamp)
            raise
    _finish(environment, pins, extras, steps)


def _build(
    environment: Environment, pins: Pins, extras: Sequence[str], condition: Condition
) -> None:
    if condition.kind == "absent":
        announce("First start: preparing LoRA Studio's own Python environment in .venv.")
    else:
        reason = condition.reason or "its installation was interrupted"
        announce(f"The environment in .venv is not usable ({reason}); building it again.")
    announce("This takes a few minutes, once. Ctrl-C stops it; the next start goes on.\n")
    steps = Steps(3 if condition.kind == "absent" else 4)
    if condition.kind != "absent":
        with steps.step("Remove the old environment"):
            _clear(environment)
    refuse_full_disk(NEEDED_BYTES)
    if find_spec("ensurepip") is None:
        raise SetupError(
            "This Python comes without the parts that make environments (venv, ensurepip).",
            f"Install them, on Debian and Ubuntu: sudo apt install python{_VERSION}-venv",
            "no_venv",
        )
    with steps.step(f"Make an empty environment (Python {sys.version.split()[0]})"):
        _create(environment)
    n_pins = len(pins.wanted(extras))
    with steps.step(f"Download and install {n_pins} packages and what they need"):
        _install(environment, pins, extras, steps)
    _finish(environment, pins, extras, steps)


def _create(environment: Environment) -> None:
    command = [sys.executable, "-m", "venv", str(environment.root)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise SetupError(
            f"Python could not make an environment: {output.splitlines()[-1] if output else ''}",
            f"Try by hand to see more: {' '.join(command)}",
            "no_venv",
        )


def _install(environment: Environment, pins: Pins, extras: Sequence[str], steps: Steps) -> None:
    packages.install(
        environment.python,
        environment.packages_dir,
        pins.wanted(extras),
        environment.log_path,
        steps,
    )


def _finish(environment: Environment, pins: Pins, extras: Sequence[str], steps: Steps) -> None:
    with steps.step("Check that the packages load"):
        try:
            packages.check_imports(environment.python, environment.must_load)
        except SetupError as error:
            write_json(environment.stamp_path, {"broken": error.message})
            raise
        environment.write_stamp(pins, extras)
    announce("")


def _clear(environment: Environment) -> None:
    """Delete what is in the environment's folder, except its lock and logs."""
    environment.stamp_path.unlink(missing_ok=True)
    for path in environment.files():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def refuse_full_disk(needed_bytes: int) -> None:
    """Raise SetupError where the project's disk has less than `needed_bytes` free."""
    free = shutil.disk_usage(PROJECT_DIR).free
    if free < needed_bytes:
        raise SetupError(
            f"Not enough room on the disk of {PROJECT_DIR}: {free / 1e9:.1f} GB free, about "
            f"{needed_bytes / 1e9:.0f} GB needed.",
            f"Free {(needed_bytes - free) / 1e9:.1f} GB, or move the project to a larger disk; "
            "then run the same command again.",
            "no_disk",
        )


def _base_python() -> Path:
    base: str | None = getattr(sys, "_base_executable", None)
    return Path(base or sys.executable)


def _run_instead(python: Path, launcher: Path, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `python launcher arguments`."""
    command = [str(python), str(launcher.resolve()), *arguments]
    if Environment(VENV).python == python:
        os.environ.setdefault(_ENTERED, "entered")
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # there, exec returns to the shell before the new process ends
        sys.exit(subprocess.run(command).returncode)
    os.execv(command[0], command)
