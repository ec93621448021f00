"""How to get the same conversations again, byte for byte: files, layout, mapping, split, seed."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.settings import knob

LAYOUTS = ("messages", "sharegpt", "alpaca", "prompt_completion", "preference", "text")


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe:
    """Which files, read how, split how. `sha256` is filled when the files are first read."""

    schema_version: int = 1
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    layout: str = knob(
        "auto",
        "Layout",
        "How a row becomes a conversation. Detected from the rows; change it if it is wrong.",
        choices=("auto", *LAYOUTS),
        level="basic",
    )
    mapping: dict[str, str] = field(default_factory=dict)
    chat_template: str = knob(
        "",
        "Chat template",
        "How messages become text. Empty: the model's own; else a gallery name or Jinja source.",
    )
    train_on: str = knob(
        "all_answers",
        "Train on",
        "Which tokens count in the loss: every answer, only the last one, or all text.",
        choices=("all_answers", "last_answer", "everything"),
        level="basic",
    )
    validation_share: float = knob(
        0.05,
        "Validation share",
        "Part of the rows kept out of training to measure validation loss. 0 switches it off.",
        min=0.0,
        max=0.5,
        step=0.01,
        level="basic",
    )
    split_seed: int = knob(
        42, "Split seed", "The same seed picks the same validation rows.", min=0, max=2**31 - 1
    )

    def resolved(self, base: Path) -> "DatasetRecipe":
        """The same recipe with relative file names resolved against the folder `base`."""
        files = tuple(str((base / Path(name).expanduser()).resolve()) for name in self.files)
        return replace(self, files=files)
