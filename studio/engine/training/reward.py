"""Learning to give points: the better answer of a pair shall get more than the worse one.

-log s(points of the chosen - points of the rejected answer), the mean over the pairs of the
effective batch. Source: Ouyang et al. 2022 (arXiv 2203.02155) equation 1, with two answers.
"""

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.scorer import points_of
from studio.engine.training.batches import Batch
from studio.engine.training.preference import PairTrainer, pair_figures
from studio.engine.training.report import Figures


class RewardTrainer(PairTrainer):
    """Trains the head of points and the adapter together."""

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        points_B = points_of(model, batch)
        chosen, rejected = points_B.chunk(2)
        return -F.logsigmoid(chosen - rejected).sum(), pair_figures(points_B)
