"""What a run left in its `adapter/` folder: peft's files, or the model's own trained weights.

The one place that knows the files' names; everybody who asks for a result asks here.
"""

from pathlib import Path
from typing import Literal

ADAPTER = "adapter"
PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
TRAINED_FACTS = "trained_weights.json"
TRAINED_WEIGHTS = "trained_weights.safetensors"
# Of checkpoints alone: what training goes on from, and the settings that it was made by.
TRAINING_STATE = "training_state.safetensors"
ADAPTER_SETTINGS = "adapter_settings.json"
AdapterKind = Literal["peft", "weights"]
_FILES: dict[AdapterKind, tuple[str, str]] = {
    "peft": (PEFT_CONFIG, PEFT_WEIGHTS),
    "weights": (TRAINED_FACTS, TRAINED_WEIGHTS),
}


def adapter_kind(folder: Path) -> AdapterKind | None:
    """ "peft" for an adapter of peft, "weights" for whole trained tensors; None where neither is
    there with both its files."""
    for kind, files in _FILES.items():
        if all((folder / name).is_file() for name in files):
            return kind
    return None


def result_files(trains_base: bool) -> tuple[str, str]:
    """The files that a run leaves, and its checkpoints hold: what it is, then its tensors."""
    return _FILES["weights" if trains_base else "peft"]


def missing_file(folder: Path) -> str:
    """The first file that keeps `folder` from being a result; "" where it is one."""
    if adapter_kind(folder):
        return ""
    begun = (folder / TRAINED_FACTS).is_file() or (folder / TRAINED_WEIGHTS).is_file()
    return next(name for name in result_files(begun) if not (folder / name).is_file())


def tensors_path(folder: Path) -> Path:
    """The file with the tensors of a result."""
    return folder / result_files(adapter_kind(folder) == "weights")[1]
