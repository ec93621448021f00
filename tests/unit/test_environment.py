"""The environment: pins, stamp, damage, ports, locks, and failures in plain words."""

import ast
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from studio.environment import chromium, free_port, llama_build_status, lock
from studio.environment.llama import LlamaBuild, LlamaFiles
from studio.environment.llama_build import BuildProgress, explain_failure
from studio.environment.packages import PipProgress, explain
from studio.environment.pins import first_unmet, is_met, read_pins, split_pin
from studio.environment.terminal import Steps, duration
from studio.environment.venv import Condition, Environment, refuse_full_disk
from studio.errors import SetupError
from studio.paths import PROJECT_DIR, write_json

LAUNCH = PROJECT_DIR / "launch.py"


def run_launch(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(LAUNCH), *arguments], capture_output=True, text=True)


# launch.py


def test_python_3_6_can_read_launch_py() -> None:
    tree = ast.parse(LAUNCH.read_text(encoding="utf-8"), feature_version=(3, 6))
    assert ast.get_docstring(tree)


def test_an_old_python_is_told_which_one_is_needed_before_anything_else() -> None:
    tree = ast.parse(LAUNCH.read_text(encoding="utf-8"))
    check = next(node for node in tree.body if isinstance(node, ast.If))
    before = tree.body[: tree.body.index(check)]
    assert [ast.unparse(node) for node in before[1:]] == ["import sys"]
    old = SimpleNamespace(version_info=(3, 9, 2), executable="/usr/bin/python3", exit=sys.exit)
    code = compile(ast.Module([check], []), "launch.py", "exec")
    with pytest.raises(SystemExit, match=r"\[python_too_old\].* 3\.11 or newer.* 3\.9 "):
        exec(code, {"sys": old})


def test_an_unknown_command_is_refused_with_the_closest_one() -> None:
    result = run_launch("trian", "config.yaml")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error [unknown_command]: There is no command 'trian'.",
        "fix: Did you mean 'train'?",
    ]


def test_help_lists_every_command_and_prepares_nothing() -> None:
    commands = re.search(r"COMMANDS = (\([^)]*\))", LAUNCH.read_text(encoding="utf-8"))
    assert commands is not None
    result = run_launch("--help")
    listed = re.findall(r"^  (\w+)  +\S", result.stdout, re.MULTILINE)
    assert (result.returncode, tuple(listed)) == (0, ast.literal_eval(commands[1]))
    assert result.stderr == ""


# pins


def test_every_package_is_pinned_in_one_file_only() -> None:
    pins = read_pins()
    text = (PROJECT_DIR / "constraints.txt").read_text(encoding="utf-8")
    bounds = [line for line in text.splitlines() if not line.startswith("#")]
    every = [split_pin(pin) for pin in (*pins.wanted(["test"]), pins.llama, *bounds)]
    names = [re.sub(r"[-_.]+", "-", name).lower() for name, _ in every]
    assert sorted(set(names)) == sorted(names)
    assert not [version for _, version in every if "+" in version]


def test_torch_is_installed_first_and_llama_later() -> None:
    pins = read_pins()
    assert "torch==2.13.0" in pins.core
    assert pins.llama == "llama-cpp-python==0.3.36"
    assert not [pin for pin in pins.wanted(["test"]) if pin.startswith("llama")]


def test_a_loose_pin_is_refused() -> None:
    with pytest.raises(ValueError, match="not pinned as name==version"):
        split_pin("torch>=2.13")


@pytest.mark.parametrize("change", ["pyproject.toml", "constraints.txt"])
def test_any_changed_pin_changes_the_digest(tmp_path: Path, change: str) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT_DIR / name, tmp_path)
    before = read_pins(tmp_path).digest
    path = tmp_path / change
    text = path.read_text(encoding="utf-8")
    path.write_text("# a comment\n" + text, encoding="utf-8")
    assert read_pins(tmp_path).digest == before
    path.write_text(re.sub(r"==(\d+)", r"==9\1", text, count=1), encoding="utf-8")
    assert read_pins(tmp_path).digest != before


def test_the_running_environment_meets_the_pins() -> None:
    assert first_unmet(read_pins().wanted(["test"])) is None


def test_another_version_and_a_missing_package_are_unmet() -> None:
    assert first_unmet(["pytest==0.0.1"]) == "pytest==0.0.1"
    assert is_met("there-is-no-such-package==1.0") is False


