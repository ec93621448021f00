"""Sizes of exported files from shapes alone, against published files and block sizes."""

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ExportError
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import gguf_shapes, n_embedding_rows
from studio.models.gguf_types import BLOCKS, EXPORT_TYPES, check_types

CODE_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32016,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 16384,
    "tie_word_embeddings": False,
}


def write_model(folder: Path, config: dict[str, Any]) -> Path:
    """A Llama's files; the zeros behind the header take no disk."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    shapes |= {"lm_head.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        start = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{start}{name}.weight"] = (hidden,)
        for name, rows in (("q", hidden), ("k", keys), ("v", keys), ("o", hidden)):
            shapes[f"{start}self_attn.{name}_proj.weight"] = (rows, hidden)
        for name in ("gate", "up"):
            shapes[f"{start}mlp.{name}_proj.weight"] = (inner, hidden)
        shapes[f"{start}mlp.down_proj.weight"] = (hidden, inner)
    return write_weights(folder, config, shapes)


def write_weights(folder: Path, config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Path:
    """config.json and a weights file that is all header."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * 2
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return folder


def test_blocks_have_the_published_bits_a_weight() -> None:
    bits = {name: n_bytes * 8 / n_weights for name, (n_weights, n_bytes) in BLOCKS.items()}
    assert {name: bits[name] for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")} == {
        "Q2_K": 2.625,
        "Q3_K": 3.4375,
        "Q4_K": 4.5,
        "Q5_K": 5.5,
        "Q6_K": 6.5625,
    }


def test_code_llama_7b_has_the_published_sizes(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", CODE_LLAMA)
    sizes = {size.type: size for size in predicted_sizes(folder)}
    gigabytes = {name: round(size.size_bytes / 1e9, 2) for name, size in sizes.items()}
    assert (gigabytes["Q4_0"], gigabytes["Q3_K_M"]) == (3.83, 3.30)
    assert sizes["F32"].bits_per_weight == 32.0
    assert gigabytes["F32"] == round(6_738_546_688 * 4 / 1e9, 2)


def test_smaller_types_are_smaller(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", CODE_LLAMA)
    sizes = {size.type: size.size_bytes for size in predicted_sizes(folder)}
    ordered = ["F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_M"]
    assert sorted(ordered, key=sizes.__getitem__, reverse=True) == ordered
    assert list(sizes) == list(EXPORT_TYPES)


@pytest.mark.parametrize("rows", [100, 96])
def test_short_rows_take_more_bits_than_the_name_says(rows: int, tmp_path: Path) -> None:
    small = {"hidden_size": rows, "intermediate_size": rows, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}
    folder = write_model(tmp_path / "model", {**CODE_LLAMA, **small, **heads})
    bits = {size.type: size.bits_per_weight for size in predicted_sizes(folder)}
    # Not a multiple of 32: every matrix stays F16. Of 32 but not of 256: 32-blocks.
    assert (bits["Q4_K_M"] > 16) == (rows == 100)
    assert bits["Q4_K_M"] > 5.5


BLOOM = {
    "transformer.word_embeddings.weight": (512, 256),
    "transformer.word_embeddings_layernorm.weight": (256,),
    "transformer.h.0.input_layernorm.weight": (256,),
    "transformer.h.0.self_attention.query_key_value.weight": (768, 256),
    "transformer.h.0.self_attention.query_key_value.bias": (768,),
    "transformer.h.0.self_attention.dense.weight": (256, 256),
    "transformer.h.0.mlp.dense_h_to_4h.weight": (1024, 256),
    "transformer.h.0.mlp.dense_4h_to_h.weight": (256, 1024),
    "transformer.ln_f.weight": (256,),
    "transformer.own_part.weight": (256,),
}


def test_another_familys_sizes_come_from_its_tensors(tmp_path: Path) -> None:
    config = {"architectures": ["BloomForCausalLM"], "n_layer": 1, "n_head": 4}
    config |= {"hidden_size": 256, "vocab_size": 512, "tie_word_embeddings": True}
    folder = write_weights(tmp_path / "model", config, BLOOM)
    shapes = gguf_shapes(folder)
    assert list(shapes) == [
        "token_embd.weight",
        "token_embd_norm.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_qkv.weight",
        "blk.0.attn_qkv.bias",
        "blk.0.attn_output.weight",
        "blk.0.ffn_up.weight",
        "blk.0.ffn_down.weight",
        "output_norm.weight",
        "transformer.own_part.weight",
    ]
    assert n_embedding_rows(folder) == 512
    sizes = {size.type: size for size in predicted_sizes(folder)}
    n_weights = sum(prod(shape) for shape in BLOOM.values())
    assert n_weights * 4 < sizes["F32"].size_bytes < n_weights * 4 + 3000
    # Embedding (a tied head), queries with keys and values, and ffn_down in Q6_K, else Q4_K.
    fine = 512 * 256 + 768 * 256 + 256 * 1024
    rest, exact = 256 * 256 + 1024 * 256, 4 * 256 + 768
    bits = (fine * 6.5625 + rest * 4.5 + exact * 32) / n_weights
    assert sizes["Q4_K_M"].bits_per_weight == round(bits, 3) == 5.877


def test_unknown_and_empty_choices_are_refused() -> None:
    check_types(("Q4_K_M", "F16"))
    with pytest.raises(ExportError, match="Unknown type 'Q9'"):
        check_types(("F16", "Q9"))
    with pytest.raises(ExportError, match="No type was chosen"):
        check_types(())
