"""Learning to give the answers: cross-entropy on the labelled tokens, nothing else.

With weights the loss of an optimizer step is sum(w * cross-entropy) / sum(w) over all of its
tokens: a token of weight 2 counts as two tokens would.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.training.batches import Batch, target_weights, targets_of
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.noise import InputNoise
from studio.engine.training.report import Figures
from studio.text.examples import IGNORE_INDEX, Example


def logits_at_targets(model: nn.Module, batch: Batch, keep_BL: torch.Tensor) -> torch.Tensor:
    """Logits [N, V] in FP32 at the N positions that `keep_BL` marks, row by row.

    Of a flat batch only those are computed: with a large vocabulary logits are most of the memory.
    """
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    if "segment_lengths" in batch:
        at = keep_BL[0].nonzero().squeeze(1)
        logits: torch.Tensor = model(**inputs, logits_to_keep=at, use_cache=False).logits[0]
    else:
        all_logits = model(**inputs, use_cache=False).logits
        # Learned tokens (prompt and p-tuning) stand before the text and have logits, too.
        logits = all_logits[:, -keep_BL.shape[1] :][keep_BL]
    return logits.float()


def n_right(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> int:
    """How many targets are the likeliest of all tokens."""
    return int((logits_NV.detach().argmax(-1) == targets_N).sum())


def summed_loss(
    model: nn.Module, batch: Batch, label_smoothing: float = 0.0
) -> tuple[torch.Tensor, Figures]:
    """Sum of the cross-entropy over all targets of `batch`, each times its weight, in FP32; and the
    share of targets that the model finds the likeliest of all tokens, unweighted."""
    targets = targets_of(batch)
    weights = target_weights(batch)
    keep = targets != IGNORE_INDEX
    logits, chosen = logits_at_targets(model, batch, keep), targets[keep]
    figures = {"token_accuracy": (float(n_right(logits, chosen)), float(len(chosen)))}
    if weights is None:
        loss = F.cross_entropy(logits, chosen, reduction="sum", label_smoothing=label_smoothing)
        return loss, figures
    losses = F.cross_entropy(logits, chosen, reduction="none", label_smoothing=label_smoothing)
    return (losses * weights[keep]).sum(), figures


def weight_of(rows: Sequence[Example]) -> float:
    """What the targets of `rows` count together: their number where all count as 1."""
    total = 0.0
    for row in rows:
        # The first token is predicted by nothing.
        weights = row.weights[1:] if row.weights is not None else [1.0] * (len(row.labels) - 1)
        total += sum(
            weight
            for label, weight in zip(row.labels[1:], weights, strict=True)
            if label != IGNORE_INDEX
        )
    return total


class SftTrainer(WatchedTrainer):
    """Loss: the weighted mean over the labelled tokens of the whole effective batch."""

    def settle(self, *args: Any) -> None:
        super().settle(*args)
        model = cast(nn.Module, self.model)
        self.noise = InputNoise(model, self.settings.neftune_noise_alpha)

    def total_weight(self, rows: Sequence[Example]) -> float:
        return weight_of(rows)

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        # Validation measures the task itself: no noise, no smoothing.
        smoothing = self.settings.label_smoothing_factor if model.training else 0.0
        with self.noise.of(batch, model.training):
            return summed_loss(model, batch, smoothing)
