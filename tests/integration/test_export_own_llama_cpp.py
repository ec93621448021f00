"""Other families through the user's own llama.cpp folder: a real child process, its progress, its
failures and its end, and its files in the gate; the scripts here stand where the user's
convert_hf_to_gguf.py would.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from studio.engine.export.own_llama_cpp import convert_with, without_code
from studio.errors import ExportError
from studio.jobs.export import export_sizes, start_export
from studio.jobs.job import Job
from studio.jobs.worker import StopRequested
from studio.models.facts import read_facts
from studio.models.llama_cpp_folder import keep_folder
from studio.paths import PROJECT_DIR, Workspace
from tests.integration.test_export_job import export_here, exported, make_run

WRITES = """
import argparse, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path)
parser.add_argument("--outtype")
parser.add_argument("--model-name")
options = parser.parse_args()
print("Writing:  40%|####      | 1.0M/2.5M", flush=True)
import os
assert not [name for name in os.environ if "TOKEN" in name]
names = sorted(path.name for path in options.model.iterdir())
options.outfile.write_text(" ".join([options.model_name, options.outtype, *names]))
"""
FAILS = "import sys; print('Traceback: no such pre-tokenizer'); sys.exit(3)"
HANGS = """
import pathlib, sys, time
pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1]).write_text("half")
print("Writing:  10%|#", flush=True)
time.sleep(600)
"""

# A whole converter: the model is a Llama by another name, which only this script knows.
CONVERTS = """
import argparse, json, pathlib, sys
sys.path.insert(0, PROJECT)
from studio.engine.export.convert import write_gguf
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.models.gguf_tensors import n_embedding_rows
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path)
parser.add_argument("--outtype")
parser.add_argument("--model-name")
options = parser.parse_args()
path = options.model / "config.json"
config = json.loads(path.read_text())
path.write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
template = (options.model / "chat_template.jinja").read_text()
tokenizer = texts_for_model(options.model).encoder.tokenizer
vocabulary = read_vocabulary(tokenizer, n_embedding_rows(options.model), TEMPLATE)
write_gguf(options.model, options.outfile, options.outtype.upper(), vocabulary, options.model_name)
""".replace("PROJECT", repr(str(PROJECT_DIR)))


def llama_cpp(folder: Path, script: str) -> Path:
    folder.mkdir()
    (folder / "convert_hf_to_gguf.py").write_text(script)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with code of its own, as some hub models have it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.M"}, "a": 1}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_folder_that_is_converted_has_no_code_and_the_template_of_the_training(
    model: Path, tmp_path: Path
) -> None:
    template = "{% generation %}x{% endgeneration %}"
    plain = without_code(model, tmp_path / "plain", template)
    names = sorted(path.name for path in plain.iterdir())
    wanted = ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer_config.json"]
    assert names == wanted
    assert json.loads((plain / "config.json").read_text()) == {"a": 1}
    shown = "{% if true %}x{% endif %}"
    assert (plain / "chat_template.jinja").read_text() == shown
    assert json.loads((plain / "tokenizer_config.json").read_text())["chat_template"] == shown
    assert (plain / "model.safetensors").read_bytes() == b"weights"
    assert "auto_map" in (model / "config.json").read_text()


def test_the_converter_gets_the_plain_folder_and_tells_its_progress(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_secret")
    heard: list[tuple[int, int]] = []
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    own = llama_cpp(tmp_path / "own", WRITES)
    convert_with(own, model, target, "F16", "my run", "", scratch, lambda *step: heard.append(step))
    assert target.read_text() == "my run f16 config.json model.safetensors tokenizer_config.json"
    assert heard[-1] == (100, 100)
    assert {total for _, total in heard} == {100}


def test_its_last_words_are_told_when_it_fails(model: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    with pytest.raises(ExportError) as caught:
        own = llama_cpp(tmp_path / "own", FAILS)
        convert_with(own, model, target, "F16", "my run", "", scratch, lambda *_: None)
    assert caught.value.code == "llama_cpp_failed"
    assert "exit status 3" in caught.value.message
    assert "no such pre-tokenizer" in caught.value.message
    assert not target.exists()


def test_a_folder_without_a_converter_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        convert_with(
            tmp_path, model, tmp_path / "x", "F16", "", "", tmp_path / "s", lambda *_: None
        )
    assert caught.value.code == "llama_cpp_folder"


def test_a_cancel_ends_the_child_and_removes_what_it_wrote(model: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    before = set(psutil.Process().children())

    def stop_when_it_writes(done: int, total: int) -> None:
        if done == 10:
            assert target.exists()
            raise StopRequested

    with pytest.raises(StopRequested):
        own = llama_cpp(tmp_path / "own", HANGS)
        convert_with(own, model, target, "F16", "my run", "", scratch, stop_when_it_writes)
    assert not target.exists()
    assert set(psutil.Process().children()) <= before


def test_the_script_ends_when_its_worker_is_killed(model: Path, tmp_path: Path) -> None:
    own, target = llama_cpp(tmp_path / "own", HANGS), tmp_path / "out.gguf.part"
    words = (
        "import sys; from pathlib import Path; "
        "from studio.engine.export.own_llama_cpp import convert_with; "
        "own, model, target, scratch = map(Path, sys.argv[1:]); "
        "convert_with(own, model, target, 'F16', 'x', '', scratch, lambda *_: None)"
    )
    command = [sys.executable, "-c", words, str(own), str(model), str(target)]
    worker = subprocess.Popen([*command, str(tmp_path / "scratch")], cwd=PROJECT_DIR)
    while not target.exists():
        assert worker.poll() is None
        time.sleep(0.05)
    (script,) = psutil.Process(worker.pid).children()
    worker.kill()
    worker.wait()
    script.wait(20)


@pytest.fixture
def other_family(tmp_path: Path) -> tuple[Workspace, Job]:
    """A run on a model of a family that the studio's own converter does not know."""
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    path = tmp_path / "base" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "architectures": ["OtherForCausalLM"]}))
    assert read_facts(tmp_path / "base").export_problem
    return workspace, run


