"""What a person's words led to: files, where they come from, and which of them are held out."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from studio.data.reading_bytes import is_readable, kind_of, stem_of
from studio.data.recipe import DatasetRecipe

_VALIDATION = ("validation", "valid", "val", "dev", "eval", "evaluation")
_TEST = ("test", "testing")
_TRAIN = ("train", "training")
SPLIT_WORDS = (*_TRAIN, *_VALIDATION, *_TEST)
# What lies beside data and is none.
_SIDE_FILES = re.compile(
    r"(readme|licen[cs]e|notice|changelog|citation|contributing|code_of_conduct|requirements"
    r"|dataset_infos?|dataset_dict|state|package(-lock)?|config|tokenizer(_config)?"
    r"|special_tokens_map|croissant)\b.*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Files in order; `validation_files` and `test_files` are names as in `source_names`.

    `name` is what a person would call the dataset. `origin` is "" for files of this computer.
    `notes` say what was left out, in words.
    """

    files: tuple[Path, ...]
    name: str = ""
    origin: str = ""
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def suggested_name(self) -> str:
        """`name`, else the first file's without its endings."""
        return self.name or (stem_of(self.files[0]) if self.files else "")

    def recipe(self, **settings: Any) -> DatasetRecipe:
        """A recipe over these files, split by file where some are held out."""
        held_out = self.validation_files or self.test_files
        if held_out:
            settings.setdefault("split_by", "file")
        return DatasetRecipe(
            files=tuple(str(path) for path in self.files),
            origin=self.origin,
            validation_files=self.validation_files,
            test_files=self.test_files,
            **settings,
        )


def source_names(files: Sequence[Path]) -> list[str]:
    """What each file is called among the others: its name, with folders before it where two
    have the same; the same file again is called the same.
    """
    names = [path.name for path in files]
    n_files = len(set(files))
    for depth in range(2, max((len(path.parts) for path in files), default=0) + 1):
        if len(set(names)) == n_files:
            break
        twice = {name for name, n in Counter(names).items() if n > 1}
        names = [
            "/".join(path.parts[-depth:]) if name in twice else name
            for path, name in zip(files, names, strict=True)
        ]
    return names


def is_side_file(name: str) -> bool:
    """Whether a file of this name describes data rather than holding any."""
    if name.startswith("cache-") and name.endswith(".arrow"):
        return True  # left by `datasets` when it maps
    return bool(_SIDE_FILES.fullmatch(name)) and kind_of(Path(name)) not in (".parquet", ".csv")


def is_data_file(name: str) -> bool:
    """Whether a file of this name is one to take from a folder."""
    return is_readable(Path(name)) and not is_side_file(name)


def split_of(place: str) -> str:
    """The split that a path below a dataset's folder names; "" where it names none.

    Source: Hugging Face Hub documentation, "File names and splits".
    """
    for part in reversed(PurePosixPath(place).parts):
        words = re.split(r"[^a-z]+", part.lower())
        found = next((word for word in words if word in SPLIT_WORDS), "")
        if found:
            return found
    return ""


def found_in_splits(
    files: Mapping[Path, str], name: str = "", origin: str = "", notes: Sequence[str] = ()
) -> Found:
    """`files` with the split of each: what validates and what tests is held out, and comes last.

    Where nothing would be left to train on, nothing is held out.
    """
    ordered = sorted(files, key=lambda path: (files[path] in _TEST, files[path] in _VALIDATION))
    names = dict(zip(ordered, source_names(ordered), strict=True))
    validation = tuple(names[path] for path in ordered if files[path] in _VALIDATION)
    test = tuple(names[path] for path in ordered if files[path] in _TEST)
    if len(validation) + len(test) == len(files):
        validation, test = (), ()
    return Found(
        files=tuple(ordered),
        name=name,
        origin=origin,
        validation_files=validation,
        test_files=test,
        notes=tuple(notes),
    )