# the state of .venv


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A real virtual environment with one package folder in it, stamped as whole."""
    root = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    made = Environment(root)
    (made.packages_dir / "gradio").mkdir()
    made.state_dir.mkdir()
    made.write_stamp(read_pins(), [])
    return made


def test_a_whole_environment_is_ready_within_a_second(environment: Environment) -> None:
    begin = time.monotonic()
    assert environment.condition(read_pins(), []) == Condition("ready")
    assert time.monotonic() - begin < 1.0


def test_no_folder_is_absent(tmp_path: Path) -> None:
    assert Environment(tmp_path / ".venv").condition(read_pins(), []).kind == "absent"


def test_an_environment_without_stamp_is_unstamped(environment: Environment) -> None:
    environment.stamp_path.unlink()
    assert environment.condition(read_pins(), []).kind == "unstamped"
    assert environment.has([]) is True
    assert environment.has(["torch==2.13.0"]) is False


def test_changed_pins_or_a_new_extra_make_it_outdated(environment: Environment) -> None:
    assert environment.condition(read_pins(), ["test"]).kind == "outdated"
    stamp = environment.read_stamp()
    write_json(environment.stamp_path, {**stamp, "pins": "those of another version"})
    assert environment.condition(read_pins(), []).kind == "outdated"


def test_a_deleted_package_is_named(environment: Environment) -> None:
    (environment.packages_dir / "gradio").rmdir()
    assert environment.condition(read_pins(), []) == Condition("broken", "gradio is gone")


def test_a_missing_python_is_broken(environment: Environment) -> None:
    for path in environment.python.parent.glob("python*"):
        path.unlink()
    assert environment.condition(read_pins(), []) == Condition("broken", "its Python does not run")


def test_a_missing_pyvenv_cfg_is_broken(environment: Environment) -> None:
    (environment.root / "pyvenv.cfg").unlink()
    assert environment.condition(read_pins(), []).kind == "broken"


def test_an_interrupted_removal_is_broken_not_absent(environment: Environment) -> None:
    environment.stamp_path.unlink()
    (environment.root / "pyvenv.cfg").unlink()
    assert environment.condition(read_pins(), []).kind == "broken"


def test_another_python_behind_the_environment_is_broken(environment: Environment) -> None:
    write_json(environment.stamp_path, {**environment.read_stamp(), "python": "3.10"})
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert environment.condition(read_pins(), []) == Condition(
        "broken", f"its Python is now {version}, not 3.10"
    )


def test_a_package_that_did_not_load_makes_it_broken(environment: Environment) -> None:
    write_json(environment.stamp_path, {"broken": "No module named 'gradio.themes'"})
    assert environment.condition(read_pins(), []) == Condition(
        "broken", "No module named 'gradio.themes'"
    )


def test_a_damaged_stamp_counts_as_none(environment: Environment) -> None:
    environment.stamp_path.write_text('{"pins": "4', encoding="utf-8")
    assert environment.condition(read_pins(), []).kind == "unstamped"


def test_a_full_disk_is_told_in_gigabytes() -> None:
    free = shutil.disk_usage(PROJECT_DIR).free
    with pytest.raises(SetupError, match=r"[\d.]+ GB free, about \d+ GB needed") as caught:
        refuse_full_disk(free + 5_000_000_000)
    assert caught.value.code == "no_disk"
    assert "Free 5.0 GB" in caught.value.fix


# pip

REFUSED = """\
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after \
connection broken by 'NewConnectionError(': Failed to establish a new connection: [Errno 111] \
Connection refused')': /simple/torch/
ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)
ERROR: No matching distribution found for torch==2.13.0
"""


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        (REFUSED, "no_network", "the package index did not answer"),
        ("ERROR: [Errno 28] No space left on device", "no_disk", "The disk is full"),
        (REFUSED.splitlines()[2], "no_package", "There is no torch==2.13.0 for Python 3."),
        ("ERROR: Cannot install a and b", "install_failed", "ERROR: Cannot install a and b"),
    ],
)
def test_what_pip_says_becomes_what_happened(
    tmp_path: Path, output: str, code: str, words: str
) -> None:
    error = explain(output, tmp_path / "setup.log")
    assert error.code == code
    assert words in error.message
    assert str(tmp_path / "setup.log") in error.fix


def test_the_live_line_says_how_many_which_and_how_far(tmp_path: Path) -> None:
    progress = PipProgress(90, tmp_path, tmp_path)
    progress.feed("Collecting gradio==6.31.0")
    progress.feed("Processing /wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl")
    assert progress.text() == "2 of about 90 packages, torch, 0 s"
    progress.feed("  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (821.0 MB)")
    (tmp_path / "pip-unpack-1").mkdir()
    part = tmp_path / "pip-unpack-1" / "torch-2.13.0-cp311-cp311-linux_x86_64.whl"
    part.write_bytes(bytes(3_000_000))
    assert progress.text() == "2 of about 90 packages, torch (3 MB of 821 MB), 0 s"
    progress.feed("Installing collected packages: torch, gradio")
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    assert progress.text() == "unpacking 1 of 2 packages, 0 s"


def test_steps_are_short_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    steps = Steps(2, out)
    with steps.step("First"):
        steps.say("too quick to be worth a line")
    with steps.step("Second"):
        steps.end_with("failed, exit code 1")
    assert out.getvalue().splitlines() == [
        "[1/2] First",
        "      done in 0 s",
        "[2/2] Second",
        "      failed, exit code 1",
    ]


def test_durations_are_read_in_seconds_then_minutes() -> None:
    assert [duration(0.4), duration(119), duration(185)] == ["0 s", "119 s", "3 min 5 s"]


# llama.cpp


def test_the_builder_counts_build_steps_and_not_the_trials_before() -> None:
    progress = BuildProgress()
    progress.feed("  *** Configuring CMake...")
    progress.feed("      [1/2] /usr/bin/gcc -o CMakeFiles/cmTC_7ea34.dir/testCCompiler.c.o")
    assert progress.status().message == "llama.cpp: looking at the compiler."
    progress.feed("  *** Building project with Ninja...")
    progress.feed("  [12/140] /usr/bin/g++ -DGGML_BUILD -c ggml.cpp")
    assert progress.status() == LlamaBuild(
        "building", 12, 140, "llama.cpp: compiling, step 12 of 140."
    )


def test_the_percentages_of_make_count_too() -> None:
    progress = BuildProgress()
    progress.feed("  *** Building project with Unix Makefiles...")
    progress.feed("  [  7%] Building C object vendor/llama.cpp/ggml/src/ggml.c.o")
    assert (progress.status().done, progress.status().total) == (7, 100)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("CMake Error: No CMAKE_C_COMPILER could be found.", "no_compiler"),
        ("-- The CXX compiler identification is unknown", "no_compiler"),
        ("g++: fatal error: Killed signal terminated program cc1plus", "no_memory"),
        (REFUSED, "no_network"),
        ("ggml.c:1:1: error: unknown type name 'x'\nERROR: Failed", "llama_build_failed"),
    ],
)
def test_a_failed_build_says_why(tmp_path: Path, output: str, code: str) -> None:
    assert explain_failure(output, tmp_path / "llama.log").code == code


def test_llama_is_building_while_the_lock_is_held(tmp_path: Path) -> None:
    files = LlamaFiles(tmp_path)
    report = LlamaBuild("building", 3, 140, "llama.cpp: compiling, step 3 of 140.")
    with lock.hold(files.lock) as held:
        assert held
        files.write(report)
        assert llama_build_status(files) == report


def test_a_build_that_died_is_failed_and_can_start_again(tmp_path: Path) -> None:
    files = LlamaFiles(tmp_path)
    files.write(LlamaBuild("building", 3, 140, "llama.cpp: compiling, step 3 of 140."))
    status = llama_build_status(files)
    assert (status.state, status.done, status.code) == ("failed", 3, "llama_interrupted")
    assert status.message == "The build of llama.cpp was interrupted."


def test_the_pinned_version_installed_is_ready_whatever_failed_before(tmp_path: Path) -> None:
    files = LlamaFiles(tmp_path)
    files.write(LlamaBuild("failed", 3, 140, "no compiler", "install one", "no_compiler"))
    assert llama_build_status(files).state == "ready"


def test_a_lock_is_held_by_one_process_and_let_go_when_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "llama.lock"
    code = (
        "import sys, time; from pathlib import Path; from studio.environment import lock\n"
        "with lock.hold(Path(sys.argv[1])) as held: print(held, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert lock.is_held(path) is True
        with lock.hold(path) as held:
            assert held is False
        holder.kill()
    assert lock.is_held(path) is False


# ports


def test_a_taken_port_gives_the_next_one() -> None:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        taken: int = first.getsockname()[1]
        found = free_port("127.0.0.1", taken)
    assert taken < found <= taken + 99


def test_a_port_closed_a_moment_ago_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the studio's own server
        server.bind(("127.0.0.1", 0))
        server.listen()
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_RDWR)
    assert free_port("127.0.0.1", port) == port


@pytest.mark.parametrize(
    ("host", "port", "code"),
    [
        ("192.0.2.1", 7860, "host_unknown"),
        ("not a host", 7860, "host_unknown"),
        ("127.0.0.1", 0, "port_unknown"),
        ("127.0.0.1", 70000, "port_unknown"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int, code: str) -> None:
    with pytest.raises(SetupError) as caught:
        free_port(host, port)
    assert caught.value.code == code


# the browser of the tests


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the program here")
def test_a_chosen_chromium_that_does_not_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "chromium-browser"
    program.write_text("#!/bin/sh\necho 'Please install the snap package'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv(chromium.VARIABLE, str(program))
    with pytest.raises(SetupError) as caught:
        chromium.find_chromium(tmp_path / "tests.log", Steps(1, io.StringIO()))
    assert caught.value.code == "no_chromium"
    assert str(program) in caught.value.message
