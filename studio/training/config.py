"""What to train: one frozen value that holds every setting, and the check before the start.

Knobs carry the libraries' own argument names, so translation to peft and transformers is
`**asdict(...)` minus what is ours. Dependent values are properties, never stored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.data.recipe import DatasetRecipe
from studio.settings import from_dict, knob
from studio.training.adapter import AdapterSettings
from studio.training.methods import METHODS, GrpoSettings, PreferenceSettings
from studio.training.trackers import TRACKERS

SCHEMA_VERSION = 2
_PARTS_OF_A_RUN = 10
OPTIMIZERS = (
    *("adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"),
    *("adafactor", "lion_32bit", "lion_8bit", "sgd"),
)


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
    optim: str = knob(
        "adamw_torch",
        "Optimizer",
        "AdamW suits nearly everything. In 8 bits or paged it needs less memory; Adafactor and SGD "
        "need almost none; Lion moves by signs alone and wants a tenth of the learning rate.",
        choices=OPTIMIZERS,
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
    neftune_noise_alpha: float = knob(
        0.0,
        "Noise on the input (NEFTune)",
        "Random noise on the embeddings while training; 5 to 15 can make answers less stiff. 0 is "
        "off.",
        min=0.0,
        max=100.0,
    )
    label_smoothing_factor: float = knob(
        0.0,
        "Label smoothing",
        "Spreads this share of each target over the whole vocabulary: less sure of itself.",
        min=0.0,
        max=0.5,
        step=0.01,
    )
    group_by_length: bool = knob(
        True, "Group by length", "Rows of like length share a batch: less padding, faster."
    )
    max_tokens_per_pass: int = knob(
        0,
        "Tokens per pass",
        "A batch with more tokens goes through the model in several passes: the same result, less "
        "memory. 0 lets the studio choose.",
        min=0,
        max=10_000_000,
        unit="tokens",
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
    eval_strategy: str = knob(
        "steps",
        "Validate by",
        "Steps: as often as said below. Epoch: whenever all rows have been seen.",
        choices=("steps", "epoch"),
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
    early_stopping_patience: int = knob(
        0,
        "Stop early after",
        "Ends the run when the validation loss has not improved this many times in a row. 0 is "
        "off.",
        min=0,
        max=1000,
        step=1,
        unit="validations",
    )
    early_stopping_threshold: float = knob(
        0.0,
        "Improvement that counts",
        "By how much the validation loss must fall to count as better.",
        min=0.0,
        max=10.0,
    )
    keep_best: bool = knob(
        False,
        "Keep the best",
        "The result is the model at the lowest validation loss, not the one at the last step.",
    )
    sample_prompts: str = knob(
        "",
        "Prompts to answer while it trains",
        "One a line. Each is answered after every validation; Runs shows the answers by step. It "
        "needs validation rows.",
        lines=3,
    )
    sample_tokens: int = knob(
        64,
        "Longest of these answers",
        "Answers are cut here. The longer, the longer a validation takes.",
        min=1,
        max=4096,
        step=1,
        unit="tokens",
    )
    report_to: str = knob(
        "none",
        "Also log to",
        "A tracker that you have installed beside the studio gets every measure, too. What "
        "Weights & Biases gets leaves this computer where you are logged in there.",
        choices=("none", *TRACKERS),
    )
    seed: int = knob(
        42, "Seed", "The same seed and settings give the same run.", min=0, max=2**31 - 1
    )

    @property
    def effective_batch_size(self) -> int:
        """Conversations behind one optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def sample_lines(self) -> tuple[str, ...]:
        """The prompts, each once."""
        lines = (line.strip() for line in self.sample_prompts.splitlines())
        return tuple(dict.fromkeys(line for line in lines if line))

    @staticmethod
    def steps_between(wanted: int, n_steps: int) -> int:
        """Steps between validations or checkpoints: as `wanted`, or for 0 a tenth of the run."""
        return wanted or max(math.ceil(n_steps / _PARTS_OF_A_RUN), 1)

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

    schema_version: int = SCHEMA_VERSION
    name: str = ""
    model: str = "starter"
    # A run ("id" or "id@step" for one of its checkpoints) or an adapter's folder to go on from.
    start_adapter: str = ""
    dataset: DatasetRecipe = field(default_factory=DatasetRecipe)
    method: str = knob(
        "sft",
        "Method",
        "What the model learns from. The line below says what it is for and what it needs.",
        choices=tuple(METHODS),
        level="basic",
    )
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    grpo: GrpoSettings = field(default_factory=GrpoSettings)

    @property
    def needs_bitsandbytes(self) -> bool:
        """Whether the optimizer or the base is kept in 4 or 8 bits."""
        optimizer = self.training.optim
        in_bits = optimizer.endswith("bit") or optimizer.startswith(("paged", "lion"))
        return in_bits or self.adapter.quantization != "none"

    def planned_steps(self, n_rows: int) -> tuple[int, bool]:
        """Optimizer steps for `n_rows` rows of the dataset, and whether that is their number: with
        pretraining there are at least so many, as long documents become several pieces.

        KTO learns each answer of a pair by itself. The layout must be settled.
        """
        apart = self.method == "kto" and self.dataset.layout == "preference"
        n_steps = self.training.n_steps(2 * n_rows if apart else n_rows)
        return n_steps, bool(self.training.max_steps) or self.method != "pretrain"


# The parts of a run's settings that have knobs of their own, by their key.
SECTIONS: dict[str, type] = {
    "adapter": AdapterSettings,
    "training": TrainSettings,
    "preference": PreferenceSettings,
    "grpo": GrpoSettings,
}


def read_config(values: Mapping[str, Any], place: str) -> RunConfig:
    """A RunConfig from plain values read at `place`, also of an earlier schema.

    Raises: ConfigError naming the first unknown key or wrong type.
    """
    return from_dict(RunConfig, _migrated(values), place)


def _migrated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 had beta among the training settings."""
    values = dict(values)
    training = values.get("training")
    if values.get("schema_version", 1) < SCHEMA_VERSION and isinstance(training, Mapping):
        values["training"] = {name: value for name, value in training.items() if name != "beta"}
        if "beta" in training:
            values["preference"] = {"beta": training["beta"], **values.get("preference", {})}
    return {**values, "schema_version": SCHEMA_VERSION}
