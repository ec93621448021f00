"""Learning to give the answers: cross-entropy on the labelled tokens, nothing else.

With weights the loss of an optimizer step is sum(w * cross-entropy) / sum(w) over all of its
tokens: a token of weight 2 counts as two tokens would.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.batches import Batch, target_weights, targets_of, total_weight
from studio.engine.train_frame import WatchedTrainer
from studio.text.examples import IGNORE_INDEX


def summed_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Sum of the cross-entropy over all targets of `batch`, each times its weight, in FP32.

    Logits are computed at the positions with a target only: with a large vocabulary they are
    most of the memory.
    """
    targets = targets_of(batch)
    weights = target_weights(batch)
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    keep = targets != IGNORE_INDEX
    if "segment_lengths" in batch:
        at = keep[0].nonzero().squeeze(1)
        logits = model(**inputs, logits_to_keep=at, use_cache=False).logits[0]
        chosen = targets[0, at]
    else:
        logits_BLV = model(**inputs, use_cache=False).logits
        logits, chosen = logits_BLV[keep], targets[keep]
    if weights is None:
        return F.cross_entropy(logits.float(), chosen, reduction="sum")
    return (F.cross_entropy(logits.float(), chosen, reduction="none") * weights[keep]).sum()


class SftTrainer(WatchedTrainer):
    """Loss: the weighted mean over the labelled tokens of the whole effective batch."""

    loss_is_scaled_for_ga = True

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Any:
        # Accumulated batches weigh by their tokens, so 4 x 2 rows give what 8 rows give.
        return sum(total_weight(batch) for batch in batch_samples) or 1

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        return summed_loss(model, inputs) / num_items_in_batch

    def validation_part(self, model: nn.Module, batch: Batch) -> tuple[float, float]:
        return float(summed_loss(model, batch)), total_weight(batch)
