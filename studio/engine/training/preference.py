"""Learning to prefer: losses over the log-probabilities of a better and a worse answer.

The reference is the same model with the adapter off. A pair's answers go through the model behind
their prompts, in one batch; a flat one where the model takes it.

DPO: -log sigmoid(beta * ((log p_c - log ref_c) - (log p_r - log ref_r))), log-probabilities
summed over the answer's tokens. Source: Rafailov et al. 2023 (arXiv 2305.18290) equation 7.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.training.batches import Batch, targets_of
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.report import Figures
from studio.engine.training.sft import logits_at_targets
from studio.text.examples import IGNORE_INDEX, Example, PreferenceExample


def both_answers(pairs: Sequence[PreferenceExample]) -> list[Example]:
    """All chosen, then all rejected answers, each behind its prompt."""
    return [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]


def answer_logps(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each example's labelled tokens, summed [B], and their number [B]."""
    targets = targets_of(batch)
    keep = targets != IGNORE_INDEX
    logits_NV, chosen_N = logits_at_targets(model, batch, keep), targets[keep]
    logps_N = -F.cross_entropy(logits_NV, chosen_N, reduction="none")
    owner_N = owners_of(batch)[keep]
    n_examples = len(batch.get("segment_lengths", targets))
    sums_B = torch.zeros(n_examples, device=logps_N.device).index_add(0, owner_N, logps_N)
    counts_B = torch.bincount(owner_N, minlength=n_examples)
    return sums_B, counts_B


def owners_of(batch: Batch) -> torch.Tensor:
    """Which example each position belongs to, in the shape of the batch's labels."""
    labels: torch.Tensor = batch["labels"]
    if "segment_lengths" in batch:
        lengths = torch.tensor(batch["segment_lengths"], device=labels.device)
        return torch.repeat_interleave(lengths)[None]
    return torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)


class PairTrainer(WatchedTrainer):
    """Loss: the mean over the pairs of the effective batch."""

    def batch_of(self, rows: Sequence[PreferenceExample]) -> Batch:
        return self.collate(both_answers(rows))

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        policy_B, _ = answer_logps(model, batch)
        with torch.no_grad(), model.disable_adapter():  # type: ignore[operator]
            reference_B, _ = answer_logps(model, batch)
        rewards_B = self.config.preference.beta_of("dpo") * (policy_B - reference_B)
        chosen, rejected = rewards_B.chunk(2)
        margins = chosen - rejected
        n = float(len(margins))
        figures = {
            "rewards_margin": (float(margins.detach().sum()), n),
            "rewards_accuracy": (float((margins > 0).sum()), n),
        }
        return -F.logsigmoid(margins).sum(), figures
