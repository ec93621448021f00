"""What a run needs to go on with an adapter, bit for bit: its tensors as they are.

The adapter beside it in a checkpoint is what a user takes; of some kinds that is another form of
the same update (`saving.py`), from which training could not go on.
"""

from pathlib import Path

from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file

from studio.engine.training import adalora
from studio.training.result_folder import TRAINING_STATE

_RANKS = "ranks"


def save_state(model: PeftModel, folder: Path) -> None:
    """Write the adapter's tensors into a checkpoint, and what AdaLoRA remembers."""
    tensors = {
        name: weight.detach()
        for name, weight in model.named_parameters()
        # LoRA-FA's A is frozen, and still not the base's.
        if weight.requires_grad or ".lora_A." in name
    }
    metadata = {"format": "pt"}
    if adalora.is_adalora(model):
        memory, metadata[_RANKS] = adalora.memory_of(model)
        tensors |= memory
    contiguous = {name: values.cpu().contiguous() for name, values in tensors.items()}
    save_file(contiguous, folder / TRAINING_STATE, metadata=metadata)


def load_state(model: PeftModel, folder: Path) -> None:
    """Take what `save_state` wrote into a model of the same settings."""
    weights = dict(model.named_parameters())
    memory = {}
    with safe_open(folder / TRAINING_STATE, framework="pt") as file:
        for name in file.keys():
            if name in weights:
                weights[name].data.copy_(file.get_tensor(name))
            else:
                memory[name] = file.get_tensor(name)
        if adalora.is_adalora(model):
            adalora.remember(model, memory, file.metadata()[_RANKS])
