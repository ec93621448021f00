"""A dataset on the Hugging Face Hub → files on this computer; nothing of it is ever run.

First choice is the Parquet copy that the Hub itself makes of most datasets (the branch
refs/convert/parquet: config/split/0000.parquet); else the repository's own files of readable
kinds, with the configurations its card declares. What was found once is found again offline.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from studio.data.found_files import SPLIT_WORDS, Found, found_in_splits, is_data_file, split_of
from studio.errors import DataError
from studio.paths import write_json

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PARQUET_BRANCH = "refs/convert/parquet"
_CONVERTED = re.compile(r"(?P<config>[^/]+)/(?P<split>[^/]+)/[^/]+\.parquet")
# The Hub converts the first 5 GB of a split and then says so in the folder's name.
_PARTIAL = "partial-"
_SHOWN_CHOICES = 40
# configuration: split: paths in the repository
Splits = dict[str, dict[str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class HubAsk:
    """Which dataset, and which part of it; "" is left open."""

    id: str
    revision: str = ""
    config: str = ""
    split: str = ""

    def __str__(self) -> str:
        part = f":{self.config}" if self.config else ""
        part += f"/{self.split}" if self.split else ""
        return self.id + (f"@{self.revision}" if self.revision else "") + part


@dataclass(frozen=True)
class _Listing:
    """One state of the repository: its commit, and its files with their sizes in bytes."""

    commit: str
    sizes: dict[str, int] = field(default_factory=dict)


def find_on_hub(
    ask: HubAsk,
    cache_dir: Path,
    progress: Callable[[str], None],
    endpoint: str | None = None,
    hub_cache: Path | None = None,
) -> Found:
    """The files of a dataset on the hub, downloaded into the usual hub cache.

    Raises: DataError when there is none, it is gated, the hub cannot be reached, or when a
    configuration or split must be chosen.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415  (1 s, hub ids only)

    memory = cache_dir / "hub" / f"{hashlib.sha256(str(ask).encode()).hexdigest()[:32]}.json"
    try:
        with _refused(ask):
            progress(f"asking the hub for {ask.id} ...")
            api = HfApi(endpoint=endpoint)
            listing, splits = _parts(api, ask, hub_cache)
            chosen = _chosen(ask, splits)
            found = _download(api, ask, listing, chosen, progress, hub_cache)
    except DataError as error:
        known = _remembered(memory) if error.code == "hub_unreachable" else None
        if known is None:
            raise
        return known
    _remember(memory, found)
    return found


def _parts(api: "HfApi", ask: HubAsk, hub_cache: Path | None) -> tuple[_Listing, Splits]:
    """The configurations and splits there are, and the commit they are of."""
    from huggingface_hub.errors import RevisionNotFoundError  # noqa: PLC0415

    own = _list(api, ask, ask.revision or None)
    if not ask.revision:
        try:
            converted = _list(api, ask, _PARQUET_BRANCH)
        except RevisionNotFoundError:
            converted = _Listing("")
        splits = _by_folders(converted.sizes)
        if splits:
            return converted, splits
    data = [path for path in own.sizes if is_data_file(Path(path).name)]
    splits = _by_folders(own.sizes) if all(map(_CONVERTED.fullmatch, data)) else {}
    splits = splits or _by_card(api, ask, own, data, hub_cache) or _by_names(data)
    if not splits:
        others = sorted({Path(path).suffix for path in own.sizes if Path(path).suffix})
        raise DataError(
            f"'{ask.id}' holds no file of a kind the studio reads (it has "
            f"{', '.join(others[:8]) or 'no files'}).",
            "Choose another dataset, or download and convert its files yourself.",
            "no_files",
        )
    return own, splits


def _list(api: "HfApi", ask: HubAsk, revision: str | None) -> _Listing:
    info = api.dataset_info(ask.id, revision=revision, files_metadata=True)
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return _Listing(info.sha or "", dict(sorted(files.items())))


def _by_folders(paths: Any) -> Splits:
    """Of config/split/0000.parquet."""
    splits: Splits = {}
    for path in paths:
        if fits := _CONVERTED.fullmatch(path):
            split = fits["split"].removeprefix(_PARTIAL)
            splits.setdefault(fits["config"], {}).setdefault(split, []).append(path)
    return splits


def _by_card(
    api: "HfApi", ask: HubAsk, own: _Listing, data: list[str], hub_cache: Path | None
) -> Splits:
    """The configurations that the dataset card (README.md) declares.

    Source: Hugging Face Hub documentation, "Manual configuration".
    """
    if "README.md" not in own.sizes:
        return {}
    card = Path(_fetch(api, ask, own.commit, "README.md", hub_cache)).read_text("utf-8", "replace")
    head = re.match(r"\s*---\s*\n(.*?)\n---\s*(?:\n|\Z)", card, re.DOTALL)
    try:
        values = yaml.safe_load(head[1]) if head else {}
    except yaml.YAMLError:
        return {}
    configs = values.get("configs") if isinstance(values, dict) else None
    splits: Splits = {}
    for config in configs if isinstance(configs, list) else ():
        if isinstance(config, dict) and config.get("data_files"):
            declared = _declared(config["data_files"], str(config.get("data_dir") or ""), data)
            if declared:
                splits[str(config.get("config_name") or "default")] = declared
    return splits


