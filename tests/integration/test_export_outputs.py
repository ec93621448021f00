"""What an export gives besides GGUF types: merged folder, adapter folder, adapter as GGUF."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.engine.export import folders
from studio.engine.export import outputs as export_outputs
from studio.errors import ExportError
from studio.jobs.export import start_export
from studio.jobs.job import list_jobs
from studio.jobs.worker import StopRequested
from studio.paths import Workspace
from studio.results.exports import read_export
from tests.integration.test_export_job import export_here, exported, make_run

ALL = ["merged", "adapter", "adapter-gguf"]
IDS = torch.tensor([[5, 6, 7, 8]])


@torch.inference_mode()
def test_every_output_is_written_checked_and_loads_elsewhere(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    job, values = export_here(workspace, {"run": run.id, "types": [], "also": ALL})
    assert [file["type"] for file in values["files"]] == [
        *("merged", "adapter", "base-gguf", "adapter-gguf")
    ]
    assert all(check["passed"] for check in values["checks"])
    files = job.folder / "files"
    assert exported(job) == [
        *("my-run-adapter", "my-run-adapter.gguf", "my-run-base-F16.gguf", "my-run-merged")
    ]
    found = {file.type: file for file in read_export(job).files}
    assert [name for name, file in found.items() if file.talks] == ["base-gguf"]
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    untrained = base(IDS).logits
    tuned = PeftModel.from_pretrained(base, run.folder / "adapter")(IDS).logits
    merged = AutoModelForCausalLM.from_pretrained(files / "my-run-merged", dtype=torch.float32)
    assert float((tuned - untrained).abs().max()) > 0.05
    # What storing in 16 bits costs is not the merge's: peft's own merge, rounded, is the measure.
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    rounded = PeftModel.from_pretrained(whole, run.folder / "adapter").merge_and_unload()
    rounded = rounded.half().float()
    assert float((merged(IDS).logits - rounded(IDS).logits).abs().max()) < 1e-3
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    again = PeftModel.from_pretrained(again, files / "my-run-adapter")
    assert torch.equal(again(IDS).logits, tuned)
    for name in ("my-run-merged", "my-run-adapter"):
        template = AutoTokenizer.from_pretrained(files / name).chat_template
        assert template == (run.folder / "adapter/chat_template.jinja").read_text()
        card = (files / name / "README.md").read_text()
        assert f"- Run: {run.id}" in card and "- Dataset: rows.jsonl" in card
        assert str(tmp_path) not in card
    config = json.loads((files / "my-run-merged/config.json").read_text())
    assert config["dtype"] == "float16"
    assert (files / "my-run-merged/generation_config.json").is_file()


def test_large_merged_model_is_cut_into_shards_with_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    monkeypatch.setattr(folders, "_SHARD_BYTES", 50_000)
    job, _ = export_here(workspace, {"run": run.id, "types": [], "also": ["merged"]})
    folder = job.folder / "files/my-run-merged"
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(shards) > 1
    assert sorted(set(index["weight_map"].values())) == shards


def test_merged_folder_of_the_base_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)

    def untouched(base: Path, adapter: Path, target: Path, *_: object) -> str:
        shutil.copytree(base, target)
        shutil.copyfile(adapter / "chat_template.jinja", target / "chat_template.jinja")
        return "F16"

    monkeypatch.setattr(export_outputs, "write_merged", untouched)
    with pytest.raises(ExportError, match="merging had no effect"):
        export_here(workspace, {"run": run.id, "types": [], "also": ["merged"]})
    (job,) = list_jobs(workspace, "export")
    assert os.listdir(job.folder / "files") == []


@pytest.mark.parametrize("phase", ["write merged model", "check merged model", "hash merged"])
def test_stop_leaves_no_folder(phase: str, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    with pytest.raises(StopRequested):
        export_here(workspace, {"run": run.id, "types": [], "also": ["merged"]}, phase)
    (job,) = list_jobs(workspace, "export")
    assert not (job.folder / "files").exists()


def test_folder_that_lost_a_byte_counts_no_longer(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    job, _ = export_here(workspace, {"run": run.id, "types": [], "also": ["adapter"]})
    (file,) = read_export(job).files
    assert file.size_bytes == sum(path.stat().st_size for path in file.path.iterdir())
    os.truncate(file.path / "README.md", 3)
    assert read_export(job).files == ()


def test_unknown_or_impossible_outputs_are_refused_at_the_start(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    with pytest.raises(ExportError, match="Unknown output 'zip'") as unknown:
        start_export(workspace, run.id, ["F16"], also=["zip"])
    with pytest.raises(ExportError, match="untouched model has no adapter") as untouched:
        start_export(workspace, "", [], model=str(tmp_path / "base"), also=["merged"])
    assert (unknown.value.code, untouched.value.code) == ("export_type", "export_output")
    assert list_jobs(workspace, "export") == []
