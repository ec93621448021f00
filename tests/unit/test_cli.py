"""The command line without a model: words, settings files, output, and what needs no torch."""

import json
import subprocess
import sys
from argparse import _SubParsersAction
from pathlib import Path
from typing import Any

import pytest

from launch import COMMANDS, HELP
from studio.cli import main
from studio.cli.config_file import read_config_file
from studio.cli.console import Console
from studio.cli.parser import build_parser
from studio.errors import ConfigError, StudioError
from studio.events import EventWriter
from studio.jobs.job import create_job
from studio.jobs.sampling import Sampling
from studio.paths import PROJECT_DIR, Workspace
from studio.settings import knobs, to_dict
from studio.training.config import RunConfig


def last_json(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text.splitlines()[-1])
    return values


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_launch_knows_every_command_of_the_parser() -> None:
    (commands,) = [a for a in build_parser()._actions if isinstance(a, _SubParsersAction)]
    assert {*commands.choices, "ui", "test"} == set(COMMANDS)
    for command in COMMANDS:
        assert f"\n  {command} " in HELP


def test_every_sampling_knob_is_an_option_of_chat_with_its_default() -> None:
    options = build_parser().parse_args(["chat", "starter", "--prompt", "hi"])
    for item in knobs(Sampling):
        assert getattr(options, item.name) == item.default
    given = build_parser().parse_args(
        ["chat", "x", "--prompt", "hi", "--seed", "7", "--max-new-tokens", "9"]
    )
    assert (given.seed, given.max_new_tokens) == (7, 9)


@pytest.mark.parametrize(
    "words",
    [
        ["doctor"],
        ["data", "f.jsonl"],
        ["prepare", "c.yaml"],
        ["synthesize", "c.yaml"],
        ["train", "c.yaml"],
        ["runs"],
        ["compare", "r", "s"],
        ["record", "r"],
        ["repeat", "r", "--out", "f"],
        ["stop", "r"],
        ["resume", "r"],
        ["chat", "t", "--prompt", "p"],
        ["score", "r", "d"],
        ["export", "r"],
    ],
)
def test_every_command_takes_workspace_and_json(words: list[str]) -> None:
    options = build_parser().parse_args([*words, "--workspace", "w", "--json"])
    assert (options.workspace, options.json) == ("w", True)


def test_wrong_usage_exits_with_2_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["chat", "starter"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error [usage]: ")


def test_yaml_settings_are_read_with_files_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    config = read_config_file(
        write(
            tmp_path / "run.yaml",
            "model: base\nname: owl\ndataset:\n  files: [data/rows.jsonl]\n"
            "adapter: {r: 8, lora_alpha: 16}\ntraining:\n  learning_rate: 2e-3\n  max_steps: 5\n",
        )
    )
    assert config.dataset.files == (str(tmp_path / "data" / "rows.jsonl"),)
    assert config.model == str(tmp_path / "base")
    assert (config.name, config.adapter.r, config.training.max_steps) == ("owl", 8, 5)
    assert config.training.learning_rate == 2e-3


def test_json_settings_are_read(tmp_path: Path) -> None:
    text = json.dumps({"model": "starter", "training": {"seed": 3}})
    config = read_config_file(write(tmp_path / "run.json", text))
    assert (config.model, config.training.seed) == ("starter", 3)


def test_an_unknown_key_is_refused_with_the_closest_name(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yaml", "training: {learning_rat: 1e-3}\n")
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert caught.value.message == "run.yaml: training.learning_rat is not a setting."
    assert caught.value.fix == "Did you mean training.learning_rate?"


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("run.yaml", "model: starter\ntraining: [1, 2\nname: x\n", "line 3"),
        ("run.json", '{"model": "starter",\n "name" "x"}', "line 2"),
        ("run.yaml", "just words", "does not hold settings"),
        ("run.yaml", "", "does not hold settings"),
        ("run.yaml", "1: 2\n", "does not hold settings"),
    ],
)
def test_a_broken_settings_file_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str, place: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config_file(write(tmp_path / name, text))
    assert caught.value.code == "config_unreadable"
    assert place in caught.value.message


def test_a_missing_settings_file_is_an_error_with_code_and_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.yaml"
    assert main(["train", str(path), "--workspace", str(tmp_path / "w")]) == 1
    error = capsys.readouterr().err
    assert f"error [config_unreadable]: The settings file '{path}' cannot be read" in error
    assert "\nfix: Give the path of a YAML or JSON file.\n" in error


def test_with_json_an_error_is_also_the_last_line_of_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["stop", "nobody", "--workspace", str(tmp_path), "--json"]
    assert main(words) == 1
    error = last_json(capsys.readouterr().out)["error"]
    assert error["code"] == "job_not_found"
    assert set(error) == {"code", "message", "fix"}


def test_runs_are_listed_as_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace.open(tmp_path)
    job = create_job(workspace, "train", "owl", to_dict(RunConfig(model="starter")))
    assert main(["runs", "--workspace", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["run", "name", "state", "created"]
    assert lines[1].split()[:3] == [job.id, "owl", "queued"]
    assert main(["runs", "--workspace", str(tmp_path), "--json"]) == 0
    runs = last_json(capsys.readouterr().out)["runs"]
    assert [(run["id"], run["state"], run["adapter"]) for run in runs] == [(job.id, "queued", None)]


def test_an_empty_workspace_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--workspace", str(tmp_path)]) == 0
    assert "python launch.py train CONFIG" in capsys.readouterr().out


def test_a_run_that_does_not_run_cannot_be_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = create_job(Workspace.open(tmp_path), "train", "owl", to_dict(RunConfig()))
    EventWriter(job.events_path).write("finished")
    assert main(["stop", job.id, "--workspace", str(tmp_path)]) == 1
    assert "error [job_not_running]" in capsys.readouterr().err


@pytest.mark.parametrize("knob", ["--temperature=-1", "--top-p=0", "--max-new-tokens=0"])
def test_a_sampling_knob_out_of_bounds_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], knob: str
) -> None:
    words = ["chat", "starter", "--prompt", "hi", knob, "--workspace", str(tmp_path)]
    assert main(words) == 1
    assert "error [sampling_out_of_bounds]" in capsys.readouterr().err


