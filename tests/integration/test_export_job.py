"""The export job as a whole: a run becomes checked files; stop and kill leave nothing half."""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from studio.data.messages import Message
from studio.engine.chat.llama import LlamaChat
from studio.engine.export import checks as export_checks
from studio.engine.export import source as export_source
from studio.engine.export.entry import run_export
from studio.errors import ExportError, JobError, StudioError
from studio.events import EventWriter, read_events
from studio.jobs.export import export_sizes, start_export
from studio.jobs.job import Job, create_job, list_jobs, log_tail
from studio.jobs.process import start_worker, wait_until_ended
from studio.jobs.sampling import Sampling
from studio.jobs.worker import StopRequested
from studio.paths import Workspace
from studio.results.exports import list_exports, read_export
from tests.integration.export_models import CHATML, save_model
from tests.integration.test_export_merge import save_adapter
from tests.waiting import wait_for_event

LARGE = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "initializer_range": 0.03,
}
SECONDS = 400.0


class StoppingWriter(EventWriter):
    """Asks for a stop when the job says that `phase` begins."""

    def __init__(self, job: Job, phase: str) -> None:
        super().__init__(job.events_path)
        self._job, self._phase = job, phase

    def write(self, event: str, **values: Any) -> None:
        super().write(event, **values)
        if values.get("name") == self._phase:
            self._job.stop_path.touch()


def export_here(
    workspace: Workspace, config: dict[str, Any], phase_to_stop: str = ""
) -> tuple[Job, dict[str, Any]]:
    """The worker's work in this process: importing torch again takes most of a short job."""
    job = create_job(workspace, "export", "here", {"run": "", "model": "", **config})
    events = StoppingWriter(job, phase_to_stop)
    try:
        return job, run_export(job, workspace, events)
    finally:
        events.close()


def exported(job: Job) -> list[str]:
    """What lies in the job's files folder besides the cards; each file has its two."""
    names = {path.name for path in (job.folder / "files").iterdir()}
    files = sorted(name for name in names if ".card." not in name)
    assert names == {*files, *(f"{name}.card.{end}" for name in files for end in ("html", "json"))}
    return files


def make_run(workspace: Workspace, tmp_path: Path, **settings: Any) -> Job:
    """A finished run's folder: a real adapter on a random model, and the rows it learned."""
    base = save_model(tmp_path / "base", **settings)
    rows = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "Say ä."}, {"role": "assistant", "content": "ä!"}]
    rows.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(4)))
    config = {"model": str(base), "dataset": {"files": [str(rows)], "chat_template": CHATML}}
    run = create_job(workspace, "train", "my run", config)
    save_adapter(base, run.folder / "adapter")
    return run


