"""Learning to prefer: direct preference optimization through TRL, on our own token ids.

The reference is the same model with the adapter off. Loss of a pair, with log-probabilities
summed over the answer's tokens: -log sigmoid(beta * ((log p_c - log ref_c) - (log p_r - log
ref_r))). Source: Rafailov et al. 2023 (arXiv 2305.18290) equation 7.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from studio.engine.batches import Batch, pad
from studio.engine.train_frame import WatchedTrainer
from studio.text.examples import IGNORE_INDEX, PreferenceExample


def collate_pairs(pairs: Sequence[PreferenceExample]) -> Batch:
    """TRL's batch: all chosen, then all rejected answers, each behind its prompt.

    `completion_mask` is 1 exactly where our labels are, so the loss sees our labels.
    """
    batch = pad([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    labels = batch.pop("labels")
    return {**batch, "completion_mask": (labels != IGNORE_INDEX).long()}


class PairTrainer(WatchedTrainer, DPOTrainer):
    """TRL's DPO loss inside our frame."""

    @classmethod
    def of(
        cls,
        base: PreTrainedModel,
        adapter: LoraConfig,
        arguments: dict[str, Any],
        beta: float,
        model_folder: Path,
    ) -> "PairTrainer":
        """A trainer with a fresh adapter on `base`; its rows are set afterwards."""
        tokenizer = AutoTokenizer.from_pretrained(
            str(model_folder), local_files_only=True, trust_remote_code=False
        )
        # TRL asks for a Dataset at construction and would look into its columns.
        nothing = Dataset.from_dict({"row": [0]})
        return cls(
            model=base,
            args=DPOConfig(**arguments, beta=beta, max_length=None),
            train_dataset=nothing,
            eval_dataset=nothing,
            processing_class=tokenizer,
            peft_config=adapter,
            data_collator=collate_pairs,
        )

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        # The rows are encoded already; TRL would render and cut them anew.
        return dataset

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoints need no card."""

    def validation_part(self, model: nn.Module, batch: Batch) -> tuple[float, float]:
        n_pairs = len(batch["input_ids"]) // 2
        loss = self.compute_loss(model, batch)  # type: ignore[no-untyped-call]
        return float(loss) * n_pairs, float(n_pairs)
