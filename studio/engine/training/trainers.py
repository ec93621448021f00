"""Which trainer learns by which method."""

from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.grpo import GrpoTrainer
from studio.engine.training.kto import KtoTrainer
from studio.engine.training.preference import DpoTrainer, OrpoTrainer, SimpoTrainer
from studio.engine.training.reward import RewardTrainer
from studio.engine.training.sft import SftTrainer

_TRAINERS: dict[str, type[WatchedTrainer]] = {
    "sft": SftTrainer,
    "pretrain": SftTrainer,
    "dpo": DpoTrainer,
    "orpo": OrpoTrainer,
    "simpo": SimpoTrainer,
    "kto": KtoTrainer,
    "reward": RewardTrainer,
    "grpo": GrpoTrainer,
}


def trainer_class(method: str) -> type[WatchedTrainer]:
    """The trainer of a method."""
    return _TRAINERS[method]
