"""The real commands in processes of their own, on a tiny model: what scripts may rely on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.data.recipe import DatasetRecipe
from studio.events import read_events
from studio.jobs.job import find_job, list_jobs, state_of
from studio.paths import PROJECT_DIR, Workspace
from studio.text.examples import encoder_for

LAUNCH = [sys.executable, str(PROJECT_DIR / "launch.py")]
TRAIN_KEYS = [
    "run",
    "state",
    "adapter",
    "n_steps",
    "train_loss_first",
    "train_loss_last",
    "eval_loss",
    "tokens_per_second",
    "peak_memory_bytes",
    "elapsed_seconds",
]

Command = Callable[..., subprocess.CompletedProcess[str]]


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli-workspace")


@pytest.fixture(scope="module")
def command(root: Path) -> Command:
    """Runs a command on the module's workspace from a folder that is not the project's."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LAUNCH, *words, "--workspace", str(root)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


def settings(llama_folder: Path, chat_file: Path, **training: object) -> str:
    """A run's settings as JSON, which is YAML too; the data file named relative to it."""
    return json.dumps(
        {
            "model": str(llama_folder),
            "name": "cli run",
            "dataset": {"files": [chat_file.name], "validation_share": 0.15},
            "adapter": {"r": 4, "lora_alpha": 8},
            "training": {
                "learning_rate": 5e-3,
                "max_length": 256,
                "precision": "fp32",
                "per_device_train_batch_size": 4,
                **training,
            },
        }
    )


