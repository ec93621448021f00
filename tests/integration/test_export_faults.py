"""Planted faults: what goes wrong in other programs' exports is caught here, and by which check.

Unpermuted k, a wrong template, a second BOS, a plain special token and a cut file are in
test_export_convert.py; a wrong strength of the adapter is in test_export_merge.py.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.engine.export import convert, entry, metadata, turning
from studio.engine.export.checks import (
    check_prompt,
    check_stops,
    check_tokens,
    model_logits,
)
from studio.engine.export.convert import write_gguf
from studio.engine.export.vocabulary import Proof
from studio.errors import ExportError
from studio.jobs.job import list_jobs
from studio.models.gguf_tensors import GgufTensor, exported_tensors
from studio.paths import Workspace
from studio.results.exports import read_export
from tests.integration.export_models import CHATML, byte_level, save_model, save_tokenizer
from tests.integration.test_export_job import export_here, exported, make_run
from tests.integration.test_export_vocabulary import LLAMA2, SPM_NAMES, prove, sentencepiece

Turned = Callable[..., torch.Tensor]


def spoilt(turned: Turned, spoil: Callable[[GgufTensor, torch.Tensor], torch.Tensor]) -> Turned:
    """The converter's own step with its outcome changed."""

    def step(
        tensor: GgufTensor, values: list[torch.Tensor], family: Any, config: Any
    ) -> torch.Tensor:
        return spoil(tensor, turned(tensor, values, family, config))

    return step


def refused(tmp_path: Path, folder: Path, file_type: str = "F32") -> tuple[ExportError, list[str]]:
    """The error of exporting the model in `folder`, and the files that lie there afterwards."""
    workspace = Workspace.open(tmp_path / "ws")
    with pytest.raises(ExportError) as info:
        export_here(workspace, {"model": str(folder), "types": [file_type]})
    (job,) = list_jobs(workspace, "export")
    assert read_export(job).files == ()
    return info.value, exported(job)


@pytest.mark.parametrize("part", ["attn_q", "attn_k"])
def test_unpermuted_rows_are_kept_aside_with_the_reason_and_the_next_step(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "model")
    right = turning.rows_turned

    def unturned(name: str, values: torch.Tensor, family: Any, config: Any) -> torch.Tensor:
        return values if f".{part}." in name else right(name, values, family, config)

    monkeypatch.setattr(turning, "rows_turned", unturned)
    error, files = refused(tmp_path, folder)
    assert (error.code, files) == ("export_check_failed", ["model-F32.failed.gguf"])
    assert error.message.startswith("The check 'logits' of F32 failed: ")
    assert "the limit is 0.001" in error.message
    assert error.fix.startswith("Take a type that passed.")


def test_own_head_that_is_left_out_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp then takes the embedding for it, as in a tied model."""
    folder = save_model(tmp_path / "model", tie_word_embeddings=False)

    def headless(folder: Path) -> list[GgufTensor]:
        return [one for one in exported_tensors(folder) if one.name != "output.weight"]

    monkeypatch.setattr(convert, "exported_tensors", headless)
    error, files = refused(tmp_path, folder)
    assert (error.code, files) == ("export_check_failed", ["model-F32.failed.gguf"])


def test_tied_model_with_a_head_of_its_own_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a folder still has a stale lm_head beside its tied embedding."""
    folder = save_model(tmp_path / "model", tie_word_embeddings=True)

    def with_head(folder: Path) -> list[GgufTensor]:
        tensors = exported_tensors(folder)
        embedding = next(one for one in tensors if one.name == "token_embd.weight")
        return [*tensors, replace(embedding, name="output.weight")]

    def stale(tensor: GgufTensor, values: torch.Tensor) -> torch.Tensor:
        return values.roll(1, dims=0) if tensor.name == "output.weight" else values

    monkeypatch.setattr(convert, "exported_tensors", with_head)
    monkeypatch.setattr(convert, "turned", spoilt(turning.turned, stale))
    error, files = refused(tmp_path, folder)
    assert (error.code, files) == ("export_check_failed", ["model-F32.failed.gguf"])


def test_wrong_rope_base_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "model")
    right = metadata.rope_of
    monkeypatch.setattr(metadata, "rope_of", lambda config: {**right(config), "rope_theta": 5e5})
    error, _ = refused(tmp_path, folder, "F16")
    assert error.message.startswith("The check 'logits' of F16 failed: ")


def test_shuffled_vocabulary_is_caught_by_its_ids(tmp_path: Path) -> None:
    """Two tokens change places: every logit is right, and every text comes out wrong."""
    folder = save_model(tmp_path / "model")
    proof, texts = prove(folder, tmp_path)
    tokens = list(proof.vocabulary.tokens)
    one, other = tokens.index("e"), tokens.index("t")
    tokens[one], tokens[other] = tokens[other], tokens[one]
    check = check_tokens(written(folder, tmp_path / "x.gguf", proof, tokens=tokens), texts, proof)
    assert not check.passed
    both = {tokens[one], tokens[other]}
    touched = [
        t for t in proof.texts if both & {proof.vocabulary.tokens[i] for i in texts.encode(t)}
    ]
    assert check.value == len(touched) > 10
    assert check.note.startswith("First difference: 'Hello, world!' is ")


