"""What a person typed → files: a file, a folder, a dataset saved to disk, or one on the hub.

Enters: a text, or several. Leaves: a Found. Folders hold files of any readable kind, sub-folders
too; one that `datasets` saved (a Dataset or a DatasetDict) gives its own files, by split.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from studio.data.found_files import (
    Found,
    found_in_splits,
    is_data_file,
    is_side_file,
    source_names,
    split_of,
)
from studio.data.reading_bytes import SUFFIXES, is_readable, is_text_file
from studio.errors import DataError

Progress = Callable[[str], None]

_HUB_ID = re.compile(
    r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<config>[^/\s]+)(?:/(?P<split>\S+))?)?"
)
_HUB_PAGE = re.compile(r"(?:https?://huggingface\.co/datasets/|hf://datasets/)([^/]+/[^/?#]+).*")
_MOST_FILES = 10_000


def find_files(text: str, cache_dir: Path, progress: Progress | None = None) -> Found:
    """The files that `text` means: a path, or owner/name[@revision][:config[/split]] on the hub.

    What is on the hub is downloaded; `progress` is told, in words. A path wins over a hub id.
    Raises: DataError where there is nothing, nothing readable, or a choice to make first.
    """
    text = text.strip().strip("\"'").strip()
    path = Path(text).expanduser()
    if text and path.is_dir():
        return _in_folder(path.resolve())
    if text and path.exists():
        return Found(files=(path.resolve(),))
    page = _HUB_PAGE.fullmatch(text)
    asked = _HUB_ID.fullmatch(page[1] if page else text)
    if asked and not is_readable(path):
        from studio.data.hub import HubAsk, find_on_hub  # noqa: PLC0415  (only for hub ids)

        words = HubAsk(**{name: value or "" for name, value in asked.groupdict().items()})
        return find_on_hub(words, cache_dir, progress or (lambda text: None))
    raise DataError(
        f"There is no file '{text}'.",
        "Type the full path of a file or folder on this computer, or a dataset of the hub as "
        "owner/name.",
        "file_not_found",
    )


def find_all(texts: Iterable[str], cache_dir: Path, progress: Progress | None = None) -> Found:
    """The files of several texts, one after the other."""
    parts = [find_files(text, cache_dir, progress) for text in texts]
    if len(parts) == 1:
        return parts[0]
    splits: dict[Path, str] = {}
    for part in parts:
        held = dict.fromkeys(part.validation_files, "validation")
        held |= dict.fromkeys(part.test_files, "test")
        for path, name in zip(part.files, source_names(part.files), strict=True):
            splits[path] = held.get(name, "")
    return found_in_splits(
        splits,
        parts[0].suggested_name if parts else "",
        " + ".join(part.origin for part in parts if part.origin),
        [note for part in parts for note in part.notes],
    )


def _in_folder(folder: Path) -> Found:
    if (folder / "dataset_dict.json").is_file():
        return _saved_splits(folder)
    if (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file():
        return Found(files=tuple(_saved(folder)), name=folder.name)
    data, unread, side = [], 0, []
    for path in _walk(folder):
        if is_data_file(path.name):
            data.append(path)
        elif is_side_file(path.name):
            side.append(path.name)
        else:
            unread += 1
        if len(data) > _MOST_FILES:
            raise DataError(
                f"The folder '{folder}' holds more than {_MOST_FILES:,} files.",
                "Choose a folder below it, or join the files.",
                "too_many_files",
            )
    structured = [path for path in data if not is_text_file(path)]
    texts = [path for path in data if is_text_file(path)] if structured else []
    notes = [note for note in (_unread(unread), _beside(side), _texts(texts)) if note]
    if not data:
        raise DataError(
            f"The folder '{folder}' holds no file the studio can read.{' '.join(['', *notes])}",
            "It reads " + ", ".join(SUFFIXES) + ", also as .gz or .zst.",
            "no_files",
        )
    taken = structured or data
    splits = {path: split_of(path.relative_to(folder).as_posix()) for path in taken}
    return found_in_splits(splits, folder.name, notes=notes)


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder in order of their paths, without hidden ones."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place, name)


def _unread(n: int) -> str:
    what = "1 file of another kind was" if n == 1 else f"{n:,} files of other kinds were"
    return f"{what} left out." if n else ""


def _beside(names: list[str]) -> str:
    return f"Left out as no data: {', '.join(names[:5])}." if names else ""


def _texts(paths: list[Path]) -> str:
    if not paths:
        return ""
    what = "1 text file was" if len(paths) == 1 else f"{len(paths):,} text files were"
    return (
        f"{what} left out beside the data files ({paths[0].name}): type a text file's own path to "
        "read it."
    )


def _saved_splits(folder: Path) -> Found:
    """The files of a DatasetDict that `datasets` saved to disk."""
    splits = _saved_json(folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
        raise _broken(folder, "dataset_dict.json names no splits")
    files: dict[Path, str] = {}
    for name in splits:
        if name in ("", ".", "..") or Path(name).name != name or not (folder / name).is_dir():
            raise _broken(folder, f"the split '{name}' has no folder")
        files |= dict.fromkeys(_saved(folder / name), split_of(name))
    return found_in_splits(files, folder.name)


def _saved(folder: Path) -> list[Path]:
    """The Arrow files of a Dataset saved to disk, in their order."""
    state = _saved_json(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise _broken(folder, "it is a selection of rows that an old version saved")
    entries = state.get("_data_files")
    names = [entry.get("filename") for entry in entries or () if isinstance(entry, dict)]
    paths = [folder / Path(str(name)).name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if not paths or missing:
        raise _broken(folder, f"'{missing[0]}' is missing" if missing else "it names no file")
    return paths


def _saved_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path.parent, f"its {path.name} cannot be read") from error
    if not isinstance(value, dict):
        raise _broken(path.parent, f"its {path.name} is no object")
    return value


def _broken(folder: Path, reason: str) -> DataError:
    return DataError(
        f"The folder '{folder}' looks like a dataset saved to disk, but {reason}.",
        "Save it again with save_to_disk, or type the path of one of its files.",
        "bad_saved_dataset",
    )
