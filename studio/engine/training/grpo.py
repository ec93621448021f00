"""Learning from rewards: the model answers each prompt several times, and better answers than the
others to the same prompt become likelier.

Advantage of answer i of a group: A_i = r_i - mean(r), divided by std(r) + 1e-4 where rewards are
taken by their spread. Source: Shao et al. 2024 (arXiv 2402.03300) equation 3 and section 4.1; the
standard deviation divides by n - 1.

Loss of token t: -min(q A, clip(q, 1 - epsilon, 1 + epsilon) A) + beta q k3, with q the token's
probability over the one it was drawn with, and k3 = p_ref / p - log(p_ref / p) - 1 against the
model as the run began. Each set of answers serves one step, so q is 1 and only its gradient
counts: before k3 it makes the gradient that of the reverse KL. Source: DeepSeek-AI 2025 (arXiv
2512.02556) section 3.1.

The mean is over all tokens of the step's answers: over each answer first, as in the first
publication, long answers would count less a token. Source: Yu et al. 2025 (arXiv 2503.14476)
section 3.3. Probabilities are those of the temperature that answers are drawn with. All this is
what TRL 1.16 does by default.

The validation loss is minus the mean points of one greedy answer to each validation prompt.

Shapes: G answers to a prompt, N tokens of all answers of a pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.training.answers import Reference, without_dropout
from studio.engine.training.attention import own_attention
from studio.engine.training.batches import Batch, Collator, targets_of
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.generation import Order, generate
from studio.engine.training.passes import give_back, is_full, memory_full
from studio.engine.training.report import Figures, Reporter
from studio.engine.training.sft import logits_at_targets
from studio.errors import ConfigError
from studio.text.examples import IGNORE_INDEX, Example
from studio.text.prompts import PromptExample
from studio.training.config import RunConfig
from studio.training.reward_process import Attempt
from studio.training.rewards import Score, Scorer

SPREAD_EPSILON = 1e-4
# Rewards this close to each other are the same, as in torch.isclose.
_NO_SPREAD = 1e-8


@dataclass(frozen=True, kw_only=True)
class GradedAnswer:
    """An answer behind its prompt, labelled; its advantage and what is shown of it. `weight` is
    what it counts in the loss: its tokens, for validation 1."""

    example: Example
    advantage: float
    figures: dict[str, float]
    weight: float

    @property
    def n_tokens(self) -> int:
        return self.example.n_tokens


def advantages_of(rewards_PG: torch.Tensor, scale_rewards: bool) -> torch.Tensor:
    """How much better each answer is than the others to its prompt [P, G]; see the top."""
    centred = rewards_PG - rewards_PG.mean(1, keepdim=True)
    return (
        centred / (rewards_PG.std(1, keepdim=True) + SPREAD_EPSILON) if scale_rewards else centred
    )


def token_losses(
    ratios_N: torch.Tensor, advantages_N: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """The clipped loss of each token [N]; see the top."""
    clipped_N = ratios_N.clamp(1 - epsilon, 1 + epsilon)
    return -torch.min(ratios_N * advantages_N, clipped_N * advantages_N)


def k3(logps_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """An estimate of KL(policy | reference) for each token drawn from the policy [N].

    Source: Schulman 2020, "Approximating KL divergence".
    """
    difference_N = reference_N - logps_N
    return torch.exp(difference_N) - difference_N - 1


class GrpoTrainer(WatchedTrainer):
    """Answers, has the answers graded, and learns from the differences."""

    def settle(
        self, reporter: Reporter, collate: Collator, config: RunConfig, precision: str
    ) -> None:
        super().settle(reporter, collate, config, precision)
        assert isinstance(self.model, nn.Module)
        self.grpo = config.grpo
        self.scorer = Scorer(self.grpo.rewards)
        # The reference may be a copy of what is trained.
        self.reference = Reference(self.model, config) if self.grpo.kl_beta else None
        self._told: set[str] = set()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        with self.scorer:
            return super().train(*args, **kwargs)

    def prepare_rows(
        self, model: nn.Module, rows: Sequence[PromptExample]
    ) -> Sequence[GradedAnswer]:
        """Answers to each prompt, those to one prompt behind each other: for validation the
        likeliest one. The numbers they are drawn with depend on seed and step alone."""
        learns = model.training
        order = Order(
            n_each=self.grpo.num_generations if learns else 1,
            n_new=[min(self.grpo.max_completion_length, row.room) for row in rows],
            stop_ids=self.encoder.stop_ids,
            temperature=self.grpo.temperature if learns else 0.0,
            seed=self.settings.seed * 2**31 + self.state.global_step,
        )
        answers = iter(self._answers(model, [row.prompt_ids for row in rows], order))
        graded: list[GradedAnswer] = []
        scores: list[Score] = []
        for row in rows:
            group = list(islice(answers, order.n_each))
            found = [self.scorer.score(self._attempt(row, answer)) for answer in group]
            graded += self._graded(row, group, found, learns)
            scores += found
        self._tell_failures(scores)
        # As many answers as have the tokens of a batch of rows of Maximum length.
        longest = max(answer.n_tokens for answer in graded)
        room = self.settings.per_device_train_batch_size * self.settings.max_length
        self.passes.most_rows = max(room // longest, 1)
        return graded

    def _answers(
        self, model: nn.Module, prompts: Sequence[Sequence[int]], order: Order
    ) -> list[list[int]]:
        """All answers of a step; where memory is full, fewer at once."""
        progress = self.reporter.progress
        while True:
            n_at_once = max(len(prompts) * order.n_each >> progress.n_generation_halvings, 1)
            try:
                with (
                    without_dropout(model),
                    own_attention(model),
                    self.compute_loss_context_manager(),
                ):
                    return generate(model, prompts, order, n_at_once)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                # The traceback holds the tensors of what did not fit.
                cause = error.with_traceback(None)
            if n_at_once == 1:
                raise memory_full(model) from cause
            progress.n_generation_halvings += 1
            self.reporter.warn(
                "memory_halved",
                f"Memory was full with {n_at_once} answers at once. They are drawn again, "
                f"{n_at_once // 2} at once: the same answers, slower.",
                "Nothing to do; fewer Answers per prompt or a lower Longest answer need less.",
            )
            give_back()

    def _ends(self, answer: Sequence[int]) -> bool:
        return answer[-1] in self.encoder.stop_ids

    def _attempt(self, row: PromptExample, answer: Sequence[int]) -> Attempt:
        said = answer[:-1] if self._ends(answer) else answer
        return Attempt(row.question, self.encoder.decode(said), row.reference)

    def _graded(
        self,
        row: PromptExample,
        group: Sequence[Sequence[int]],
        scores: Sequence[Score],
        learns: bool,
    ) -> Iterable[GradedAnswer]:
        rewards_G = torch.tensor([score.total for score in scores], dtype=torch.float64)
        shared: dict[str, float] = {}
        advantages = [0.0] * len(group)
        if learns:
            spread = float(rewards_G.std())
            shared = {"reward_std": spread, "groups_without_spread": float(spread <= _NO_SPREAD)}
            advantages = advantages_of(rewards_G[None], self.grpo.scale_rewards)[0].tolist()
        for answer, score, advantage in zip(group, scores, advantages, strict=True):
            labels = [IGNORE_INDEX] * len(row.prompt_ids) + list(answer)
            figures = {
                "reward": score.total,
                **{f"reward_{name}": points for name, points in score.points.items()},
                **shared,
                "completion_length": float(len(answer)),
                "completions_cut": float(not self._ends(answer)),
            }
            if self.scorer.can_fail:
                figures["reward_failures"] = float(bool(score.failures))
            yield GradedAnswer(
                example=Example([*row.prompt_ids, *answer], labels),
                advantage=advantage,
                figures=figures,
                weight=float(len(answer)) if learns else 1.0,
            )

    def _tell_failures(self, scores: Sequence[Score]) -> None:
        """Raises: ConfigError (reward_failed) where a rule failed on every answer."""
        for name in self.scorer.names:
            reasons = [score.failures[name] for score in scores if name in score.failures]
            if reasons and len(reasons) == len(scores):
                raise ConfigError(
                    f"The reward '{name}' failed on all {len(scores)} answers of step "
                    f"{self.state.global_step + 1}: {reasons[0]}.",
                    "Mend it, try it on the Train tab, and start a new run.",
                    "reward_failed",
                )
            if reasons and name not in self._told:
                self._told.add(name)
                self.reporter.warn(
                    "reward_failed",
                    f"The reward '{name}' failed on {len(reasons)} of {len(scores)} answers, "
                    f"which counts as 0 points. The first: {reasons[0]}.",
                    "Nothing to do where that is meant; the curve of failures shows the share.",
                )

    def total_weight(self, rows: Sequence[GradedAnswer]) -> float:
        return sum(row.weight for row in rows)

    def batch_of(self, rows: Sequence[GradedAnswer]) -> Batch:
        figures = {
            name: (sum(row.figures[name] for row in rows), float(len(rows)))
            for name in rows[0].figures
        }
        counts = [sum(label != IGNORE_INDEX for label in row.example.labels) for row in rows]
        advantages_B = torch.tensor([row.advantage for row in rows], dtype=torch.float32)
        return {
            "answers": self.collate([row.example for row in rows]),
            # Of each answer's token, in the order in which the batch's labels stand.
            "advantages": advantages_B.repeat_interleave(torch.tensor(counts)),
            "figures": figures,
        }

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        figures: Figures = dict(batch["figures"])
        if not model.training:
            return torch.tensor(-figures["reward"][0]), figures
        answers = batch["answers"]
        reference_N = None
        if self.reference:
            with self.reference.on(model):
                reference_N = self._logps(model, answers)
        logps_N = self._logps(model, answers)
        ratios_N = torch.exp(logps_N - logps_N.detach())
        losses_N = token_losses(ratios_N, batch["advantages"], self.grpo.epsilon)
        if reference_N is not None:
            kl_N = k3(logps_N, reference_N)
            losses_N = losses_N + self.grpo.kl_beta * ratios_N * kl_N
            figures["kl"] = (float(kl_N.detach().sum()), float(len(kl_N)))
        return losses_N.sum(), figures

    def _logps(self, model: nn.Module, answers: Batch) -> torch.Tensor:
        """Log-probability of each token of the answers [N], at the temperature of drawing."""
        targets = targets_of(answers)
        keep = targets != IGNORE_INDEX
        logits_NV = logits_at_targets(model, answers, keep) / self.grpo.temperature
        return -F.cross_entropy(logits_NV, targets[keep], reduction="none")

    def _validation_rows(self) -> Iterable[Sequence[Any]]:
        # One answer each, without gradients: as many prompts at once as a step has answers.
        rows = (row for part in super()._validation_rows() for row in part)
        n_at_once = self.settings.effective_batch_size * self.grpo.num_generations
        while part := list(islice(rows, n_at_once)):
            yield part
