"""Learning to prefer: losses over the log-probabilities of a better and a worse answer.

A pair's answers go through the model behind their prompts, in one batch. Every loss is the mean
over the pairs of the effective batch, and every figure too.

Shapes: B = 2 P examples of a batch, all chosen before all rejected answers; P pairs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.training.answers import Reference, answer_logps, both_answers, sums_of
from studio.engine.training.batches import Batch, Collator
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.report import Figures, Reporter
from studio.text.examples import PreferenceExample
from studio.training.config import RunConfig
from studio.training.methods import PreferenceSettings

# A mean log-probability above this is probability 1 in FP32, whose odds are infinite.
_MOST_LOGP = -1e-6


def dpo_losses(
    ratios_B: torch.Tensor, counts_B: torch.Tensor, settings: PreferenceSettings
) -> torch.Tensor:
    """DPO's loss of each pair [P], from each answer's log(policy / reference) and its tokens.

    With d the chosen answer's log-ratio minus the rejected one's, and e the label smoothing:

    sigmoid: -(1 - e) log s(beta d) - e log s(-beta d). Source: Rafailov et al. 2023 (arXiv
      2305.18290) equation 7; with e > 0 conservative DPO, Mitchell 2023 ("A note on DPO with
      noisy preferences and relationship to IPO") equation 3, which TRL's sigmoid leaves out.
    robust: (-(1 - e) log s(beta d) + e log s(-beta d)) / (1 - 2 e), right on average where a
      share e of the pairs is the wrong way round. Source: Chowdhury et al. 2024 (arXiv
      2403.00409) section 3.
    hinge: max(0, 1 - beta d). Source: Liu et al. 2023 (arXiv 2309.06657), there hinge-norm.
    ipo: (d' - 1 / (2 beta))^2, with d' of log-ratios divided by their answers' tokens, so that
      long answers do not count more. Source: Azar et al. 2023 (arXiv 2310.12036) equation 17.
    """
    beta, doubt = settings.beta_of("dpo"), settings.label_smoothing
    if settings.loss_type == "ipo":
        chosen, rejected = (ratios_B / counts_B).chunk(2)
        return (chosen - rejected - 1 / (2 * beta)) ** 2
    chosen, rejected = ratios_B.chunk(2)
    margins = beta * (chosen - rejected)
    if settings.loss_type == "hinge":
        return F.relu(1 - margins)
    right, wrong = -F.logsigmoid(margins), -F.logsigmoid(-margins)
    if settings.loss_type == "robust":
        return ((1 - doubt) * right - doubt * wrong) / (1 - 2 * doubt)
    return (1 - doubt) * right + doubt * wrong


def odds_ratio_losses(mean_logps_B: torch.Tensor) -> torch.Tensor:
    """-log s(log(odds of the chosen / odds of the rejected answer)) [P], odds = p / (1 - p).

    p is the answer's probability by the mean over its tokens. Source: Hong et al. 2024 (arXiv
    2403.07691) equations 4 and 7.
    """
    log_p = mean_logps_B.clamp(max=_MOST_LOGP)
    chosen, rejected = (log_p - torch.log(-torch.expm1(log_p))).chunk(2)
    return -F.logsigmoid(chosen - rejected)


def simpo_losses(mean_logps_B: torch.Tensor, settings: PreferenceSettings) -> torch.Tensor:
    """-log s(beta (chosen - rejected) - gamma) [P], of log-probabilities by token.

    Source: Meng et al. 2024 (arXiv 2405.14734) equation 6.
    """
    chosen, rejected = mean_logps_B.chunk(2)
    margins = settings.beta_of("simpo") * (chosen - rejected)
    return -F.logsigmoid(margins - settings.simpo_gamma)


def pair_figures(rewards_B: torch.Tensor, logps_B: torch.Tensor | None = None) -> Figures:
    """What every pair method shows: who got how many points, and how likely the answers are."""
    chosen, rejected = rewards_B.detach().chunk(2)
    figures = {
        "rewards_accuracy": (chosen > rejected).float(),
        "rewards_margin": chosen - rejected,
        "rewards_chosen": chosen,
        "rewards_rejected": rejected,
    }
    if logps_B is not None:
        figures["logps_chosen"], figures["logps_rejected"] = logps_B.detach().chunk(2)
    return sums_of(figures)


class ReferenceTrainer(WatchedTrainer):
    """Knows the model as the run found it."""

    def settle(
        self, reporter: Reporter, collate: Collator, config: RunConfig, precision: str
    ) -> None:
        super().settle(reporter, collate, config, precision)
        assert isinstance(self.model, nn.Module)
        self.reference = Reference(self.model, config)


class PairTrainer(WatchedTrainer):
    """Trains on pairs; the loss is the mean over the pairs of the effective batch."""

    def batch_of(self, rows: Sequence[PreferenceExample]) -> Batch:
        return self.collate(both_answers(rows))


class DpoTrainer(ReferenceTrainer, PairTrainer):
    """DPO, with its variants. A reward is beta log(policy / reference)."""

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        with self.reference.on(model):
            reference_B, _ = answer_logps(model, batch)
        policy_B, counts_B = answer_logps(model, batch)
        ratios_B = policy_B - reference_B
        losses_P = dpo_losses(ratios_B, counts_B, self.config.preference)
        beta = self.config.preference.beta_of("dpo")
        return losses_P.sum(), pair_figures(beta * ratios_B, policy_B)


class OrpoTrainer(PairTrainer):
    """ORPO: the chosen answer's loss by token, plus beta times the loss of the odds ratio.

    Source: Hong et al. 2024 (arXiv 2403.07691) equation 6. As everywhere in the studio only the
    answer's tokens are learned; TRL also counts those of the prompt in the first part.
    """

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        beta = self.config.preference.beta_of("orpo")
        logps_B, counts_B = answer_logps(model, batch)
        mean_logps_B = logps_B / counts_B
        nll_P = -mean_logps_B.chunk(2)[0]
        odds_P = odds_ratio_losses(mean_logps_B)
        figures = pair_figures(beta * mean_logps_B, logps_B)
        figures |= sums_of({"nll_loss": nll_P, "odds_ratio_loss": odds_P})
        return (nll_P + beta * odds_P).sum(), figures


class SimpoTrainer(PairTrainer):
    """SimPO. A reward is beta times the log-probability by token; there is no reference."""

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        logps_B, counts_B = answer_logps(model, batch)
        mean_logps_B = logps_B / counts_B
        losses_P = simpo_losses(mean_logps_B, self.config.preference)
        beta = self.config.preference.beta_of("simpo")
        return losses_P.sum(), pair_figures(beta * mean_logps_B, logps_B)