def test_threads_gpu_layers_and_adapter_are_options_of_chat_with_their_defaults() -> None:
    options = build_parser().parse_args(["chat", "x.gguf", "--prompt", "hi"])
    assert (options.threads, options.gpu_layers) == (0, -1)
    assert (options.lora, options.scale) == ("", 1.0)
    words = "chat x.gguf --prompt hi --threads 3 --gpu-layers 7 --lora a.gguf --scale 0.5"
    given = build_parser().parse_args(words.split())
    assert (given.threads, given.gpu_layers, given.lora, given.scale) == (3, 7, "a.gguf", 0.5)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["starter", "--lora", "a.gguf"], "gguf_only"),
        (["starter", "--threads", "2"], "gguf_only"),
        (["starter", "--gpu-layers", "0"], "gguf_only"),
        (["starter", "--scale", "0.5"], "gguf_only"),
        (["x.gguf", "--scale", "0.5"], "gguf_only"),
        (["x.gguf", "--lora", "gone.gguf"], "file_not_found"),
        (["x.gguf", "--threads", "-1"], "sampling_out_of_bounds"),
        (["x.gguf", "--scale", "2.5"], "sampling_out_of_bounds"),
    ],
)
def test_options_of_a_file_are_refused_where_they_do_not_belong(
    words: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.gguf", "GGUF")
    assert main(["chat", *words, "--prompt", "hi", "--workspace", str(tmp_path)]) == 1
    assert f"error [{code}]" in capsys.readouterr().err


def test_a_gguf_file_has_no_base_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "model.gguf", "")
    words = ["chat", str(path), "--prompt", "hi", "--base", "--workspace", str(tmp_path)]
    assert main(words) == 1
    assert "error [no_base]" in capsys.readouterr().err


def test_an_unknown_export_type_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "owl", "--types", "Q9", "--workspace", str(tmp_path)]) == 1
    assert "error [export_type]" in capsys.readouterr().err


def test_a_mapping_without_a_column_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "x.csv", "--map", "prompt", "--workspace", str(tmp_path)]
    assert main(words) == 1
    assert "error [bad_mapping]: --map prompt" in capsys.readouterr().err


def test_doctor_names_every_part_with_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "--workspace", str(tmp_path), "--json"])
    report = last_json(capsys.readouterr().out)
    names = [check["name"] for check in report["checks"]]
    assert names == [
        *("python", "packages", "processor", "memory", "gpu", "compiler", "llama"),
        *("workspace", "disk", "starter"),
    ]
    assert {check["status"] for check in report["checks"]} <= {"ok", "warn", "fail"}
    assert all(check["fix"] for check in report["checks"] if check["status"] != "ok")
    assert status == (0 if report["ok"] else 1)


def test_doctor_fails_where_the_workspace_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = write(tmp_path / "file", "")
    assert main(["doctor", "--workspace", str(blocked / "inside")]) == 1
    assert "error [doctor_workspace]" in capsys.readouterr().err


def test_a_table_aligns_words_left_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json_mode=False).table(("name", "loss"), [("a", 1.5), ("longer", 10.25), ("n", None)])
    assert capsys.readouterr().out.splitlines() == [
        "name       loss",
        "a        1.5000",
        "longer  10.2500",
        "n             -",
    ]


def test_json_mode_prints_nothing_but_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json_mode=True)
    console.say("for people")
    console.table(("a",), [("b",)])
    console.note("progress")
    console.error(StudioError("No.", "Do it.", "x"))
    output = capsys.readouterr()
    assert output.out == '{"error": {"code": "x", "message": "No.", "fix": "Do it."}}\n'
    assert output.err == "progress\nerror [x]: No.\nfix: Do it.\n"


def test_the_command_line_starts_without_torch() -> None:
    code = (
        "import importlib, sys\n"
        "from studio.cli import main\n"
        "for name in 'chat data doctor export prepare runs synthesize train'.split():\n"
        "    importlib.import_module(f'studio.cli.{name}')\n"
        "print(sorted(name for name in ('torch', 'transformers', 'gradio') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_is_described_archived_deleted_and_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = create_job(Workspace.open(tmp_path), "train", "owl", {"model": "starter"})
    EventWriter(job.events_path).write("finished")
    place = ["--workspace", str(tmp_path), "--json"]

    def say(*words: str) -> dict[str, Any]:
        assert main([*words, *place]) == 0
        return last_json(capsys.readouterr().out)

    noted = say("note", "owl", "--name", "eagle", "--tags", "a, b", "--archive", "yes")
    assert noted == {
        "run": job.id,
        "name": "eagle",
        "tags": ["a", "b"],
        "notes": "",
        "archived": True,
    }
    assert say("runs")["runs"] == []
    assert [run["name"] for run in say("runs", "--archived", "--search", "B")["runs"]] == ["eagle"]
    assert say("delete", "eagle") == {"run": job.id}
    assert say("runs", "--archived")["runs"] == []
    assert [run["id"] for run in say("runs", "--deleted")["runs"]] == [job.id]
    assert say("restore", "eagle") == {"run": job.id}
    assert [run["id"] for run in say("runs", "--archived")["runs"]] == [job.id]