def test_run_becomes_checked_files_that_chat(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    job = start_export(workspace, run.id, ["Q4_K_M", "F32", "F16"])
    assert wait_until_ended(job, SECONDS) == "finished", log_tail(job)
    (found,) = list_exports(workspace, run.id)
    assert all(check.passed for check in found.checks)
    assert [check.name for check in found.checks if not check.type] == [
        *("merge", "tokens", "prompt", "stops")
    ]
    sizes = {size.type: size.size_bytes for size in export_sizes(workspace, run.id)}
    for file in found.files:
        assert abs(file.size_bytes - sizes[file.type]) < 1_024
        assert file.path.name == f"my-run-{file.type}.gguf"
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        assert {check.name for check in file.checks} == {
            *("merge", "tokens", "prompt", "stops", "file", "logits", "perplexity", "answers")
        }
    finished = read_events(job.events_path)[-1]
    assert [file["type"] for file in finished["files"]] == ["Q4_K_M", "F32", "F16"]
    assert sorted(path.name for path in job.folder.iterdir()) == [
        *("config.json", "events.jsonl", "files", "job.json", "worker.lock", "worker.log")
    ]
    chat = LlamaChat(found.files[0].path)
    pieces = list(chat.stream([Message("user", "Say ä.")], Sampling(max_new_tokens=8)))
    assert (chat.n_tokens <= 8, "".join(pieces).count("\ufffd") <= 8) == (True, True)
    chat.close()


def test_untouched_model_is_exported_without_a_merge(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "some model")
    job, values = export_here(workspace, {"model": str(folder), "types": ["Q8_0"]})
    assert [file["path"] for file in values["files"]] == ["files/some-model-Q8_0.gguf"]
    assert [(check["name"], check["type"]) for check in values["checks"]] == [
        ("tokens", ""),
        ("prompt", ""),
        ("stops", ""),
        ("file", "F16"),
        ("logits", "F16"),
        ("file", "Q8_0"),
        ("logits", "Q8_0"),
    ]
    assert exported(job) == ["some-model-Q8_0.gguf"]
    assert not (job.folder / "work").exists()


@pytest.mark.parametrize("phase", ["merge", "convert F16", "quantize Q2_K", "hash Q2_K"])
def test_stop_leaves_nothing_behind(phase: str, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    with pytest.raises(StopRequested):
        export_here(workspace, {"run": run.id, "types": ["F16", "Q2_K"]}, phase)
    (job,) = list_jobs(workspace, "export")
    assert sorted(path.name for path in job.folder.iterdir()) == [
        *("config.json", "events.jsonl", "job.json", "stop.request")
    ]
    assert read_export(job).files == ()


def test_failed_check_keeps_the_file_aside_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    monkeypatch.setitem(export_checks.KL_LIMITS, "Q2_K", 1e-9)
    with pytest.raises(ExportError, match="check 'logits' of Q2_K failed") as info:
        export_here(workspace, {"model": str(folder), "types": ["Q2_K", "Q8_0"]})
    assert info.value.code == "export_check_failed"
    (job,) = list_jobs(workspace, "export")
    assert exported(job) == ["model-Q2_K.failed.gguf", "model-Q8_0.gguf"]
    card = json.loads((job.folder / "files/model-Q2_K.failed.gguf.card.json").read_text())
    assert (card["status"], card["checks"][-1]["value"] > 1e-9) == ("failed", True)
    found = read_export(job)
    assert [file.type for file in found.files] == ["Q8_0"]
    assert [(c.name, c.type, c.limit) for c in found.checks if not c.passed] == [
        ("logits", "Q2_K", 1e-9)
    ]


def test_too_little_memory_or_disk_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    config = {"model": str(folder), "types": ["Q8_0"]}
    monkeypatch.setattr(export_source, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ExportError, match="GB on the disk") as disk:
        export_here(workspace, config)
    monkeypatch.setattr(export_checks, "_MEMORY_SHARE", 0.0)
    with pytest.raises(ExportError, match="GB of memory") as memory:
        export_here(workspace, config)
    assert (disk.value.code, memory.value.code) == ("disk_full", "export_memory")


def test_base_too_large_for_f16_is_quantized_from_f32(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    # An embedding row of a token that no text uses: huge, and without effect.
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"][-1, 0] = 1e5
    save_file(tensors, path, metadata={"format": "pt"})
    _, values = export_here(workspace, {"model": str(folder), "types": ["Q8_0"]})
    assert {check["type"] for check in values["checks"]} == {"", "F32", "Q8_0"}
    with pytest.raises(ExportError, match="F16 ends at 65504") as info:
        export_here(workspace, {"model": str(folder), "types": ["Q8_0", "F16"]})
    assert info.value.code == "f16_overflow"


def test_kill_leaves_no_file_that_looks_finished_and_the_next_start_sweeps(
    tmp_path: Path,
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path, **LARGE)
    job = start_export(workspace, run.id, ["Q8_0", "Q2_K"])
    wait_for_event(job, "phase", name="quantize Q2_K")
    pid = next(e["pid"] for e in read_events(job.events_path) if e["event"] == "started")
    os.kill(pid, signal.SIGKILL)
    assert wait_until_ended(job, SECONDS) == "lost"
    assert [file.type for file in read_export(job).files] == ["Q8_0"]
    assert [path.name for path in (job.folder / "files").glob("*.gguf")] == ["my-run-Q8_0.gguf"]
    start_worker(job)
    assert wait_until_ended(job, SECONDS) == "finished", log_tail(job)
    assert exported(job) == ["my-run-Q2_K.gguf", "my-run-Q8_0.gguf"]
    assert not (job.folder / "work").exists()


def test_adapter_of_another_model_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    other = save_model(tmp_path / "other", hidden_size=32)
    save_adapter(other, run.folder / "adapter")
    with pytest.raises(ExportError) as info:
        export_here(workspace, {"run": run.id, "types": ["F16"]})
    assert info.value.code == "adapter_mismatch"
    (job,) = list_jobs(workspace, "export")
    assert list((job.folder / "files").iterdir()) == []


def test_run_whose_data_is_gone_is_checked_on_other_texts(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    _, values = export_here(workspace, {"run": run.id, "types": ["Q5_K_M"]})
    assert all(check["passed"] for check in values["checks"])
    assert "Without the run's rows" in values["checks"][-1]["note"]


def test_what_cannot_start_says_why_before_any_work(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    refused: list[tuple[StudioError, str]] = []
    for run_id, types in (("nope", ["F16"]), (run.id, ["Q9"]), (run.id, [])):
        with pytest.raises(StudioError) as info:
            start_export(workspace, run_id, types)
        refused.append((info.value, info.value.code))
    assert [code for _, code in refused] == ["job_not_found", "export_type", "export_type"]
    settings = json.loads((run.folder / "config.json").read_text())
    for change, reason in (
        ({"adapter": {"kind": "prefix"}}, "cannot be merged into it"),
        ({"method": "reward"}, "gives points instead of text"),
    ):
        (run.folder / "config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(ExportError, match=reason):
            start_export(workspace, run.id, ["F16"])
    (run.folder / "config.json").write_text(json.dumps(settings))
    (run.folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(JobError, match="has no adapter yet"):
        start_export(workspace, run.id, ["F16"])
    config = tmp_path / "base" / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "BloomForCausalLM"))
    with pytest.raises(ExportError, match="BloomForCausalLM is not a family"):
        start_export(workspace, "", ["F16"], model=str(tmp_path / "base"))
    assert list_exports(workspace) == []
