"""`launch.py test`: everything that must hold, in the order lint, format, types, tests."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.environment.chromium import VARIABLE, find_chromium
from studio.environment.llama import LlamaFiles, wait_for_llama
from studio.environment.terminal import Steps, duration
from studio.paths import PROJECT_DIR

CHECKS = (
    ("Lint", ("ruff", "check", ".")),
    ("Format", ("ruff", "format", "--check", ".")),
    ("Types", ("mypy",)),
)
# A page, its server and a training share the cores already: those tests go alone. The others wait
# for processes half of the time, so two go at once, each file's in their order in one process.
ALL_TESTS = (
    ("Browser tests", ("pytest", "tests/browser")),
    ("Other tests", ("pytest", "--ignore=tests/browser", "-n2", "--dist=loadfile")),
)


def run_checks(arguments: Sequence[str]) -> int:
    """Prepare what the tests need, then run each check; gives the first failing exit code, or 0.

    A failed check ends it, but for tests: the rest of those run as well.

    `arguments` go to pytest, but for --json (a last line that says how each check ended) and
    --workspace DIR (the tests' own files go below it). Raises: SetupError when something the
    tests need cannot be had: no test is skipped for that.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workspace", type=Path)
    options, for_pytest = parser.parse_known_args(arguments)
    if options.workspace is not None:
        options.workspace.mkdir(parents=True, exist_ok=True)
        # pytest empties this folder first, so it is never the workspace itself
        for_pytest.append(f"--basetemp={(options.workspace / 'test-run').resolve()}")
    checks = (*CHECKS, *_tests(for_pytest))
    steps = Steps(2 + len(checks))
    environment = _prepare(steps)
    results: list[dict[str, Any]] = []
    for name, command in checks:
        begin = time.monotonic()
        with steps.step(f"{name}: {' '.join(command)}"):
            code = _run([sys.executable, "-m", *command], environment)
            if command[0] == "pytest":
                steps.end_with("")  # its own closing line is the last word
            elif code != 0:
                steps.end_with(
                    f"failed after {duration(time.monotonic() - begin)}, exit code {code}"
                )
        seconds = round(time.monotonic() - begin, 1)
        results.append({"name": name.lower(), "exit_code": code, "seconds": seconds})
        if code != 0 and command[0] != "pytest":
            break
    failed = [result["exit_code"] for result in results if result["exit_code"] != 0]
    if options.json:
        state = "failed" if failed else "passed"
        print(json.dumps({"state": state, "checks": results}), flush=True)
    return failed[0] if failed else 0


def _tests(arguments: Sequence[str]) -> Sequence[tuple[str, tuple[str, ...]]]:
    """All of them in two runs of pytest; a single one where `arguments` say which tests."""
    if any(not word.startswith("-") for word in arguments):
        return (("Tests", ("pytest", *arguments)),)
    return tuple((name, (*command, *arguments)) for name, command in ALL_TESTS)


def _prepare(steps: Steps) -> dict[str, str]:
    """Make sure of a Chromium and of llama.cpp; gives the environment for the checks."""
    log = LlamaFiles().folder / "tests.log"
    with steps.step("Find a Chromium for the browser tests"):
        chromium = find_chromium(log, steps)
        steps.say(str(chromium))
    with steps.step("Build llama.cpp, unless it is there"):
        wait_for_llama(lambda build: steps.say(build.message))
    return {**os.environ, VARIABLE: str(chromium), "PYTHONUTF8": "1"}


def _run(command: list[str], environment: dict[str, str]) -> int:
    sys.stdout.flush()
    return subprocess.run(command, cwd=PROJECT_DIR, env=environment).returncode