def test_shuffled_vocabulary_ends_the_job_before_any_logit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "model")

    def shuffled(*arguments: Any) -> Proof:
        proof = entry_prove(*arguments)
        tokens = list(proof.vocabulary.tokens)
        tokens[300], tokens[301] = tokens[301], tokens[300]
        return replace(proof, vocabulary=replace(proof.vocabulary, tokens=tokens))

    entry_prove = entry.prove_vocabulary
    monkeypatch.setattr(entry, "prove_vocabulary", shuffled)
    error, files = refused(tmp_path, folder)
    assert error.message.startswith("The check 'tokens' failed: ")
    assert files == []


def written(folder: Path, target: Path, proof: Proof, **changes: Any) -> Path:
    """The model in `folder` as GGUF with its proven vocabulary changed."""
    write_gguf(folder, target, "F16", replace(proof.vocabulary, **changes), "tiny")
    return target


def spm_folder(tmp_path: Path, template: str) -> Path:
    folder = save_model(tmp_path / "model", tokenizer=sentencepiece("first"), bos_token_id=1)
    save_tokenizer(folder, sentencepiece("first"), template, **SPM_NAMES)
    return folder


def test_missing_bos_is_caught_in_a_chat(tmp_path: Path) -> None:
    folder = spm_folder(tmp_path, LLAMA2)
    proof, texts = prove(folder, tmp_path)
    assert texts.starts_with_bos
    template = proof.vocabulary.chat_template.replace("{{ bos_token }}", "")
    assert template != proof.vocabulary.chat_template
    path = tmp_path / "x.gguf"
    assert check_prompt(written(folder, path, proof, add_bos=True), texts).passed
    bad = written(folder, path, proof, add_bos=False, chat_template=template)
    check = check_prompt(bad, texts)
    assert (check.passed, check.value) == (False, len(texts.conversations))


def test_missing_bos_is_caught_without_a_chat(tmp_path: Path) -> None:
    tokenizer = byte_level()
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, bos_token_id=0)
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    save_tokenizer(folder, tokenizer, "", **names)
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
        },
    }
    path.write_text(json.dumps(values))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    proof, texts = prove(folder, tmp_path)
    assert (texts.conversations, texts.starts_with_bos) == ([], True)
    path = tmp_path / "x.gguf"
    assert check_prompt(written(folder, path, proof, add_bos=True), texts).passed
    check = check_prompt(written(folder, path, proof, add_bos=False), texts)
    assert (check.passed, check.value) == (False, 1)
    assert check.note == "BOS comes 0 times in a prompt; in training it came 1 times."


def test_end_of_a_turn_that_ends_nothing_is_caught(tmp_path: Path) -> None:
    """A name that llama.cpp does not know as an end: only the file's own marks can tell."""
    template = CHATML.replace("<|im_end|>", "<|odd|>")
    values = byte_level().to_str().replace("<|im_end|>", "<|odd|>")
    folder = save_model(tmp_path / "model")
    save_tokenizer(folder, byte_level(), template, eos_token="<|endoftext|>")
    (folder / "tokenizer.json").write_text(values)
    proof, texts = prove(folder, tmp_path)
    end = texts.end_of_turn
    assert end == texts.encoder.tokenizer.core.token_to_id("<|odd|>")
    path = tmp_path / "x.gguf"
    assert check_stops(written(folder, path, proof, eot_id=end), texts).passed
    check = check_stops(written(folder, path, proof, eot_id=None), texts)
    assert (check.passed, check.value) == (False, 1)
    assert check.note == "'<|odd|>' ends an answer in training, but not in the file."


def test_merge_without_effect_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    base = tmp_path / "base"
    monkeypatch.setattr(
        entry.checks, "model_logits", lambda folder, sequences: model_logits(base, sequences)
    )
    with pytest.raises(ExportError, match="merging had no effect") as info:
        export_here(workspace, {"run": run.id, "types": ["F16"]})
    assert info.value.code == "export_check_failed"


def test_weights_of_another_layer_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two layers of the same shape change places, as a wrong name map would do it."""
    folder = save_model(tmp_path / "model")

    def crossed(folder: Path) -> list[GgufTensor]:
        tensors = {one.name: one for one in exported_tensors(folder)}
        a, b = tensors["blk.0.ffn_up.weight"], tensors["blk.1.ffn_up.weight"]
        tensors[a.name] = replace(a, sources=b.sources)
        tensors[b.name] = replace(b, sources=a.sources)
        return list(tensors.values())

    monkeypatch.setattr(convert, "exported_tensors", crossed)
    error, files = refused(tmp_path, folder, "F16")
    assert (error.code, files) == ("export_check_failed", ["model-F16.failed.gguf"])
