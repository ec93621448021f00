"""A run's settings in people's words: their sections, labels and values, for cards and tables.

In: the plain values of a config.json. Out: labels from the knobs, and short words for values.
"""

from pathlib import Path
from typing import Any

from studio.data.recipe import DatasetRecipe
from studio.settings import knobs
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import PAIRS, GrpoSettings, PreferenceSettings

# Key in config.json ("" for the settings of the run itself), class, title.
SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("", RunConfig, "Model and method"),
    ("dataset", DatasetRecipe, "Data"),
    ("adapter", AdapterSettings, "Adapter"),
    ("training", TrainSettings, "Training"),
    ("preference", PreferenceSettings, "Preferences"),
    ("grpo", GrpoSettings, "Rewards"),
)
# Sections that only some methods have.
_METHODS_OF = {"preference": (*PAIRS, "kto"), "grpo": ("grpo",)}
_PLAIN_LABELS = {
    "name": "Name",
    "model": "Base model",
    "files": "Files",
    "sha256": "Checksums (SHA-256)",
    "mapping": "Columns",
    "target_modules": "Target layers",
    "start_adapter": "Goes on from",
    "modules_to_save": "Whole modules",
    "rewards": "Rewards",
}


def has_section(method: str, key: str) -> bool:
    """Whether a method has the settings of this section."""
    return method in _METHODS_OF.get(key, (method,))


def labels_of(cls: type) -> dict[str, str]:
    """{name: label} of a section's settings, those of other sections' plain fields among them."""
    return {**_PLAIN_LABELS, **{knob.name: knob.label for knob in knobs(cls)}}


def plain(value: Any) -> str:
    """A value as a person reads it, whole; a dash for an empty one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "–"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "–"


def short(value: Any) -> str:
    """As `plain`, a path by its last name, and a list of parts by what each is called."""
    if isinstance(value, list):
        return ", ".join(short(item) for item in value) or "–"
    if isinstance(value, dict) and (called := _called(value)):
        return called
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return plain(value)


def _called(part: dict[str, Any]) -> str:
    return str(part.get("label") or part.get("name") or part.get("kind") or "")
