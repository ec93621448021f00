"""What to train: one frozen value that holds every setting, and the check before the start.

Knobs carry the libraries' own argument names, so translation to peft and transformers is
`**asdict(...)` minus what is ours. Dependent values are properties, never stored.
"""

import math
from dataclasses import dataclass, field

from studio.data.recipe import DatasetRecipe
from studio.settings import knob

METHODS = ("sft", "dpo")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """A LoRA: W + scaling * B @ A beside every chosen linear layer."""

    r: int = knob(
        16,
        "Adapter rank (r)",
        "Size of the update. 8 to 32 suits most tasks; more can learn more and costs memory.",
        min=1,
        max=512,
        step=1,
        level="basic",
    )
    lora_alpha: int = knob(
        32,
        "Adapter strength (alpha)",
        "How strongly the update counts: it is scaled by alpha / r. Twice the rank is usual.",
        min=1,
        max=1024,
        step=1,
        level="basic",
    )
    lora_dropout: float = knob(
        0.0,
        "Adapter dropout",
        "Share of the adapter's input switched off at random while training.",
        min=0.0,
        max=0.9,
        step=0.01,
    )
    target_modules: tuple[str, ...] = ()
    use_rslora: bool = knob(
        False, "Rank-stabilized scaling (rsLoRA)", "Scale by alpha / sqrt(r): steadier above r=64."
    )
    use_dora: bool = knob(
        False,
        "Weight-decomposed LoRA (DoRA)",
        "Also trains each layer's magnitude: a little better at low rank, slower.",
    )

    @property
    def scaling(self) -> float:
        """Factor on the update B @ A: lora_alpha / r, or lora_alpha / sqrt(r) with rsLoRA.

        Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Kalajdzievski 2023
        (arXiv 2312.03732).
        """
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train; names as in transformers' TrainingArguments where it has them."""

    num_train_epochs: float = knob(
        1.0,
        "Epochs",
        "How often training sees each row. One to three; more begins to memorize.",
        min=0.01,
        max=1000,
        step=0.5,
        level="basic",
    )
    max_steps: int = knob(
        0,
        "Steps",
        "Optimizer steps; 0 lets epochs decide.",
        min=0,
        max=10_000_000,
        step=1,
        level="basic",
    )
    learning_rate: float = knob(
        2e-4,
        "Learning rate",
        "Step size at the peak of the schedule. 1e-4 to 2e-4 is usual for LoRA; tiny models "
        "take more.",
        min=1e-7,
        max=1e-1,
        level="basic",
    )
    per_device_train_batch_size: int = knob(
        4,
        "Batch size",
        "Conversations that go through the model at once. More is faster and needs more memory.",
        min=1,
        max=4096,
        step=1,
        level="basic",
    )
    gradient_accumulation_steps: int = knob(
        1,
        "Gradient accumulation",
        "Batches added up before one optimizer step.",
        min=1,
        max=4096,
        step=1,
    )
    max_length: int = knob(
        1024,
        "Maximum length",
        "Longer conversations are cut here; the Data tab shows how many.",
        min=8,
        max=1_048_576,
        step=8,
        unit="tokens",
        level="basic",
    )
    warmup_steps: float = knob(
        0.05,
        "Warm-up",
        "Steps in which the learning rate rises; below 1 it is a share of all steps.",
        min=0.0,
        max=1_000_000,
    )
    lr_scheduler_type: str = knob(
        "linear",
        "Schedule",
        "How the learning rate falls after the warm-up.",
        choices=("linear", "cosine", "constant", "warmup_stable_decay"),
    )
    weight_decay: float = knob(
        0.0, "Weight decay", "Pulls the adapter towards zero.", min=0.0, max=1.0, step=0.01
    )
    adam_beta1: float = knob(
        0.9, "Adam beta 1", "Memory of the gradient's mean.", min=0.0, max=0.9999
    )
    adam_beta2: float = knob(
        0.999, "Adam beta 2", "Memory of the gradient's square.", min=0.0, max=0.99999
    )
    max_grad_norm: float = knob(
        1.0, "Gradient clipping", "Longer gradients are shortened to this.", min=0.001, max=1000.0
    )
    group_by_length: bool = knob(
        True, "Group by length", "Rows of like length share a batch: less padding, faster."
    )
    gradient_checkpointing: bool = knob(
        False,
        "Gradient checkpointing",
        "Computes activations twice instead of keeping them: less memory, slower.",
    )
    precision: str = knob(
        "auto",
        "Precision",
        "Number format of the arithmetic. Auto takes BF16 where the hardware is fast at it.",
        choices=("auto", "fp32", "bf16"),
    )
    eval_steps: int = knob(
        0,
        "Validate every",
        "Steps between measurements of validation loss; 0 takes a tenth of the run.",
        min=0,
        max=10_000_000,
        unit="steps",
    )
    save_steps: int = knob(
        0,
        "Checkpoint every",
        "Steps between checkpoints that a stopped run resumes from; 0 takes a tenth of the run.",
        min=0,
        max=10_000_000,
        unit="steps",
    )
    beta: float = knob(
        0.1,
        "Preference strength (beta)",
        "DPO only: how close the tuned model stays to the base; less lets it move further.",
        min=0.001,
        max=10.0,
    )
    seed: int = knob(
        42, "Seed", "The same seed and settings give the same run.", min=0, max=2**31 - 1
    )

    @property
    def effective_batch_size(self) -> int:
        """Conversations behind one optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def n_steps(self, n_rows: int) -> int:
        """Optimizer steps for `n_rows` training rows: max_steps, else the epochs decide.

        An epoch's last, smaller batch counts as a step, as in transformers' Trainer.
        """
        if self.max_steps:
            return self.max_steps
        batches = math.ceil(n_rows / self.per_device_train_batch_size)
        per_epoch = max(math.ceil(batches / self.gradient_accumulation_steps), 1)
        return max(math.ceil(per_epoch * self.num_train_epochs), 1)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run depends on; two equal configs on one machine give the same adapter."""

    schema_version: int = 1
    name: str = ""
    model: str = "starter"
    dataset: DatasetRecipe = field(default_factory=DatasetRecipe)
    method: str = knob(
        "sft",
        "Method",
        "sft learns to give the answers; dpo learns to prefer chosen over rejected answers.",
        choices=METHODS,
        level="basic",
    )
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