@pytest.fixture(scope="module")
def config_path(llama_folder: Path, chat_file: Path) -> Path:
    path = chat_file.parent / "run.yaml"
    path.write_text(settings(llama_folder, chat_file, max_steps=6), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(command: Command, config_path: Path) -> dict[str, Any]:
    return result(command("train", str(config_path), "--json"))


def test_train_gives_the_documented_keys_and_a_trained_adapter(trained: dict[str, Any]) -> None:
    assert list(trained) == TRAIN_KEYS
    assert (trained["state"], trained["n_steps"]) == ("finished", 6)
    assert (Path(trained["adapter"]) / "adapter_model.safetensors").is_file()
    for key in TRAIN_KEYS[4:]:
        assert trained[key] > 0, key


def test_runs_list_what_was_trained(command: Command, trained: dict[str, Any]) -> None:
    runs = result(command("runs", "--json"))["runs"]
    run = next(run for run in runs if run["id"] == trained["run"])
    assert (run["name"], run["state"], run["step"], run["n_steps"]) == (
        "cli run",
        "finished",
        6,
        6,
    )
    assert run["dataset"] == "chat.jsonl"
    assert run["train_loss_last"] == trained["train_loss_last"]


def test_data_shows_layout_lengths_and_the_labels_that_are_trained_on(
    command: Command, llama_folder: Path, chat_file: Path
) -> None:
    words = ["data", str(chat_file), "--model", str(llama_folder), "--row", "3", "--json"]
    found = result(command(*words))
    assert list(found) == [
        *("layout", "n_rows", "columns", "mapping", "findings", "tokens", "row"),
    ]
    assert (found["layout"], found["n_rows"], found["columns"]) == ("messages", 28, ["messages"])
    assert found["mapping"] == {"messages": "messages"}
    assert list(found["tokens"]) == ["p50", "p95", "p99", "max", "n_truncated"]
    assert all(list(finding) == ["code", "row", "message", "fix"] for finding in found["findings"])
    row = found["row"]
    assert list(row) == ["messages", "text", "input_ids", "labels"]
    third = json.loads(chat_file.read_text().splitlines()[2])
    assert row["messages"] == third["messages"]
    trained_ids = [label for label in row["labels"] if label != -100]
    answer = third["messages"][1]["content"]
    tokenizer = encoder_for(llama_folder, DatasetRecipe(), 512).tokenizer
    assert tokenizer.decode(trained_ids) == answer + "<|im_end|>"


def test_data_without_a_row_says_null_and_a_row_too_far_is_an_error(
    command: Command, llama_folder: Path, chat_file: Path
) -> None:
    words = ["data", str(chat_file), "--model", str(llama_folder), "--json"]
    assert result(command(*words))["row"] is None
    done = command(*words, "--row", "29")
    assert done.returncode == 1
    assert (
        done.stderr.count("error [row_not_found]: There is no row 29: the file has 28 rows.") == 1
    )
    assert "fix: Choose a row from 1 to 28." in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "row_not_found"


def test_chat_answers_the_same_for_the_same_seed_and_otherwise_with_the_base(
    command: Command, trained: dict[str, Any]
) -> None:
    words = ["chat", trained["run"], "--prompt", "Say: stone", "--max-new-tokens", "24", "--json"]
    hot = ["--temperature", "0.9", "--seed", "5"]
    first, again, base = (result(command(*words, *hot, *more)) for more in ([], [], ["--base"]))
    assert list(first) == ["text", "n_tokens", "tokens_per_second"]
    assert (first["text"], first["n_tokens"]) == (again["text"], again["n_tokens"])
    assert 0 < first["n_tokens"] <= 24 and first["tokens_per_second"] > 0
    assert base["text"] != first["text"]


def test_chat_prints_the_answer_for_people(command: Command, llama_folder: Path) -> None:
    done = command("chat", str(llama_folder), "--prompt", "Say: stone", "--max-new-tokens", "8")
    assert done.returncode == 0
    assert done.stdout.strip() != ""
    assert "8 tokens" in done.stderr and "cut at --max-new-tokens" in done.stderr


@pytest.fixture(scope="module")
def exported(command: Command, trained: dict[str, Any]) -> dict[str, Any]:
    return result(command("export", trained["run"], "--types", "F16,Q8_0", "--json"))


def test_export_gives_the_documented_keys_files_and_passed_checks(
    exported: dict[str, Any], trained: dict[str, Any]
) -> None:
    assert list(exported) == ["files", "checks", "quality", "recommended"]
    assert [file["type"] for file in exported["files"]] == ["F16", "Q8_0"]
    for file in exported["files"]:
        assert list(file) == ["type", "path", "size_bytes", "bits_per_weight", "sha256", "card"]
        assert Path(file["card"]).is_file()
        assert Path(file["path"]).stat().st_size == file["size_bytes"]
        assert len(file["sha256"]) == 64
    assert {"tokens", "prompt", "logits"} <= {check["name"] for check in exported["checks"]}
    for check in exported["checks"]:
        assert list(check) == ["name", "passed", "status", "value", "limit"]
        assert check["passed"] is True


def test_an_exported_file_answers_as_the_run_does(
    command: Command, exported: dict[str, Any], trained: dict[str, Any]
) -> None:
    words = ["--prompt", "Say: stone", "--max-new-tokens", "12", "--json"]
    from_file = result(command("chat", exported["files"][0]["path"], *words))
    from_run = result(command("chat", trained["run"], *words))
    assert list(from_file) == ["text", "n_tokens", "tokens_per_second"]
    assert from_file["text"] == from_run["text"]


def test_an_unknown_setting_stops_train_before_a_run_exists(
    command: Command, root: Path, tmp_path: Path
) -> None:
    before = len(list_jobs(Workspace(root)))
    path = tmp_path / "bad.yaml"
    path.write_text("adapter:\n  lora_alpa: 4\n")
    done = command("train", str(path), "--json")
    assert done.returncode == 1
    assert "error [config]: bad.yaml: adapter.lora_alpa is not a setting." in done.stderr
    assert "fix: Did you mean adapter.lora_alpha?" in done.stderr
    assert len(list_jobs(Workspace(root))) == before


def test_a_finished_run_cannot_be_resumed(command: Command, trained: dict[str, Any]) -> None:
    done = command("resume", trained["run"], "--json")
    assert done.returncode == 1
    assert "error [job_not_resumable]" in done.stderr


class LongRun:
    """`train` in a terminal of its own on a run that does not end by itself."""

    def __init__(self, root: Path, config: Path) -> None:
        self.workspace = Workspace.open(root)
        self.process = subprocess.Popen(
            [*LAUNCH, "train", str(config), "--json", "--workspace", str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for("step")
        self.job = list_jobs(self.workspace)[0]

    def wait_for(self, event: str) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self.process.poll() is None:
            jobs = list_jobs(self.workspace)
            if jobs and any(e["event"] == event for e in read_events(jobs[0].events_path)):
                return
            time.sleep(0.1)
        for job in list_jobs(self.workspace):
            job.stop_path.touch()
        self.process.kill()
        raise AssertionError(f"no event '{event}': {self.process.communicate()}")

    @property
    def worker(self) -> psutil.Process:
        started = [e for e in read_events(self.job.events_path) if e["event"] == "started"]
        return psutil.Process(started[-1]["pid"])

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def output(self) -> tuple[str, str]:
        return self.process.communicate(timeout=300)


@pytest.fixture
def long_run(tmp_path: Path, llama_folder: Path, chat_file: Path) -> Iterator[LongRun]:
    config = chat_file.parent / "long.json"
    text = settings(llama_folder, chat_file, max_steps=100_000, save_steps=50, eval_steps=50_000)
    config.write_text(text, encoding="utf-8")
    run = LongRun(tmp_path / "workspace", config)
    yield run
    for process in (run.process, run.worker) if psutil.pid_exists(run.worker.pid) else ():
        process.kill()


def test_control_c_stops_the_run_and_keeps_it_and_it_can_go_on(long_run: LongRun) -> None:
    # The terminal's Ctrl-C goes to a whole group of processes: the worker is not in it.
    assert os.getpgid(long_run.worker.pid) != os.getpgid(long_run.process.pid)
    long_run.interrupt()
    out, err = long_run.output()
    assert long_run.process.returncode == 0, err
    assert "Stopping after this step; what was learned is kept." in err
    values = json.loads(out)
    assert (list(values), values["state"]) == (TRAIN_KEYS, "stopped")
    assert 0 < values["n_steps"] < 100_000
    assert (Path(values["adapter"]) / "adapter_model.safetensors").is_file()

    root = str(long_run.workspace.root)
    words = ["resume", values["run"], "--background", "--json", "--workspace", root]
    resumed = subprocess.run([*LAUNCH, *words], capture_output=True, text=True, timeout=300)
    assert list(result(resumed)) == ["run", "state"]
    words = ["stop", values["run"], "--json", "--workspace", root]
    stopped = subprocess.run([*LAUNCH, *words], capture_output=True, text=True, timeout=300)
    assert result(stopped) == {"run": values["run"], "state": "stopped"}


def test_a_second_control_c_leaves_the_run_in_the_background(long_run: LongRun) -> None:
    worker = long_run.worker
    worker.suspend()  # so that it cannot stop before the second Ctrl-C
    long_run.interrupt()
    deadline = time.monotonic() + 20
    while not long_run.job.stop_path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    long_run.interrupt()
    out, err = long_run.output()
    assert long_run.process.returncode == 130
    assert "in the background" in err.splitlines()[-1]
    assert json.loads(out)["state"] == "stopping"
    assert worker.is_running()
    worker.resume()
    deadline = time.monotonic() + 60
    while state_of(find_job(long_run.workspace, long_run.job.id)) != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_worker_fails_the_command_and_resume_goes_on(long_run: LongRun) -> None:
    long_run.wait_for("checkpoint")
    long_run.worker.kill()
    out, err = long_run.output()
    assert long_run.process.returncode == 1
    assert "error [run_lost]" in err and "fix: Resume the run" in err
    assert json.loads(out)["state"] == "lost"
    words = ["resume", long_run.job.id, "--workspace", str(long_run.workspace.root), "--json"]
    resumed = subprocess.Popen([*LAUNCH, *words], stdout=subprocess.PIPE, text=True)
    long_run.process = resumed
    long_run.wait_for("resumed")
    resumed.send_signal(signal.SIGINT)
    out, _ = long_run.output()
    assert (resumed.returncode, json.loads(out)) == (
        0,
        {"run": long_run.job.id, "state": "stopped"},
    )