def _declared(data_files: Any, data_dir: str, data: list[str]) -> dict[str, list[str]]:
    """The files of each split of one configuration."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    splits: dict[str, list[str]] = {}
    for entry in entries:
        named = isinstance(entry, dict)
        split = str(entry.get("split") or "train") if named else "train"
        patterns = entry.get("path") if named else entry
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            full = f"{data_dir.strip('/')}/{pattern}" if data_dir else str(pattern)
            wanted = full.removeprefix("./").replace("**/", "*")
            splits.setdefault(split, []).extend(p for p in data if fnmatchcase(p, wanted))
    return {split: list(dict.fromkeys(paths)) for split, paths in splits.items() if paths}


def _by_names(data: list[str]) -> Splits:
    """One configuration; a file belongs to the split that its path names, else to train."""
    splits: dict[str, list[str]] = {}
    for path in data:
        splits.setdefault(split_of(path) or "train", []).append(path)
    return {"default": splits} if splits else {}


def _chosen(ask: HubAsk, splits: Splits) -> tuple[str, dict[str, list[str]]]:
    """The configuration, and the splits of it to take."""
    config, split = ask.config, ask.split
    only = next(iter(splits)) if len(splits) == 1 else ""
    if only and config != only and config in splits[only] and not split:
        config, split = only, config  # owner/name:train
    config = config or only
    if config not in splits:
        what = f"has no configuration '{config}'" if config else "has several configurations"
        raise _choice(ask, what, [f"{c}/{s}" for c, parts in splits.items() for s in parts])
    parts = splits[config]
    choices = [f"{config}/{name}" for name in parts]
    if split and split not in parts:
        raise _choice(ask, f"has no split '{split}' in '{config}'", choices)
    if not split and len(parts) > 1 and not set(parts) <= set(SPLIT_WORDS):
        raise _choice(ask, "has several splits", choices)
    return config, {split: parts[split]} if split else parts


def _choice(ask: HubAsk, what: str, choices: list[str]) -> DataError:
    base = str(HubAsk(id=ask.id, revision=ask.revision))
    shown = ", ".join(choices[:_SHOWN_CHOICES])
    more = f" and {len(choices) - _SHOWN_CHOICES} more" if len(choices) > _SHOWN_CHOICES else ""
    return DataError(
        f"'{ask.id}' {what}. There are {shown}{more}.",
        f"Name one behind a colon, for example {base}:{choices[0]}.",
        "choose_split",
    )


def _download(
    api: "HfApi",
    ask: HubAsk,
    listing: _Listing,
    chosen: tuple[str, dict[str, list[str]]],
    progress: Callable[[str], None],
    hub_cache: Path | None,
) -> Found:
    config, parts = chosen
    paths = [(path, split) for split, of_split in parts.items() for path in of_split]
    files: dict[Path, str] = {}
    for number, (path, split) in enumerate(paths, 1):
        size = listing.sizes.get(path, 0) / 1e6
        progress(f"downloading {number} of {len(paths)} ({size:,.1f} MB): {path}")
        local = _fetch(api, ask, listing.commit, path, hub_cache)
        files[Path(local)] = split if len(parts) > 1 else ""
    split = f"/{next(iter(parts))}" if len(parts) == 1 else ""
    notes = [
        "The hub's copy holds only the first part of this dataset, which is very large."
        for path, _ in paths
        if f"/{_PARTIAL}" in path
    ]
    origin = f"{ask.id}@{listing.commit}:{config}{split}"
    return found_in_splits(files, ask.id.split("/")[1], origin, notes[:1])


def _fetch(api: "HfApi", ask: HubAsk, commit: str, path: str, hub_cache: Path | None) -> str:
    return str(
        api.hf_hub_download(ask.id, path, repo_type="dataset", revision=commit, cache_dir=hub_cache)
    )


@contextmanager
def _refused(ask: HubAsk) -> Iterator[None]:
    """Turn what the hub answers into a DataError; never with an address, which may hold a key."""
    import httpx2  # noqa: PLC0415  (what huggingface_hub asks with)
    from huggingface_hub import errors  # noqa: PLC0415  (1 s, hub ids only)

    try:
        yield
    except errors.GatedRepoError as error:
        raise DataError(
            f"'{ask.id}' is gated: its owner wants you to accept the terms first.",
            "Accept them on the dataset's page, then run 'hf auth login' with your token.",
            "dataset_gated",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(
            f"'{ask.id}' has no revision '{ask.revision}'.",
            "Check the branch, tag or commit behind the @.",
            "dataset_not_found",
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise DataError(
            f"There is no file or folder '{ask.id}' on this computer, and the hub has no dataset "
            "of this name (or it is private).",
            "Check the spelling; for a private dataset run 'hf auth login' with your token.",
            "dataset_not_found",
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx2.HTTPError) as error:
        offline = isinstance(error, errors.OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE forbids it" if offline else "there is no connection, or it is down"
        raise DataError(
            f"There is no file or folder '{ask.id}' on this computer, and the hub cannot be asked "
            f"for it: {why}.",
            "Connect to the internet, or type the path of a file on this computer.",
            "hub_unreachable",
        ) from error


def _remember(memory: Path, found: Found) -> None:
    values = {
        "files": [str(path) for path in found.files],
        "name": found.name,
        "origin": found.origin,
        "validation_files": list(found.validation_files),
        "test_files": list(found.test_files),
        "notes": list(found.notes),
    }
    write_json(memory, values)


def _remembered(memory: Path) -> Found | None:
    """What the same words led to before, where all of its files are still there."""
    try:
        values = json.loads(memory.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    files = tuple(Path(name) for name in values["files"])
    if not all(path.is_file() for path in files):
        return None
    note = "The hub cannot be asked now: these are the files downloaded before."
    return Found(
        files=files,
        name=values["name"],
        origin=values["origin"],
        validation_files=tuple(values["validation_files"]),
        test_files=tuple(values["test_files"]),
        notes=(*values["notes"], note),
    )
