"""The chat on Export as values: who speaks, which files it opens, what its controls say."""

from pathlib import Path

import gradio as gr
import pytest

from components.chat_pane import Speaker, pane_value
from components.exports_list import export_words, exported_pair
from components.llama_form import BASE_ALONE, build_llama, gpu_control, llama_of, speaker_of
from studio.errors import ConfigError, JobError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.jobs.llama_settings import AdapterUse, LlamaSettings, default_threads, uses_gpu
from studio.paths import Workspace
from studio.results.exports import read_export


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """An export of an adapter with its base, and of one merged file."""
    made = create_job(Workspace.open(tmp_path), "export", "x", {"types": ["Q8_0"]})
    folder = made.folder / "files"
    folder.mkdir()
    events = EventWriter(made.events_path)
    for kind in ("Q8_0", "base-gguf", "adapter-gguf"):
        (folder / f"{kind}.gguf").write_bytes(b"x")
        values = {"type": kind, "path": f"files/{kind}.gguf", "size_bytes": 1}
        events.write("file", **values, bits_per_weight=16.0, sha256="ab")
    events.close()
    return made


@pytest.mark.parametrize(
    ("use", "speaker"),
    [
        (AdapterUse(), Speaker("tuned", "With adapter ×1", told=True)),
        (AdapterUse(scale=0.25), Speaker("tuned", "With adapter ×0.25", told=True)),
        (AdapterUse(scale=0.0), Speaker("base", "Base alone", told=True)),
        (AdapterUse(on=False, scale=2.0), Speaker("base", "Base alone", told=True)),
    ],
)
def test_pane_says_who_speaks(use: AdapterUse, speaker: Speaker) -> None:
    assert speaker_of(use) == speaker
    value = pane_value("x", [], speaker=speaker)
    assert (value["kind"], value["word"]) == (speaker.kind, speaker.word)
    assert value["mark"] == {"by": speaker.word, "kind": speaker.kind}


def test_one_speaker_alone_is_not_told_beside_every_answer() -> None:
    assert pane_value("x", [], speaker=BASE_ALONE)["mark"] == {}
    assert pane_value("x", []) == {"model": "x", "turns": [], "note": "", "token": ""}


def test_adapter_is_opened_with_its_base_and_the_others_alone(job: Job, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    pairs = [
        exported_pair(workspace, job.id, kind) for kind in ("Q8_0", "base-gguf", "adapter-gguf")
    ]
    assert [(file.type, base.type if base else "") for file, base in pairs] == [
        *(("Q8_0", ""), ("base-gguf", ""), ("adapter-gguf", "base-gguf"))
    ]
    assert [file["talks"] for file in export_words(read_export(job))["files"]] == [True] * 3
    (job.folder / "files/base-gguf.gguf").unlink()
    assert [file["talks"] for file in export_words(read_export(job))["files"]] == [True, False]
    with pytest.raises(JobError, match="The base of 'adapter-gguf.gguf'") as caught:
        exported_pair(workspace, job.id, "adapter-gguf")
    assert caught.value.code == "export_file_missing"


def test_threads_begin_with_the_cores_of_this_process() -> None:
    with gr.Blocks():
        form = build_llama("place")
    values = [control.value for control in form.inputs]
    assert values == [default_threads(), -1]
    assert llama_of(form, values) == LlamaSettings(threads=default_threads())
    with pytest.raises(ConfigError, match="Threads is empty"):
        llama_of(form, [None, -1])
    with pytest.raises(ConfigError, match="GPU layers is -3"):
        llama_of(form, [1, -3])


def test_gpu_layers_can_be_set_where_llama_cpp_has_a_gpu_alone() -> None:
    told = gpu_control()
    assert isinstance(told, gr.Number)
    assert told.interactive == uses_gpu()
    assert ("without GPU support" in (told.info or "")) == (not uses_gpu())
