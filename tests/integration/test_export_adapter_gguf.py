"""A LoRA as GGUF: on the base's GGUF llama.cpp computes what peft does, and off is the base."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.engine.export import adapter_gguf
from studio.engine.export.adapter_gguf import check_adapter_gguf, write_adapter_gguf
from studio.engine.export.checks import Check, tuned_logits
from studio.engine.export.texts import texts_for_model
from studio.errors import ExportError
from tests.integration.export_models import save_model
from tests.integration.test_export_convert import converted
from tests.integration.test_export_merge import save_adapter

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 8},
        "alpha_pattern": {"k_proj": 3},
    },
    "two modules": {"target_modules": ["q_proj", "v_proj"]},
}


def checked(scratch: Path, file_type: str, **settings: Any) -> Check:
    base = save_model(scratch / "base")
    adapter = save_adapter(base, scratch / "adapter", **settings)
    texts = texts_for_model(base)
    _, tuned = tuned_logits(base, adapter, texts.sequences)
    base_file = converted(base, scratch, file_type)
    write_adapter_gguf(base, adapter, scratch / "adapter.gguf", "tiny")
    return check_adapter_gguf(
        base_file, scratch / "adapter.gguf", tuned, texts.sequences, file_type
    )


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_on_an_f32_base_gives_the_logits_of_peft(kind: str, tmp_path: Path) -> None:
    check = checked(tmp_path, "F32", **KINDS[kind])
    assert check.passed, check
    assert (check.limit, check.value < 2e-4) == (1e-3, True)
    assert check.note.endswith("and switched off by 0.")


def test_adapter_on_an_f16_base_is_within_its_limit(tmp_path: Path) -> None:
    check = checked(tmp_path, "F16", use_rslora=True)
    assert check.passed, check


def test_planted_unpermuted_b_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_is(name: str, values: torch.Tensor, *_: object) -> torch.Tensor:
        return values

    monkeypatch.setattr(adapter_gguf, "rows_turned", as_it_is)
    assert not checked(tmp_path, "F16").passed


def test_planted_wrong_scaling_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.engine.export.changes._scaling", lambda settings, module: 1.9)
    assert not checked(tmp_path, "F32").passed


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "trained biases"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "holds .*embed_tokens"),
        ({"target_modules": ["q_proj", "lm_head"]}, "holds .*lm_head.base_layer.weight"),
        ({"trainable_token_indices": [1, 2]}, "trains single tokens"),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused(
    settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    base = save_model(tmp_path / "base", attention_bias=True)
    adapter = save_adapter(base, tmp_path / "adapter", **settings)
    with pytest.raises(ExportError, match=reason) as info:
        write_adapter_gguf(base, adapter, tmp_path / "x.gguf", "tiny")
    assert info.value.code == "export_output"
    assert not (tmp_path / "x.gguf").exists()
