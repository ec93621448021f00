"""The importance matrix: what llama.cpp shows is what transformers computes, and it helps."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.engine.export import imatrix as export_imatrix
from studio.engine.export.checks import llama_logits, mean_kl
from studio.engine.export.convert import write_gguf
from studio.engine.export.held_out import calibration_of_run
from studio.engine.export.imatrix import Imatrix, collect_imatrix
from studio.engine.export.quantize import bits_per_weight, quantize, quantize_here
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.errors import ExportError
from studio.jobs import imatrix as jobs_imatrix
from studio.jobs.export import start_export
from studio.jobs.imatrix import imatrix_problem
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import NEED_IMATRIX
from studio.paths import SAMPLES_DIR, STARTER_DIR, Workspace
from studio.results.exports import read_export
from studio.text.examples import encoder_for
from studio.training.config import read_config
from tests.integration.export_models import save_model
from tests.integration.test_export_job import export_here, make_run

# Spread as trained models are: of wild weights two bits leave nothing.
WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "initializer_range": 0.03}
SEQUENCES = [[5, 6, 7, 8, 9, 10, 11], [30, 31, 32, 33], [5, 50, 60]]


def quiet(done: int, total: int) -> None:
    pass


def full_file(folder: Path, target: Path, family: str = "tiny", file_type: str = "F32") -> Path:
    tokenizer = texts_for_model(folder).encoder.tokenizer
    vocabulary = read_vocabulary(tokenizer, n_embedding_rows(folder))
    write_gguf(folder, target, file_type, vocabulary, family)
    return target


@torch.inference_mode()
def mean_squares(folder: Path, module: str) -> np.ndarray[Any, Any]:
    """Of the inputs that the named linear layer gets in transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seen: list[torch.Tensor] = []
    hook = lambda layer, inputs: seen.append(inputs[0].reshape(-1, inputs[0].shape[-1]))  # noqa: E731
    model.get_submodule(module).register_forward_pre_hook(hook)
    for ids in SEQUENCES:
        model(torch.tensor([ids]))
    return torch.cat(seen).square().mean(0).numpy()


