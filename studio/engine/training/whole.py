"""Training the model's own weights: all of them, half of each block, or the last blocks.

Master weights are FP32; which tensors are trained says `studio/training/whole_weights.py`.
"""

from transformers import PreTrainedModel

from studio.engine.loading import keep_linear_in_bf16
from studio.engine.trained_weights import TrainedWeights
from studio.training.adapter import AdapterSettings
from studio.training.whole_weights import trained_names

# Methods whose loss looks at the base, too, as the reference.
NEED_BASE = ("dpo", "kto", "grpo")


def train_whole(
    model: PreTrainedModel, settings: AdapterSettings, method: str, precision: str
) -> TrainedWeights:
    """`model`, loaded in FP32, with gradients of the tensors that `settings` train.

    Those stay in FP32; with precision "bf16" the rest needs half the memory.
    """
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    names = trained_names(shapes, settings)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in names)
    if precision == "bf16":
        keep_linear_in_bf16(model)
    facts = {
        "schema_version": 1,
        "kind": settings.kind,
        "n_last_layers": settings.n_last_layers,
        "architecture": type(model).__name__,
        "hidden_size": model.config.hidden_size,
        "n_layers": model.config.num_hidden_layers,
        "vocab_size": model.config.vocab_size,
        "n_tensors": len(names),
    }
    return TrainedWeights(model, names, facts, keeps_base=method in NEED_BASE)
