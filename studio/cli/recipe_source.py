"""What a person names as a dataset → its recipe: a file of settings, a dataset, or data itself."""

from pathlib import Path
from typing import Any

from studio.cli.config_file import read_config_file, read_settings
from studio.data.library import list_datasets, load_recipe
from studio.data.recipe import DatasetRecipe
from studio.data.sources import Progress, find_files
from studio.paths import Workspace
from studio.settings import from_dict

# A file of settings above this size would be data under that name.
_LARGEST_BYTES = 64_000_000
_SUFFIXES = (".yaml", ".yml", ".json")


def read_source(
    workspace: Workspace, text: str, progress: Progress | None = None
) -> tuple[DatasetRecipe, str]:
    """The recipe that `text` names, and its id where it is a dataset of the workspace, else "".

    In this order: a run's settings or a recipe as YAML or JSON, a dataset's id ("sample:" ones
    too), a file or folder of data, a dataset of the hub.
    Raises: StudioError where it is none of these.
    """
    path = Path(text).expanduser()
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        values = _settings(path)
        if "dataset" in values:
            return read_config_file(path).dataset, ""
        if "files" in values:
            recipe = from_dict(DatasetRecipe, values, path.name)
            return recipe.resolved(path.resolve().parent), ""
    known = {entry.id for entry in list_datasets(workspace)}
    if not path.exists() and text in known:
        return load_recipe(workspace, text), "" if text.startswith("sample:") else text
    return find_files(text, workspace.cache_dir, progress).recipe(), ""


def _settings(path: Path) -> dict[str, Any]:
    """The settings in a file; {} where a JSON file holds rows instead."""
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:
            begins = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if begins != b"{" or path.stat().st_size > _LARGEST_BYTES or _is_json_lines(path):
            return {}
    values = read_settings(path)
    return values if isinstance(values, dict) else {}


def _is_json_lines(path: Path) -> bool:
    """Whether the first line is an object of its own: JSON Lines under a .json name."""
    with path.open("rb") as file:
        return file.readline().rstrip().endswith(b"}") and bool(file.readline().strip())
