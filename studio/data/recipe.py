"""How to get the same conversations again, byte for byte: files, mapping, edits, split, mix.

A recipe is the whole truth about a dataset: everything a person changes on the Data tab is kept
here, and the files stay as they were.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from studio.settings import knob

LAYOUTS = (
    *("messages", "sharegpt", "alpaca", "prompt_completion", "preference", "kto", "text"),
    "template",
)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change laid over the rows as read; they are numbered from 1 and keep their numbers.

    drop: `rows` are left out. set: the value at `path` (a column, or a dotted way into one) of
    `rows` becomes `value`. clean: the texts of `rows` go through the cleaning `rule`. add:
    `value` is one more row behind the last; `label` says where it comes from, and `rows` holds the
    row that it was made from, if any: both stay in the same part of the split.
    """

    kind: Literal["drop", "set", "clean", "add"]
    rows: tuple[int, ...] = ()
    path: str = ""
    value: Any = None
    rule: str = ""
    # What the person did, in words, for the list of changes.
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe:
    """Which files, read how, mended and split how. `sha256` is filled when first read."""

    schema_version: int = 1
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    # Where the files come from when not from this computer: hub id, configuration, split, commit.
    origin: str = ""
    text_unit: str = knob(
        "auto",
        "A row of a text file is",
        "auto: paragraphs, or lines where a file has no blank line. section: a Markdown heading "
        "with its text. chunk: paragraphs joined up to the chunk size. document: the whole file.",
        choices=("auto", "line", "paragraph", "section", "chunk", "document"),
    )
    chunk_characters: int = knob(
        2000,
        "Chunk size",
        "Most characters of a chunk, where a row of a text file is a chunk.",
        min=100,
        max=1_000_000,
        step=100,
        unit="characters",
    )
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
    edits: tuple[Edit, ...] = ()
    validation_share: float = knob(
        0.05,
        "Validation share",
        "Part of the rows kept out of training to measure validation loss. 0 switches it off.",
        min=0.0,
        max=0.5,
        step=0.01,
        level="basic",
    )
    test_share: float = knob(
        0.0,
        "Test share",
        "Part of the rows that neither training nor validation sees, for a last honest look.",
        min=0.0,
        max=0.5,
        step=0.01,
    )
    split_seed: int = knob(
        42, "Split seed", "The same seed picks the same validation rows.", min=0, max=2**31 - 1
    )
    split_by: str = knob(
        "random",
        "Split by",
        "random: any rows. stratified: the same mix of a column's values on both sides. group: "
        "rows with the same value stay together, so nothing leaks. file: whole files.",
        choices=("random", "stratified", "group", "file"),
    )
    split_column: str = knob(
        "", "Split column", "The column whose values are mixed evenly, or kept together."
    )
    # Names of the files that are the validation part and the test part of a split by file.
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    n_folds: int = knob(
        0,
        "Folds",
        "K-fold cross-validation: train K runs, each with another K-th of the rows as its "
        "validation part. 0: one split by share.",
        min=0,
        max=20,
        step=1,
    )
    fold: int = knob(1, "Fold", "Which fold is the validation part, from 1.", min=1, max=20, step=1)
    balance: str = knob(
        "none",
        "Balance",
        "What to do where some values of a column are rare. oversample: repeat their rows. "
        "undersample: leave rows of the others out. weights: count their rows more in the loss.",
        choices=("none", "oversample", "undersample", "weights"),
    )
    balance_column: str = knob("", "Balance column", "The column whose values are balanced.")
    # Jinja templates, over `prompt` and the row's columns, of which every row draws one by seed.
    phrasings: tuple[str, ...] = ()
    mix: tuple["MixPart", ...] = ()
    # Files whose questions must not be in training: the checkup compares with them.
    evaluation_files: tuple[str, ...] = ()

    def resolved(self, base: Path) -> "DatasetRecipe":
        """The same recipe with relative file names resolved against the folder `base`."""

        def absolute(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(str((base / Path(name).expanduser()).resolve()) for name in names)

        parts = tuple(replace(part, recipe=part.recipe.resolved(base)) for part in self.mix)
        return replace(
            self,
            files=absolute(self.files),
            evaluation_files=absolute(self.evaluation_files),
            mix=parts,
        )


@dataclass(frozen=True, kw_only=True)
class MixPart:
    """Rows of another dataset in training, `share` of all training rows (0 to 0.9)."""

    recipe: DatasetRecipe
    share: float = 0.1
    name: str = ""
