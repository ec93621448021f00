"""The environment made for real: venv, pip, damage and repair, with a tiny package of our own."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio.environment.pins import Pins
from studio.environment.venv import Environment, make_ready
from studio.errors import SetupError

PINS = Pins(core=("studio-probe==1.0",), llama="", extras={"test": ()}, n_constraints=1, digest="1")


def make_wheel(folder: Path, version: str, source: str) -> None:
    """A wheel of one module, as pip installs it without a build."""
    info = f"studio_probe-{version}.dist-info"
    files = {
        "studio_probe.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: studio-probe\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"studio_probe-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            record.append(f"{name},sha256={digest.decode()},{len(text)}")
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A place for an environment whose last check is the import of the tiny package."""
    return Environment(tmp_path_factory.mktemp("project") / ".venv", must_load=("studio_probe",))


@pytest.fixture(autouse=True)
def only_our_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip looks into one folder and nowhere else."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "1.0", "VERSION = '1.0'\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def ask(environment: Environment, code: str) -> str:
    command = [str(environment.python), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_first_start_makes_a_whole_environment_and_says_each_step(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ready(environment, PINS, [])
    assert ask(environment, "import studio_probe; print(studio_probe.VERSION)") == "1.0"
    assert environment.condition(PINS, []).kind == "ready"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("First start: preparing LoRA Studio's own Python environment")
    steps = [line for line in captured.err.splitlines() if line.startswith("[")]
    assert steps == [
        f"[1/3] Make an empty environment (Python {sys.version.split()[0]})",
        "[2/3] Download and install 1 packages and what they need",
        "[3/3] Check that the packages load",
    ]


def test_a_second_start_says_and_does_nothing(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    written = environment.stamp_path.stat().st_mtime_ns
    make_ready(environment, PINS, [])
    assert capsys.readouterr().err == ""
    assert environment.stamp_path.stat().st_mtime_ns == written


def test_a_half_installed_environment_is_built_again(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.stamp_path.unlink()
    shutil.rmtree(environment.packages_dir / "studio_probe-1.0.dist-info")
    make_ready(environment, PINS, [])
    assert "(its installation was interrupted); building it again" in capsys.readouterr().err
    assert environment.condition(PINS, []).kind == "ready"


def test_a_whole_environment_without_stamp_is_taken_as_it_is(environment: Environment) -> None:
    environment.stamp_path.unlink()
    kept = environment.packages_dir / "kept"
    kept.mkdir()
    make_ready(environment, PINS, [])
    assert environment.condition(PINS, []).kind == "ready"
    assert kept.is_dir()


def test_changed_pins_update_the_environment_in_place(
    environment: Environment, only_our_wheels: Path
) -> None:
    make_wheel(only_our_wheels, "2.0", "VERSION = '2.0'\n")
    newer = Pins(("studio-probe==2.0",), "", {"test": ()}, 1, digest="2")
    make_ready(environment, newer, [])
    assert ask(environment, "import studio_probe; print(studio_probe.VERSION)") == "2.0"
    assert (environment.packages_dir / "kept").is_dir()


def test_without_a_network_it_says_so_and_keeps_what_is_there(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    newer = Pins(("studio-probe==2.5",), "", {"test": ()}, 1, digest="2.5")
    stamp = environment.read_stamp()
    with pytest.raises(SetupError, match="the package index did not answer") as caught:
        make_ready(environment, newer, [])
    assert caught.value.code == "no_network"
    assert environment.read_stamp() == stamp
    assert environment.condition(newer, []).kind == "outdated"


def test_an_installation_that_failed_leaves_no_stamp(environment: Environment) -> None:
    newer = Pins(("studio-probe==2.5",), "", {"test": ()}, 1, digest="2.5")
    with pytest.raises(SetupError, match="There is no studio-probe==2.5 for Python") as caught:
        make_ready(environment, newer, [])
    assert caught.value.code == "no_package"
    assert environment.read_stamp() == {}


def test_a_package_that_does_not_load_is_told_and_built_again_next_time(
    environment: Environment, only_our_wheels: Path
) -> None:
    make_wheel(only_our_wheels, "3.0", "raise ImportError('libprobe.so: cannot open')\n")
    broken = Pins(("studio-probe==3.0",), "", {"test": ()}, 1, digest="3")
    with pytest.raises(SetupError, match=r"do not load: ImportError: libprobe\.so") as caught:
        make_ready(environment, broken, [])
    assert caught.value.code == "environment_broken"
    assert environment.condition(broken, []).kind == "broken"
