"""Attention inside each segment of a flat batch, and the measurement that it is exact.

Registered with transformers as an attention implementation, so that every model that asks the
common interface can use it. A model that does not, or that mixes tokens in another way
(recurrence, convolution), fails the measurement and gets padded batches.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from studio.engine.loading import autocast
from studio.models.memory import PLAIN_UP_TO

NAME = "studio_segments"
# Sums in another order: 1e-6 in FP32, 1e-2 in BF16. A wrong mask is larger by orders of magnitude.
FLAT_ERROR_LIMITS = {"fp32": 1e-4, "bf16": 5e-2}
_CHECK_LENGTHS = (7, 3, 6)


def segment_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    segment_lengths: Sequence[int] = (),
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [1, T, heads, d] from query [1, heads, T, d], one segment at a time."""
    lengths = list(segment_lengths) or [query.shape[2]]
    parts = []
    # Split, not sliced: the gradient of a slice is a tensor of the whole length, for each segment.
    pieces = (torch.split(part, lengths, dim=2) for part in (query, key, value))
    for q, k, v in zip(*pieces, strict=True):
        length = q.shape[2]
        mask = _window(length, sliding_window, query.device)
        if mask is None and not kwargs.get("dropout") and _suits_plain(query, length):
            parts.append(plain_attention(q, k, v, kwargs.get("scaling")))
        else:
            parts.append(sdpa_attention_forward(module, q, k, v, mask, **kwargs)[0])
    return torch.cat(parts, dim=1), None


def _suits_plain(query: torch.Tensor, length: int) -> bool:
    # A flat batch has one row; whoever asks with more of them gets the general way.
    return query.device.type == "cpu" and len(query) == 1 and length <= PLAIN_UP_TO


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None = None
) -> torch.Tensor:
    """Causal attention [1, T, heads, d] by matrix products; query [1, heads, T, d], key and value
    with the same number of heads or a divisor of it.

    Source: Vaswani et al. 2017 (arXiv 1706.03762) equation 1.
    """
    n_heads, length, head_size = query.shape[1:]
    key_HTD, value_HTD = (
        part[0] if len(part[0]) == n_heads
        else part[0].repeat_interleave(n_heads // len(part[0]), dim=0)
        for part in (key, value)
    )  # fmt: skip
    scores_HTT = torch.baddbmm(
        _causal(query.dtype)[:length, :length].expand(n_heads, -1, -1),
        query[0],
        key_HTD.transpose(1, 2),
        alpha=head_size**-0.5 if scaling is None else scaling,
    )
    mixed_HTD = torch.softmax(scores_HTT, dim=-1).to(value.dtype) @ value_HTD
    return mixed_HTD.transpose(0, 1)[None]


@cache
def _causal(dtype: torch.dtype) -> torch.Tensor:
    """0 where a token may look, -inf above the diagonal, for the longest plain segment."""
    return torch.full((PLAIN_UP_TO, PLAIN_UP_TO), float("-inf"), dtype=dtype).triu(1)


def _window(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    # None lets SDPA take its causal kernel; a mask is needed only where the window cuts.
    if not window or length <= window:
        return None
    at = torch.arange(length, device=device)
    distance = at[:, None] - at[None, :]
    return ((distance >= 0) & (distance < window))[None, None]


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Segments are causal by themselves: no mask of T x T is ever built."""


AttentionInterface.register(NAME, segment_attention)
AttentionMaskInterface.register(NAME, _no_mask)


def use_flat_batches(model: PreTrainedModel, precision: str = "fp32") -> bool:
    """Switch `model` to segment attention where that is exact; whether it was switched.

    Two measurements on three short sequences: flat logits equal those of one sequence after the
    other, and changing the first sequence leaves the others' logits as they were, bit for bit; with
    experts to rounding: which tokens share an expert's product decides the order of its sums.
    """
    own = model.config._attn_implementation
    if own != "sdpa":
        return False
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (1, sum(_CHECK_LENGTHS)), generator=generator)
    ids = ids.to(model.device)
    first = _CHECK_LENGTHS[0]
    changed = torch.cat([ids[:, :first].flip(1), ids[:, first:]], dim=1)
    with torch.no_grad(), autocast(precision, model.device.type):
        pieces = torch.split(ids, list(_CHECK_LENGTHS), dim=1)
        expected = torch.cat([model(piece, use_cache=False).logits for piece in pieces], dim=1)
        model.set_attn_implementation(NAME)
        flat = _flat_logits(model, ids)
        others = _flat_logits(model, changed)[:, first:]
    limit = FLAT_ERROR_LIMITS[precision]
    leak = _error(others, flat[:, first:])
    if _error(flat, expected) < limit and leak <= (limit if _has_experts(model) else 0.0):
        return True
    model.set_attn_implementation(own)
    return False


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _has_experts(model: PreTrainedModel) -> bool:
    return any(".experts." in name for name, _ in model.named_parameters())


@contextmanager
def own_attention(model: Any) -> Iterator[None]:
    """Inside it `model` attends as its mask says, with a cache: what answering needs."""
    now = model.config._attn_implementation
    if now == NAME:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if now == NAME:
            model.set_attn_implementation(NAME)


def _flat_logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    positions = torch.cat([torch.arange(n) for n in _CHECK_LENGTHS])[None].to(model.device)
    outputs = model(ids, position_ids=positions, segment_lengths=_CHECK_LENGTHS, use_cache=False)
    logits: torch.Tensor = outputs.logits
    return logits
