"""Start values against peft's own and exact decompositions; prompts and AdaLoRA against peft."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from studio.engine.loading import load_base
from studio.engine.quantized import Bits, OriginalWeights
from studio.engine.training.adalora import penalty
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.batches import pad
from studio.engine.training.sft import summed_loss
from studio.engine.training.starts import (
    ADAPTER_NAME,
    apply_start,
    base_weight,
    lora_layers,
    set_eva,
    set_orthogonal,
    start_of,
)
from studio.models.facts import read_facts
from studio.text.examples import Example
from studio.training.adapter import AdapterSettings

LORA = AdapterSettings(r=4, lora_alpha=8, target_modules=("q_proj", "down_proj"))
IDS = torch.randint(3, 260, (2, 12), generator=torch.Generator().manual_seed(5))


def fresh(folder: Path, settings: AdapterSettings = LORA, bits: Bits | None = None) -> PeftModel:
    base = load_base(folder, bits=bits or Bits())
    return attach_adapter(base, settings, read_facts(folder), seed=1)


def parts_of(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.lora_A[ADAPTER_NAME].weight.data, layer.lora_B[ADAPTER_NAME].weight.data


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_is_taken_from_the_base_is_pefts(llama_folder: Path, init: str) -> None:
    ours = fresh(llama_folder)
    apply_start(ours, start_of(ours, init, OriginalWeights(llama_folder, False)), init)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "down_proj"],
        init_lora_weights=cast(Any, init),
    )
    pefts = cast(PeftModel, get_peft_model(load_base(llama_folder), config))
    for (name, our), (_, their) in zip(lora_layers(ours), lora_layers(pefts), strict=True):
        (a, b), (a_of_peft, b_of_peft) = parts_of(our), parts_of(their)
        assert torch.allclose(b @ a, b_of_peft @ a_of_peft, atol=1e-5), name
        assert torch.allclose(base_weight(our), base_weight(their), atol=1e-5), name


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_base_and_adapter_are_the_base_at_the_start(folder: Path, init: str) -> None:
    ours = fresh(folder, replace(LORA, target_modules=(), use_rslora=True))
    with torch.no_grad():
        expected = ours(IDS).logits
        apply_start(ours, start_of(ours, init, OriginalWeights(folder, False)), init)
        assert (ours(IDS).logits - expected).abs().max() < 1e-4
        with ours.disable_adapter():
            assert (ours(IDS).logits - expected).abs().max() > 1e-2


def test_loftq_brings_a_4_bit_base_nearer_to_the_original(folder: Path) -> None:
    conv1d = read_facts(folder).conv1d
    original = OriginalWeights(folder, conv1d)
    ours = fresh(folder, replace(LORA, target_modules=(), r=8), Bits("nf4"))
    apply_start(ours, start_of(ours, "loftq", original), "loftq")
    for name, layer in lora_layers(ours):
        a, b = parts_of(layer)
        error = original(name) - base_weight(layer)
        left = error - layer.scaling[ADAPTER_NAME] * b @ a
        # What the first 8 of its singular values leave: nothing else could be nearer.
        rest = torch.linalg.svdvals(error)[8:].square().sum().sqrt()
        assert float(left.norm()) == pytest.approx(float(rest), rel=1e-3)
        assert left.norm() < 0.9 * error.norm(), name


def test_orthogonal_start_values_change_nothing_and_are_both_there(llama_folder: Path) -> None:
    ours = fresh(llama_folder)
    with torch.no_grad():
        expected = ours(IDS).logits
        set_orthogonal(ours, seed=3)
        assert (ours(IDS).logits - expected).abs().max() < 1e-5
    for _, layer in lora_layers(ours):
        assert all(part.norm() > 0.1 for part in parts_of(layer))


def test_eva_takes_the_main_directions_of_the_layers_inputs(
    llama_folder: Path, examples: list[Example]
) -> None:
    ours = fresh(llama_folder)
    inputs: dict[str, torch.Tensor] = {}
    batch = pad(examples)
    keep = batch["attention_mask"].bool()
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, args, name=name: inputs.__setitem__(name, args[0][keep])
        )
        for name, layer in lora_layers(ours)
    ]
    with torch.no_grad():
        ours(batch["input_ids"], attention_mask=batch["attention_mask"])
    for hook in hooks:
        hook.remove()
    set_eva(ours, [batch])
    for name, layer in lora_layers(ours):
        a, b = parts_of(layer)
        exact = torch.linalg.svd(inputs[name], full_matrices=False)[2][:4]
        # Each direction up to its sign.
        assert torch.allclose((a * exact).sum(dim=1).abs(), torch.ones(4), atol=1e-3), name
        assert b.abs().max() == 0


def test_adaloras_penalty_is_pefts(llama_folder: Path) -> None:
    model = fresh(llama_folder, AdapterSettings(kind="adalora", r=4))
    with torch.no_grad():
        whole = model(IDS, labels=IDS)
        targets = IDS[:, 1:].reshape(-1)
        loss = F.cross_entropy(whole.logits[:, :-1].reshape(len(targets), -1), targets)
        assert float(penalty(model)) == pytest.approx(float(whole.loss - loss), rel=1e-4)


@pytest.mark.parametrize("kind", ["prompt", "prefix", "p_tuning"])
def test_learned_tokens_get_the_gradient_of_the_text_alone(
    folder: Path, examples: list[Example], kind: str
) -> None:
    """Against peft's own loss, one row at a time: no padding, no virtual token in the labels."""
    model = fresh(folder, AdapterSettings(kind=kind, n_virtual_tokens=5)).eval()
    rows = examples[:3]
    expected = torch.zeros(())
    for row in rows:
        labels = torch.tensor([row.labels])
        n_labels = int((labels[:, 1:] != -100).sum())
        expected = expected + model(torch.tensor([row.input_ids]), labels=labels).loss * n_labels
    loss = summed_loss(model, pad(rows))[0]
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for ours, pefts in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        assert torch.allclose(ours, pefts, atol=1e-4 * float(pefts.abs().max()))


def test_only_the_blocks_linear_layers_are_kept_in_bits(folder: Path) -> None:
    import bitsandbytes  # noqa: PLC0415  (a second, and only here)

    base = load_base(folder, bits=Bits("nf4"))
    in_bits = {
        name
        for name, module in base.named_modules()
        if isinstance(module, bitsandbytes.nn.Linear4bit)
    }
    assert {name.rpartition(".")[2] for name in in_bits} == set(read_facts(folder).linear_names)
    others = {w.dtype for n, w in base.named_parameters() if n.rpartition(".")[0] not in in_bits}
    assert others == {torch.float32}
    assert isinstance(base.get_output_embeddings(), nn.Linear)
