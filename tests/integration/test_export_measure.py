"""Quality and answers of exported files, against transformers and numpy; the cards beside them."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from studio.engine.export import entry as export
from studio.engine.export.checks import llama_logits
from studio.engine.export.held_out import held_out_of_model, held_out_of_run
from studio.engine.export.quality import store_bytes
from studio.engine.export.source import read_source
from studio.events import read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.results.exports import Export, read_export
from studio.training.config import read_config
from tests.integration.export_models import CHATML, save_model
from tests.integration.test_export_job import export_here, make_run

TYPES = ["F16", "Q8_0", "Q2_K"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Job, Export]:
    """A run over rows with validation rows among them, exported and measured."""
    tmp_path = tmp_path_factory.mktemp("measured")
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    rows = [{"prompt": f"Say {n}.", "completion": f"{n} is said, <b>{n}</b>."} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = json.loads((run.folder / "config.json").read_text())
    config["dataset"]["validation_share"] = 0.25
    (run.folder / "config.json").write_text(json.dumps(config))
    job, _ = export_here(workspace, {"run": run.id, "types": TYPES, "measure": True})
    return workspace, run, read_export(job)


def test_perplexity_is_that_of_the_answers_in_transformers(
    measured: tuple[Workspace, Job, Export],
) -> None:
    workspace, run, found = measured
    config = read_config(run.config(), "config.json")
    base = Path(config.model)
    held_out = held_out_of_run(config, base, workspace)
    assert held_out.rows == "10 validation rows"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, run.folder / "adapter").merge_and_unload()
    nll: list[float] = []
    for row in held_out.sequences:
        with torch.inference_mode():
            log_p = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        nll += [-float(log_p[place, row.ids[place + 1]]) for place in row.places]
    f16 = found.qualities[0]
    assert (f16.type, f16.n_places, f16.mean_kl, f16.same_choice) == ("F16", len(nll), 0.0, 1.0)
    assert f16.perplexity == pytest.approx(np.exp(np.mean(nll)), rel=2e-3)


def test_divergence_is_what_numpy_gives_for_the_same_files(
    measured: tuple[Workspace, Job, Export],
) -> None:
    workspace, run, found = measured
    config = read_config(run.config(), "config.json")
    held_out = held_out_of_run(config, Path(config.model), workspace)
    paths = {file.type: file.path for file in found.files}
    ids = [row.ids for row in held_out.sequences]
    kl: list[float] = []
    same: list[bool] = []
    both = (llama_logits(paths["F16"], ids), llama_logits(paths["Q2_K"], ids))
    for row, f16, q2 in zip(held_out.sequences, *both, strict=True):
        log_p, log_q = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (f16, q2))
        kl += list((np.exp(log_p) * (log_p - log_q)).sum(-1)[row.places])
        same += list((f16.argmax(-1) == q2.argmax(-1))[row.places])
    q8, q2_k = found.qualities[1:]
    assert q2_k.mean_kl == pytest.approx(np.mean(kl), rel=1e-3)
    assert q2_k.tail_kl == pytest.approx(np.percentile(kl, 99), rel=1e-3)
    assert q2_k.same_choice == pytest.approx(np.mean(same))
    assert 0 < q8.mean_kl < q2_k.mean_kl


def test_answers_of_each_file_stand_beside_those_of_base_and_tuned_model(
    measured: tuple[Workspace, Job, Export],
) -> None:
    _, _, found = measured
    assert [one.type for one in found.answers] == ["base", "tuned", *TYPES]
    tuned, f16 = found.answers_of("tuned"), found.answers_of("F16")
    assert tuned is not None and f16 is not None
    assert len(tuned.answers) == 10
    assert all(one.reference and one.reference.endswith("</b>.") for one in tuned.answers)
    checks = {check.type: check for check in found.checks if check.name == "answers"}
    assert checks["F16"].value == 10 - f16.n_same(tuned)
    # llama.cpp ends at <|endoftext|> by that token's name; the template ends turns otherwise.
    for expected, got in zip(tuned.answers, f16.answers, strict=True):
        assert got.same(expected) or (got.stopped and expected.text.startswith(got.text))
    assert (
        "Exactly the row's answer: 0 of 10 (the base 0, the tuned model 0)." in checks["F16"].note
    )


def test_every_file_has_a_card_for_programs_and_one_for_people(
    measured: tuple[Workspace, Job, Export],
) -> None:
    _, run, found = measured
    for file in found.files:
        name = file.path.name
        card = json.loads((file.path.parent / f"{name}.card.json").read_text())
        assert card["sha256"] == file.sha256
        assert (card["run"], card["type"], card["status"]) == (run.id, file.type, file.status)
        assert [check["name"] for check in card["checks"]] == [
            *("merge", "tokens", "prompt", "stops", "file", "logits", "perplexity", "answers")
        ]
        assert card["quality"]["rows"] == "10 validation rows"
        assert card["answers"].keys() == {"base", "tuned", file.type}
        page = (file.path.parent / f"{name}.card.html").read_text()
        assert file.sha256 in page and "Quality against size" not in page
        assert "<b>0</b>" not in page
        assert "http" not in page.replace("http-equiv", "")


def test_untouched_model_is_measured_on_the_studios_own_texts(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    config: dict[str, Any] = {"model": str(folder), "types": ["Q8_0"], "measure": True}
    job, _ = export_here(workspace, config)
    found = read_export(job)
    assert [quality.type for quality in found.qualities] == ["Q8_0"]
    assert found.qualities[0].rows == "the studio's own texts"
    assert [one.type for one in found.answers] == ["tuned", "Q8_0"]
    assert sorted(os.listdir(job.folder / "files")) == [
        *("model-Q8_0.gguf", "model-Q8_0.gguf.card.html", "model-Q8_0.gguf.card.json")
    ]


def test_a_model_without_a_chat_goes_on_with_prose(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    held_out = held_out_of_model(folder)
    assert [len(row.places) for row in held_out.sequences] == [
        len(row.ids) - 1 for row in held_out.sequences
    ]
    assert all(one.reference is None for one in held_out.questions)
    assert len(held_out.questions) == 2


def test_disk_is_asked_for_the_reference_too(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    config: dict[str, Any] = {"model": str(folder), "types": ["Q8_0"], "measure": True}
    source = read_source(config, workspace)
    assert source.held_out is not None
    bytes_needed = store_bytes(source.held_out, 500)
    assert bytes_needed == 4 * 500 * sum(len(row.places) for row in source.held_out.sequences)


def test_stop_while_measuring_leaves_nothing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    config: dict[str, Any] = {"run": run.id, "types": ["F16"], "measure": True}
    with pytest.raises(export.StopRequested):
        export_here(workspace, config, "answers of F16")
    (job_folder,) = [path for path in workspace.jobs_dir.iterdir() if path.name != run.id]
    assert not (job_folder / "files").exists() and not (job_folder / "work").exists()
    assert "measure F16" in [e.get("name") for e in read_events(job_folder / "events.jsonl")]


def test_rows_that_were_trained_on_serve_where_none_was_held_out_and_are_named_so(
    tmp_path: Path,
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    config = read_config(run.config(), "config.json")
    assert held_out_of_run(config, Path(config.model), workspace).rows == "1 validation row"
    config = replace(config, dataset=replace(config.dataset, validation_share=0.0))
    held_out = held_out_of_run(config, Path(config.model), workspace)
    assert held_out.encoder.template.source == CHATML
    assert held_out.rows == "4 rows the run trained on (none was held out)"
    (tmp_path / "rows.jsonl").unlink()
    held_out = held_out_of_run(config, Path(config.model), workspace)
    assert held_out.rows.startswith("the studio's own texts (")
