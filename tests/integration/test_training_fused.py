"""What stands in for peft's and torch's own arithmetic gives the same values and gradients."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from studio.engine.loading import autocast, load_base
from studio.engine.quantized import Bits
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.attention import PLAIN_UP_TO, plain_attention, segment_attention
from studio.engine.training.batches import flatten
from studio.engine.training.lora_linear import fuse_lora
from studio.engine.training.sft import summed_loss
from studio.models.facts import read_facts
from studio.text.examples import Example
from studio.training.adapter import AdapterSettings

PLAIN = AdapterSettings(r=4, lora_alpha=8)


@pytest.fixture(autouse=True)
def exact_matmul() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def trained_adapter(folder: Path, settings: AdapterSettings, precision: str = "fp32") -> nn.Module:
    """An adapter whose B is not zero, so that both its parts have gradients."""
    base = load_base(folder, precision, "cpu", Bits.of(settings))
    facts = read_facts(folder)
    model = attach_adapter(base, settings, facts, seed=1)
    torch.manual_seed(2)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.05)
    return model.train()


def loss_and_gradients(
    model: nn.Module, examples: list[Example], precision: str = "fp32"
) -> tuple[float, dict[str, torch.Tensor]]:
    with autocast(precision, "cpu"):
        loss = summed_loss(model, flatten(examples[:1]))[0]
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), gradients


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest relative difference of a gradient."""
    assert one.keys() == other.keys() and len(one) > 0
    return max(float((one[n] - other[n]).norm() / one[n].norm()) for n in one)


@pytest.mark.parametrize("bits", ["none", "nf4"])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("bf16", 3e-2)])
def test_fused_lora_layers_give_pefts_loss_and_gradients(
    llama_folder: Path, examples: list[Example], precision: str, limit: float, bits: str
) -> None:
    settings = replace(PLAIN, quantization=bits)
    plain = trained_adapter(llama_folder, settings, precision)
    fused = trained_adapter(llama_folder, settings, precision)
    assert fuse_lora(fused) == 14
    loss, gradients = loss_and_gradients(plain, examples, precision)
    fused_loss, fused_gradients = loss_and_gradients(fused, examples, precision)
    assert fused_loss == pytest.approx(loss, rel=limit)
    assert distance(gradients, fused_gradients) < limit


def test_a_worker_without_bitsandbytes_fuses_as_well(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_adapter(llama_folder, PLAIN)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert fuse_lora(model) == 14


def test_a_layer_with_a_bias_is_fused_too() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleDict({"one": nn.Linear(6, 5)})
    model = get_peft_model(layers, LoraConfig(r=2, target_modules=["one"], init_lora_weights=False))
    layer = model.base_model.model["one"]
    x_TI = torch.randn(3, 6, requires_grad=True)
    wanted = layer(x_TI)
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), x_TI)
    assert fuse_lora(model) == 1
    given = layer(x_TI)
    (gradient,) = torch.autograd.grad(given.square().sum(), x_TI)
    assert torch.allclose(given, wanted, atol=1e-6)
    assert torch.allclose(gradient, wanted_gradient, atol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"lora_dropout": 0.1},
        {"use_dora": True},
        {"quantization": "int8"},
        {"quantization": "nf4", "use_dora": True},
        {"quantization": "nf4", "kind": "adalora"},
    ],
)
def test_layers_with_more_than_a_and_b_are_left_to_peft(
    llama_folder: Path, changed: dict[str, Any]
) -> None:
    assert fuse_lora(trained_adapter(llama_folder, replace(PLAIN, **changed))) == 0


@pytest.mark.parametrize("bits", ["none", "nf4"])
def test_a_fused_layer_can_be_switched_off(
    llama_folder: Path, examples: list[Example], bits: str
) -> None:
    ids = torch.tensor([examples[0].input_ids])
    model = trained_adapter(llama_folder, replace(PLAIN, quantization=bits))
    assert fuse_lora(model) == 14
    with torch.no_grad():
        expected = load_base(llama_folder, "fp32", "cpu", Bits(bits))(ids).logits
        tuned = model(ids).logits
        with model.disable_adapter():  # type: ignore[operator]
            assert torch.equal(model(ids).logits, expected)
        assert not torch.equal(tuned, expected)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 7, PLAIN_UP_TO])
def test_plain_attention_equals_torchs(length: int, n_kv_heads: int) -> None:
    torch.manual_seed(0)
    heads = (4, n_kv_heads, n_kv_heads)
    own = [torch.randn(1, n, length, 8, dtype=torch.float64, requires_grad=True) for n in heads]
    mixed = plain_attention(*own)
    expected = scaled_dot_product_attention(*own, is_causal=True, enable_gqa=True).transpose(1, 2)
    assert torch.allclose(mixed, expected, atol=1e-12)
    weight = torch.randn_like(mixed)
    given = torch.autograd.grad((mixed * weight).sum(), own)
    wanted = torch.autograd.grad((expected * weight).sum(), own)
    for one, other in zip(given, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_segments_longer_than_the_plain_kind_attend_alike() -> None:
    """The same rows, once short enough for matrix products and once behind a long neighbour."""
    torch.manual_seed(0)
    lengths = (PLAIN_UP_TO, PLAIN_UP_TO + 40, 5)
    query, key, value = (torch.randn(1, 2, sum(lengths), 8) for _ in range(3))
    mixed, _ = segment_attention(nn.Module(), query, key, value, None, segment_lengths=lengths)
    start = 0
    for length in lengths:
        piece = slice(start, start + length)
        own = [part[:, :, piece] for part in (query, key, value)]
        expected = scaled_dot_product_attention(*own, is_causal=True).transpose(1, 2)
        assert torch.allclose(mixed[:, piece], expected, atol=1e-6)
        start += length
