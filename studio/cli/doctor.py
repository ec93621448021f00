"""`doctor`: what this computer has, what is missing, and what to do about it, line by line."""

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from studio.cli.console import Console
from studio.environment import llama_build_status
from studio.environment.pins import first_unmet, read_pins
from studio.errors import ModelError, SetupError, StudioError
from studio.models.facts import read_facts
from studio.models.hardware import Hardware, look
from studio.paths import STARTER_DIR, Workspace

_GB = 1e9
_SMALL_RAM_BYTES = 4 * _GB
_SMALL_DISK_BYTES = 5 * _GB
_NO_DISK_BYTES = 0.5 * _GB


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report; `fix` is "" where nothing is to be done."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    fix: str = ""


def run_doctor(options: argparse.Namespace, console: Console) -> int:
    """Report; the exit status is 1 where something fails."""
    findings = list(examine(options.workspace))
    for finding in findings:
        console.say(f"{finding.status:<5} {finding.name:<10} {finding.message}")
        if finding.fix:
            console.say(f"{'':<16} fix: {finding.fix}")
    failed = [finding for finding in findings if finding.status == "fail"]
    for finding in failed:
        console.note(f"error [doctor_{finding.name}]: {finding.message}\nfix: {finding.fix}")
    console.result({"ok": not failed, "checks": [asdict(finding) for finding in findings]})
    return 1 if failed else 0


def examine(workspace: str | None) -> Iterator[Finding]:
    """Every finding, in the order in which a person would mend them."""
    yield _python()
    yield _packages()
    hardware = look()
    yield _processor(hardware)
    yield _memory(hardware)
    yield _gpu(hardware)
    yield _compiler()
    yield _llama()
    yield from _workspace(workspace)
    yield _starter()


def _python() -> Finding:
    version = f"Python {platform.python_version()} in {sys.prefix}"
    return Finding(name="python", status="ok", message=version)


def _packages() -> Finding:
    pins = read_pins()
    unmet = first_unmet(pins.core)
    if unmet is None:
        return Finding(
            name="packages",
            status="ok",
            message=f"all {len(pins.core)} as pinned in pyproject.toml",
        )
    return Finding(
        name="packages",
        status="fail",
        message=f"{unmet} is not installed in this version.",
        fix="Start 'python launch.py' once: it brings the environment up to date.",
    )


def _processor(hardware: Hardware) -> Finding:
    bf16 = "multiplies BF16 in hardware" if hardware.cpu_bf16 else "FP32 arithmetic"
    return Finding(name="processor", status="ok", message=f"{hardware.n_cores} cores, {bf16}")


def _memory(hardware: Hardware) -> Finding:
    free = hardware.ram_total_bytes - hardware.ram_used_bytes
    message = f"{free / _GB:.1f} of {hardware.ram_total_bytes / _GB:.1f} GB free"
    if free < _SMALL_RAM_BYTES:
        return Finding(
            name="memory",
            status="warn",
            message=message,
            fix="Close other programs before training; take small models.",
        )
    return Finding(name="memory", status="ok", message=message)


def _gpu(hardware: Hardware) -> Finding:
    if hardware.gpu is None:
        message = "no NVIDIA GPU: training runs on the processor, best with small models"
        return Finding(name="gpu", status="ok", message=message)
    gpu = hardware.gpu
    return Finding(
        name="gpu",
        status="ok",
        message=f"{gpu.name}, {gpu.free_bytes / _GB:.1f} of {gpu.total_bytes / _GB:.1f} GB free",
    )


def _compiler() -> Finding:
    names = ("cc", "gcc", "clang", "cl")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found:
        return Finding(name="compiler", status="ok", message=found)
    ready = llama_build_status().state == "ready"
    return Finding(
        name="compiler",
        status="warn" if ready else "fail",
        message="there is no C compiler" + (" (llama.cpp is built already)." if ready else "."),
        fix="Install one: 'apt install build-essential', 'xcode-select --install', or Visual "
        "Studio's C++ build tools.",
    )


def _llama() -> Finding:
    build = llama_build_status()
    if build.state == "failed":
        return Finding(name="llama", status="fail", message=build.message, fix=build.fix)
    steps = f" ({build.done} of {build.total} steps)" if build.total else ""
    return Finding(
        name="llama",
        status="ok" if build.state == "ready" else "warn",
        message=build.message + steps,
        fix=build.fix,
    )


def _workspace(chosen: str | None) -> Iterator[Finding]:
    try:
        workspace = Workspace.open(chosen)
        workspace.check_writable()
    except SetupError as error:
        yield Finding(
            name="workspace",
            status="fail",
            message=error.message,
            fix="Choose another folder with --workspace DIR.",
        )
        return
    yield Finding(name="workspace", status="ok", message=str(workspace.root))
    yield _disk(workspace.root)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    message = f"{free / _GB:.1f} GB free where the workspace is"
    if free >= _SMALL_DISK_BYTES:
        return Finding(name="disk", status="ok", message=message)
    return Finding(
        name="disk",
        status="fail" if free < _NO_DISK_BYTES else "warn",
        message=message,
        fix="Free some space, or choose a workspace on a larger disk with --workspace DIR.",
    )


def _starter() -> Finding:
    try:
        if not (STARTER_DIR / "config.json").is_file():
            raise ModelError("The bundled starter model is missing.", "", "starter_missing")
        facts = read_facts(STARTER_DIR)
    except StudioError as error:
        return Finding(
            name="starter",
            status="fail",
            message=error.message,
            fix="Restore the folder assets/starter from the project.",
        )
    return Finding(
        name="starter",
        status="ok",
        message=f"{facts.n_parameters:,} parameters, {facts.size_bytes / 1e6:.1f} MB",
    )
