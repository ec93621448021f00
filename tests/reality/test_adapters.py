"""Adapters that other people trained: read as settings, held against bases that fit and do not."""

import json
import os
import shutil
from pathlib import Path

import pytest

from studio.errors import ModelError
from studio.models.facts import Linear, ModelFacts, read_facts
from studio.paths import STARTER_DIR
from studio.training.adapter import AdapterSettings
from studio.training.imported import base_name, settings_of

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

ADAPTERS = Path(os.environ["STUDIO_REALDATA"]) / "adapters"
ADAPTER = ADAPTERS / "moizishere-droid"


def gpt2(hidden: int = 768) -> ModelFacts:
    """The facts of GPT-2, whose file leaves out the model's own prefix."""
    layers = tuple(
        Linear(name=f"h.{n}.attn.c_attn", n_in=hidden, n_out=3 * hidden, bias=True)
        for n in range(12)
    )
    return ModelFacts(
        architecture="GPT2LMHeadModel", n_parameters=124_439_808, size_bytes=548_105_171,
        dtype="F32", n_layers=12, hidden_size=hidden, vocab_size=50_257, context_length=1024,
        tied=True, linear=layers, export_problem="", conv1d=True,
    )  # fmt: skip


def test_a_real_adapter_is_read_as_it_was_trained() -> None:
    assert base_name(ADAPTER) == "gpt2"
    assert settings_of(ADAPTER, gpt2()) == AdapterSettings(
        r=8, lora_alpha=16, lora_dropout=0.05, target_modules=("c_attn",)
    )


def test_it_is_refused_for_another_base_and_another_size() -> None:
    with pytest.raises(ModelError, match="which this base does not have") as info:
        settings_of(ADAPTER, read_facts(STARTER_DIR))
    assert "gpt2" in info.value.fix
    with pytest.raises(ModelError, match="takes 768 and gives 2304, here it takes 1024"):
        settings_of(ADAPTER, gpt2(1024))


@pytest.mark.parametrize("name", ["AdityaGupta832342", "goyalayus", "Arkturiana9", "Dheena731"])
def test_settings_and_tensors_of_different_adapters_are_told_apart(
    name: str, tmp_path: Path
) -> None:
    source = ADAPTERS / "configs" / f"{name}.json"
    values = json.loads(source.read_text())
    shutil.copyfile(source, tmp_path / "adapter_config.json")
    shutil.copyfile(ADAPTER / "adapter_model.safetensors", tmp_path / "adapter_model.safetensors")
    if values["r"] == 8:
        assert settings_of(tmp_path, gpt2()).lora_alpha == values["lora_alpha"]
        return
    with pytest.raises(ModelError, match=f"says rank {values['r']}, the matrices of .* have 8, 8"):
        settings_of(tmp_path, gpt2())