def test_another_family_becomes_checked_files(
    other_family: tuple[Workspace, Job], tmp_path: Path
) -> None:
    workspace, run = other_family
    own = llama_cpp(tmp_path / "own", CONVERTS.replace("TEMPLATE", "template"))
    config = {"run": run.id, "types": ["F32", "F16", "Q8_0"], "llama_cpp": str(own)}
    job, result = export_here(workspace, config)
    assert exported(job) == ["my-run-F16.gguf", "my-run-F32.gguf", "my-run-Q8_0.gguf"]
    assert not [check for check in result["checks"] if not check["passed"]]
    names = {check["name"] for check in result["checks"]}
    assert names == {"merge", "tokens", "prompt", "stops", "file", "logits"}
    assert not (job.folder / "work").exists()
    sizes = {size.type: size.size_bytes for size in export_sizes(workspace, run.id)}
    for file in result["files"]:
        assert file["size_bytes"] == pytest.approx(sizes[file["type"]], rel=0.05)


def test_a_file_that_the_script_got_wrong_does_not_pass(
    other_family: tuple[Workspace, Job], tmp_path: Path
) -> None:
    workspace, run = other_family
    wrong = CONVERTS.replace("TEMPLATE", "template.replace('assistant', 'helper')")
    own = llama_cpp(tmp_path / "own", wrong)
    with pytest.raises(ExportError) as caught:
        export_here(workspace, {"run": run.id, "types": ["F16"], "llama_cpp": str(own)})
    assert caught.value.code == "export_check_failed"
    assert "'prompt'" in caught.value.message


def test_what_neither_converts_is_refused_before_any_work(
    other_family: tuple[Workspace, Job], tmp_path: Path
) -> None:
    workspace, run = other_family
    with pytest.raises(ExportError) as caught:
        start_export(workspace, run.id, ["F16"])
    assert caught.value.code == "export_unsupported"
    with pytest.raises(ExportError) as caught:
        start_export(workspace, run.id, ["F16"], llama_cpp=str(tmp_path))
    assert caught.value.code == "llama_cpp_folder"
    keep_folder(workspace, str(llama_cpp(tmp_path / "own", FAILS)))
    with pytest.raises(ExportError) as caught:
        start_export(workspace, run.id, ["F16"], also=["adapter-gguf"])
    assert caught.value.code == "export_output"
    path = tmp_path / "base" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    with pytest.raises(ExportError, match="quantized already"):
        start_export(workspace, run.id, ["F16"])
