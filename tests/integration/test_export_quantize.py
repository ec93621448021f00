"""Quantizing: sizes as predicted, real bits a weight, never twice, ended on request."""

from pathlib import Path
from typing import Any

import pytest

from studio.engine.export.convert import write_gguf
from studio.engine.export.imatrix import collect_imatrix
from studio.engine.export.quantize import (
    FTYPES,
    bits_per_weight,
    block_counts,
    quantize,
    quantize_here,
)
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.errors import ExportError
from studio.jobs.worker import StopRequested
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import EXPORT_TYPES, NEED_IMATRIX
from tests.integration.export_models import byte_level, save_model

SHAPES: dict[str, dict[str, Any]] = {
    "rows of 256": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 9},
    "rows of 256, tied, shared heads": {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "rows of 96": {"hidden_size": 96, "intermediate_size": 172, "num_hidden_layers": 5},
    "biases": {"attention_bias": True, "mlp_bias": True},
}


def full_file(folder: Path, target: Path, file_type: str = "F32") -> Path:
    tokenizer = texts_for_model(folder).encoder.tokenizer
    vocabulary = read_vocabulary(tokenizer, n_embedding_rows(folder))
    write_gguf(folder, target, file_type, vocabulary, "tiny")
    return target


@pytest.mark.parametrize("shape", SHAPES)
def test_predicted_sizes_are_the_sizes_of_the_files(shape: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=byte_level(n_tokens=270), **SHAPES[shape])
    source = full_file(folder, tmp_path / "full.gguf")
    matrix = collect_imatrix(source, [[5, 6, 7, 8]], "a row", lambda done, total: None)
    for predicted in predicted_sizes(folder):
        path = tmp_path / f"{predicted.type}.gguf"
        used = matrix if predicted.type in NEED_IMATRIX else None
        assert quantize_here(source, path, predicted.type, 1, lambda level, text: None, used) == 0
        assert bits_per_weight(path) == predicted.bits_per_weight, predicted.type
        assert abs(path.stat().st_size - predicted.size_bytes) < 1_024, predicted.type


def test_every_offered_type_can_be_written() -> None:
    assert list(FTYPES) == list(EXPORT_TYPES)


def test_bits_a_weight_of_the_block_formats_are_the_published_ones(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", **SHAPES["rows of 256"])
    source = full_file(folder, tmp_path / "full.gguf", "F16")
    quantize(source, tmp_path / "x.gguf", "Q6_K", lambda done, total: None)
    assert block_counts(tmp_path / "x.gguf") == {"F32": 19, "Q6_K": 65}
    # 6.5625 bits a weight, and a little more for the norms in F32.
    assert 6.5625 < bits_per_weight(tmp_path / "x.gguf") < 6.64


def test_progress_counts_every_tensor(tmp_path: Path) -> None:
    source = full_file(save_model(tmp_path / "model"), tmp_path / "full.gguf")
    steps: list[tuple[int, int]] = []
    quantize(source, tmp_path / "x.gguf", "Q8_0", lambda done, total: steps.append((done, total)))
    assert sorted(set(steps) - {(0, 1)}) == [(number, 21) for number in range(1, 22)]


def test_quantized_file_is_not_quantized_again(tmp_path: Path) -> None:
    source = full_file(save_model(tmp_path / "model"), tmp_path / "full.gguf")
    quantize(source, tmp_path / "q8.gguf", "Q8_0", lambda done, total: None)
    with pytest.raises(ExportError, match=r"quantized already \(Q8_0\)") as info:
        quantize(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0", lambda done, total: None)
    assert info.value.code == "already_quantized"


def test_stop_ends_the_child_and_deletes_its_file(tmp_path: Path) -> None:
    source = full_file(save_model(tmp_path / "model"), tmp_path / "full.gguf")

    def stop(done: int, total: int) -> None:
        raise StopRequested

    with pytest.raises(StopRequested):
        quantize(source, tmp_path / "x.gguf", "Q4_K_M", stop)
    assert not (tmp_path / "x.gguf").exists()


def test_failure_of_llama_cpp_names_its_reason(tmp_path: Path) -> None:
    source = full_file(save_model(tmp_path / "model"), tmp_path / "full.gguf")
    with pytest.raises(ExportError, match="could not write Q8_0: .*failed to quantize") as info:
        quantize(source, tmp_path / "no" / "x.gguf", "Q8_0", lambda done, total: None)
    assert info.value.code == "quantize_failed"
