"""Learning from single answers that were judged good or bad.

KTO: w_good (1 - s(beta (r - z))) of a good answer, w_bad (1 - s(beta (z - r))) of a bad one, with
r = log(policy / reference) of the answer and z the distance of the policy from the reference.
Source: Ethayarajh et al. 2024 (arXiv 2402.01306) equations 7 and 8.

z is measured without gradients on answers behind the prompt of another row of the optimizer step,
the one after it, and never below 0: section 4.1, in the way of TRL, which takes the rows of one
batch. Once for the whole step here, so that the loss does not depend on how a step is cut.

Shapes: B judged answers of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from studio.engine.training.answers import answer_logps, sums_of, without_dropout
from studio.engine.training.batches import Batch
from studio.engine.training.preference import ReferenceTrainer
from studio.engine.training.report import Figures
from studio.text.labelled import JudgedExample
from studio.training.methods import PreferenceSettings


@dataclass(frozen=True)
class MeasuredAnswer:
    """A judged answer and `kl`, the z of its optimizer step."""

    judged: JudgedExample
    kl: float

    @property
    def n_tokens(self) -> int:
        return self.judged.n_tokens


def mismatched(rows: Sequence[JudgedExample]) -> list[JudgedExample]:
    """Each row's prompt with the answer of the row before it; the first one with the last's."""
    return [
        JudgedExample(row.prompt_ids, other.answer_ids, row.good)
        for row, other in zip(rows, [*rows[-1:], *rows[:-1]], strict=True)
    ]


def kto_losses(
    ratios_B: torch.Tensor, kl_B: torch.Tensor, good_B: torch.Tensor, settings: PreferenceSettings
) -> torch.Tensor:
    """KTO's loss of each answer [B]; `good_B` is bool."""
    beta = settings.beta_of("kto")
    sides_B = torch.where(good_B, 1.0, -1.0)
    weights_B = torch.where(good_B, settings.desirable_weight, settings.undesirable_weight)
    return weights_B * (1 - torch.sigmoid(beta * sides_B * (ratios_B - kl_B)))


class KtoTrainer(ReferenceTrainer):
    """Loss: the mean over the judged answers of the effective batch."""

    def prepare_rows(
        self, model: nn.Module, rows: Sequence[JudgedExample]
    ) -> Sequence[MeasuredAnswer]:
        def measure(part: Sequence[JudgedExample]) -> tuple[torch.Tensor, Figures]:
            batch = self.on_device(self.plain_batch(part))
            with self.compute_loss_context_manager():
                with self.reference.on(model):
                    reference_B, _ = answer_logps(model, batch)
                with without_dropout(model):
                    policy_B, _ = answer_logps(model, batch)
            return (policy_B - reference_B).sum(), {}

        total, _ = self.passes.run(mismatched(rows), measure, model)
        kl = max(float(total) / len(rows), 0.0)
        return [MeasuredAnswer(row, kl) for row in rows]

    def plain_batch(self, rows: Sequence[JudgedExample]) -> Batch:
        return self.collate([row.example for row in rows])

    def batch_of(self, rows: Sequence[MeasuredAnswer]) -> Batch:
        return {
            "answers": self.collate([row.judged.example for row in rows]),
            "good": torch.tensor([row.judged.good for row in rows]),
            "kl": torch.tensor([row.kl for row in rows]),
        }

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        settings = self.config.preference
        answers, good_B, kl_B = batch["answers"], batch["good"], batch["kl"]
        with self.reference.on(model):
            reference_B, _ = answer_logps(model, answers)
        policy_B, _ = answer_logps(model, answers)
        ratios_B = policy_B - reference_B
        losses_B = kto_losses(ratios_B, kl_B, good_B, settings)
        rewards_B = settings.beta_of("kto") * ratios_B.detach()
        figures = {
            "rewards_accuracy": ((ratios_B.detach() > kl_B) == good_B).float(),
            "rewards_chosen": rewards_B[good_B],
            "rewards_rejected": rewards_B[~good_B],
            "logps_chosen": policy_B[good_B],
            "logps_rejected": policy_B[~good_B],
            "kl": kl_B,
        }
        return losses_B.sum(), sums_of(figures)
