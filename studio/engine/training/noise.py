"""NEFTune: noise on the embeddings while training, by the length of each conversation.

Uniform noise in [-1, 1] times alpha / sqrt(L * d), L tokens of the conversation, d their size.
Source: Jain et al. 2023 (arXiv 2310.05914) algorithm 1. The libraries take the length of the whole
batch for L, which is not the conversation's where several lie one behind the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from studio.engine.training.batches import Batch


class InputNoise:
    """A hook on the model's embeddings; silent outside `of`."""

    def __init__(self, model: nn.Module, alpha: float) -> None:
        self._alpha = alpha
        self._lengths_BT: torch.Tensor | None = None
        if alpha:
            embeddings: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
            embeddings.register_forward_hook(self._add)

    @contextmanager
    def of(self, batch: Batch, training: bool) -> Iterator[None]:
        """Noise for the pass over `batch`; none where the model is not `training`."""
        self._lengths_BT = lengths_of(batch) if self._alpha and training else None
        try:
            yield
        finally:
            self._lengths_BT = None

    def _add(self, module: nn.Module, inputs: Any, embedded_BTD: torch.Tensor) -> torch.Tensor:
        if self._lengths_BT is None:
            return embedded_BTD
        scale_BT = self._alpha / (self._lengths_BT * embedded_BTD.shape[-1]).sqrt()
        noise_BTD = torch.empty_like(embedded_BTD).uniform_(-1, 1)
        return embedded_BTD + noise_BTD * scale_BT[..., None].to(embedded_BTD.dtype)


def lengths_of(batch: Batch) -> torch.Tensor:
    """How many tokens the conversation of each position has, in the shape of the input ids."""
    ids: torch.Tensor = batch["input_ids"]
    if "segment_lengths" in batch:
        lengths = torch.tensor(batch["segment_lengths"], device=ids.device)
        return torch.repeat_interleave(lengths, lengths)[None].float()
    counts: torch.Tensor = batch["attention_mask"].sum(dim=1, keepdim=True)
    return counts.expand_as(ids).float()
