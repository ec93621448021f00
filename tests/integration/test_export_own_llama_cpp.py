"""Other families through the user's own llama.cpp folder: a real child process, its progress, its
failures and its end; the scripts here stand where the user's convert_hf_to_gguf.py would.
"""

import json
from pathlib import Path

import psutil
import pytest

from studio.engine.export.own_llama_cpp import convert_with, without_code
from studio.errors import ExportError
from studio.jobs.worker import StopRequested

WRITES = """
import argparse, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path)
parser.add_argument("--outtype")
options = parser.parse_args()
print("Writing:  40%|####      | 1.0M/2.5M", flush=True)
names = sorted(path.name for path in options.model.iterdir())
options.outfile.write_text(options.outtype + " " + " ".join(names))
"""
FAILS = "import sys; print('Traceback: no such pre-tokenizer'); sys.exit(3)"
HANGS = """
import pathlib, sys, time
pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1]).write_text("half")
print("Writing:  10%|#", flush=True)
time.sleep(600)
"""


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
    model: Path, tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    scratch.mkdir()
    own = llama_cpp(tmp_path / "own", WRITES)
    convert_with(own, model, target, "F16", "", scratch, lambda *step: heard.append(step))
    assert target.read_text() == "f16 config.json model.safetensors tokenizer_config.json"
    assert heard[-1] == (100, 100)
    assert {total for _, total in heard} == {100}


def test_its_last_words_are_told_when_it_fails(model: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ExportError) as caught:
        own = llama_cpp(tmp_path / "own", FAILS)
        convert_with(own, model, target, "F16", "", scratch, lambda *_: None)
    assert caught.value.code == "llama_cpp_failed"
    assert "exit status 3" in caught.value.message
    assert "no such pre-tokenizer" in caught.value.message
    assert not target.exists()


def test_a_folder_without_a_converter_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        convert_with(tmp_path, model, tmp_path / "x", "F16", "", tmp_path, lambda *_: None)
    assert caught.value.code == "llama_cpp_folder"


def test_a_cancel_ends_the_child_and_removes_what_it_wrote(model: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "out.gguf.part", tmp_path / "scratch"
    scratch.mkdir()
    before = set(psutil.Process().children())

    def stop_when_it_writes(done: int, total: int) -> None:
        if done == 10:
            assert target.exists()
            raise StopRequested

    with pytest.raises(StopRequested):
        own = llama_cpp(tmp_path / "own", HANGS)
        convert_with(own, model, target, "F16", "", scratch, stop_when_it_writes)
    assert not target.exists()
    assert set(psutil.Process().children()) <= before
