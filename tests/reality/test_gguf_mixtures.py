"""Block formats per tensor, held against llama.cpp's own published choices for a real model."""

import os
from pathlib import Path

import pytest

from studio.models.gguf_mixtures import ModelFigures, tensor_formats
from studio.models.gguf_types import EXPORT_TYPES

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

SCHEMA = Path(os.environ["STUDIO_REALDATA"]) / "oracles/gguf-quant-schema/qwen3-14b.schema"
HIDDEN, INNER, VOCABULARY, LAYERS, KEYS = 5120, 17408, 151936, 40, 8 * 128


def matrices() -> dict[str, tuple[int, ...]]:
    """The matrices of Qwen3-14B, from the figures at the head of the schema."""
    shapes = {"token_embd.weight": (VOCABULARY, HIDDEN), "output.weight": (VOCABULARY, HIDDEN)}
    rows = {"attn_q": HIDDEN, "attn_k": KEYS, "attn_v": KEYS, "attn_output": HIDDEN}
    rows |= {"ffn_gate": INNER, "ffn_up": INNER}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}.weight": (n, HIDDEN) for name, n in rows.items()}
        shapes[f"blk.{layer}.ffn_down.weight"] = (HIDDEN, INNER)
    return shapes


def published() -> dict[str, dict[str, str]]:
    """type: {matrix: format}; a section names its default, then the exceptions."""
    found = {}
    for section in SCHEMA.read_text(encoding="utf-8").split("\n[")[1:]:
        head, *lines = section.strip().splitlines()
        name, default = head.split("] ")
        exceptions = dict(line.split() for line in lines if line)
        found[name] = {key: exceptions.get(key, default).upper() for key in matrices()}
    return found


@pytest.mark.parametrize("name", EXPORT_TYPES)
def test_every_matrix_gets_the_format_that_llama_cpp_chose(name: str) -> None:
    model = ModelFigures(n_layers=LAYERS, n_gqa=40 // 8)
    assert tensor_formats(name, matrices(), model) == published()[name]
