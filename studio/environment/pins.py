"""What must be installed: the pins of pyproject.toml and constraints.txt, and their digest."""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from studio.paths import PROJECT_DIR

CONSTRAINTS = PROJECT_DIR / "constraints.txt"
LLAMA = "llama-cpp-python"

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)$")


@dataclass(frozen=True)
class Pins:
    """Requirements as pip takes them: `core` for the window, `llama` built later, `extras`."""

    core: tuple[str, ...]
    llama: str
    extras: dict[str, tuple[str, ...]]
    n_constraints: int
    digest: str

    def wanted(self, extras: Iterable[str] = ()) -> tuple[str, ...]:
        """Everything that the first step installs: `core` and the named extras."""
        return self.core + tuple(pin for extra in extras for pin in self.extras[extra])


def read_pins(project: Path = PROJECT_DIR) -> Pins:
    """The pins of the project at `project`; the digest changes with any of them."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = (project / "constraints.txt").read_text(encoding="utf-8")
    dependencies: list[str] = table["dependencies"]
    extras = {name: tuple(pins) for name, pins in table["optional-dependencies"].items()}
    bounds = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    text = "\n".join([*dependencies, *(f"{name}:{pins}" for name, pins in extras.items()), *bounds])
    return Pins(
        core=tuple(pin for pin in dependencies if split_pin(pin)[0] != LLAMA),
        llama=next(pin for pin in dependencies if split_pin(pin)[0] == LLAMA),
        extras=extras,
        n_constraints=len(bounds),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def split_pin(pin: str) -> tuple[str, str]:
    """Name and version of "name==version". Raises: ValueError for anything looser."""
    match = _PIN.match(pin)
    if match is None:
        raise ValueError(f"pyproject.toml: {pin!r} is not pinned as name==version")
    return match[1], match[2]


def is_met(pin: str) -> bool:
    """Whether the running interpreter has `pin`; a local ending such as "+cpu" does not count."""
    name, version = split_pin(pin)
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    # None: a folder without metadata, as an interrupted installation leaves it
    return installed is not None and installed.split("+")[0] == version


def first_unmet(pins: Iterable[str]) -> str | None:
    """The first pin that the running interpreter does not have; None when it has all."""
    return next((pin for pin in pins if not is_met(pin)), None)