def test_mean_squares_are_those_of_the_inputs_in_transformers(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    heard: list[tuple[int, int]] = []
    found = collect_imatrix(
        full_file(folder, tmp_path / "x.gguf"),
        SEQUENCES,
        "three rows",
        lambda done, total: heard.append((done, total)),
    )
    assert heard == [(7, 14), (11, 14), (14, 14)]
    assert (found.n_tokens, found.n_sequences, found.unseen) == (14, 3, 0)
    assert len(found.columns) == 2 * 7
    for name, module in (
        ("blk.0.attn_q", "model.layers.0.self_attn.q_proj"),
        ("blk.1.attn_output", "model.layers.1.self_attn.o_proj"),
        ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
    ):
        expected = mean_squares(folder, module)
        assert found.columns[f"{name}.weight"] == pytest.approx(expected, rel=5e-3, abs=1e-4)


def test_experts_have_means_of_their_own_and_one_that_saw_nothing_counts_evenly(
    tmp_path: Path,
) -> None:
    folder = save_model(tmp_path / "model", family="mixtral")
    path = full_file(folder, tmp_path / "x.gguf")
    found = collect_imatrix(path, [[5, 6]], "one row", quiet)
    columns = found.columns["blk.0.ffn_up_exps.weight"].reshape(4, -1)
    even = [bool((row == 1).all()) for row in columns]
    # Two of four experts a token, two tokens: at least two experts, at most four.
    assert 0 <= sum(even) <= 2
    many = collect_imatrix(path, SEQUENCES, "rows", quiet)
    assert many.unseen <= found.unseen
    assert quantize_here(path, tmp_path / "q.gguf", "IQ2_XS", 1, lambda *_: None, many) == 0


def test_it_survives_the_way_to_the_process_that_quantizes(tmp_path: Path) -> None:
    matrix = Imatrix({"blk.0.attn_q.weight": np.ones(4, np.float32)}, 10, 2, 1, "two rows")
    matrix.save(tmp_path / "x.npz")
    again = Imatrix.load(tmp_path / "x.npz")
    assert again.columns["blk.0.attn_q.weight"].tolist() == [1.0] * 4
    assert (again.n_tokens, again.n_sequences, again.unseen, again.rows) == (10, 2, 1, "two rows")


@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3"])
def test_types_that_need_it_have_the_predicted_bits(family: str, tmp_path: Path) -> None:
    settings = {"num_hidden_layers": 9, "hidden_size": 256, "intermediate_size": 512}
    folder = save_model(tmp_path / "model", family=family, **settings)
    path = full_file(folder, tmp_path / "full.gguf")
    matrix = collect_imatrix(path, SEQUENCES, "rows", quiet)
    for predicted in predicted_sizes(folder, imatrix=True):
        if predicted.type not in (*NEED_IMATRIX, "Q4_0", "Q5_0", "IQ4_NL", "IQ4_XS"):
            continue
        target = tmp_path / "q.gguf"
        status = quantize_here(path, target, predicted.type, 2, lambda *_: None, matrix)
        assert status == 0, predicted.type
        assert bits_per_weight(target) == predicted.bits_per_weight, predicted.type


def test_a_type_that_needs_it_fails_without_it(tmp_path: Path) -> None:
    settings = {"hidden_size": 256, "intermediate_size": 512}
    folder = save_model(tmp_path / "model", **settings)
    path = full_file(folder, tmp_path / "full.gguf")
    with pytest.raises(ExportError, match="could not write IQ2_XS"):
        quantize(path, tmp_path / "q.gguf", "IQ2_XS", quiet)
    assert not (tmp_path / "q.gguf").exists()


def test_files_of_the_starter_are_better_with_it(tmp_path: Path) -> None:
    recipe = DatasetRecipe(files=(str(SAMPLES_DIR / "json-fields.jsonl"),))
    encoder = encoder_for(STARTER_DIR, recipe, 256)
    samples = open_dataset(recipe, tmp_path).samples(range(160))
    rows = [encoder.encode_one(sample).input_ids for _, sample in samples]
    path = full_file(STARTER_DIR, tmp_path / "full.gguf", file_type="F16")
    matrix = collect_imatrix(path, rows[:110], "rows", quiet)
    reference = llama_logits(path, rows[110:])
    for file_type, ratio in (("IQ3_S", 0.8), ("Q4_K_S", 0.9)):
        lost = {}
        for name, used in (("without", None), ("with", matrix)):
            target = tmp_path / f"{name}.gguf"
            assert quantize_here(path, target, file_type, 2, lambda *_: None, used) == 0
            lost[name] = mean_kl(reference, llama_logits(target, rows[110:]))
        assert lost["with"] < ratio * lost["without"], (file_type, lost)


def test_job_weighs_by_training_rows_and_tells_it_in_the_file(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path, **WIDE)
    config = {"run": run.id, "types": ["IQ3_XXS", "Q4_K_M"]}
    job, values = export_here(workspace, config)
    (check,) = [check for check in values["checks"] if check["name"] == "importance matrix"]
    assert (check["passed"], check["value"]) == (True, 0)
    assert check["note"].endswith(" tokens of 3 training rows weighed 14 matrices.")
    for file in read_export(job).files:
        reader = gguf.GGUFReader(file.path)
        told = {
            key: reader.get_field(f"quantize.imatrix.{key}").contents()  # type: ignore[union-attr]
            for key in ("dataset", "entries_count", "chunks_count")
        }
        assert told == {"dataset": "3 training rows", "entries_count": 14, "chunks_count": 3}
    run_config = read_config(run.config(), "config.json")
    _, words = calibration_of_run(run_config, Path(run_config.model), workspace)
    assert words == "3 training rows"


def test_untouched_model_is_weighed_by_the_studios_own_texts(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model", **WIDE)
    config = {"model": str(folder), "types": ["Q4_0"], "imatrix": True}
    _, values = export_here(workspace, config)
    (check,) = [check for check in values["checks"] if check["name"] == "importance matrix"]
    assert "tokens of the studio's own texts weighed" in check["note"]


def test_self_test_holds_here_and_a_wrong_layout_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert imatrix_problem() == ""
    monkeypatch.setattr(export_imatrix, "_plain_name", lambda name: "blk.0.other.weight")
    with pytest.raises(KeyError):
        export_imatrix._self_test()
    monkeypatch.setattr(jobs_imatrix, "imatrix_problem", lambda: "its self-test does not hold")
    workspace = Workspace.open(tmp_path / "ws")
    folder = save_model(tmp_path / "model")
    with pytest.raises(ExportError, match="its self-test does not hold") as info:
        start_export(workspace, "", ["IQ2_M"], model=str(folder))
    assert info.value.code == "imatrix_failed"
