"""A file of settings → RunConfig: YAML or JSON, file names relative to the file itself; and a
recipe → a file that such settings can take in."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.paths import write_json, write_text
from studio.settings import differing
from studio.training.config import RunConfig, read_config


def read_config_file(path: Path) -> RunConfig:
    """The settings in `path`; data files, rewards' files and a model's folder as absolute names.

    Raises: ConfigError with the place when the file is missing, not YAML or JSON, or has an
    unknown key or a wrong type.
    """
    values = read_settings(path)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"{path.name} does not hold settings by name.",
            "Write one setting a line, such as 'model: starter'.",
            "config_unreadable",
        )
    config = read_config(values, path.name)
    folder = path.resolve().parent
    return replace(
        config,
        dataset=config.dataset.resolved(folder),
        grpo=config.grpo.resolved(folder),
        model=_absolute(config.model, folder),
    )


def write_recipe_file(path: Path, recipe: DatasetRecipe) -> None:
    """Write what differs from an empty recipe, to stand under `dataset` of a run's settings.

    Files below the folder of `path` are named relative to it, others absolutely.
    Raises: ConfigError when `path` is neither YAML nor JSON, or cannot be written.
    """
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ConfigError(
            f"'{path.name}' is neither a YAML nor a JSON file.",
            "Give the recipe a name that ends in .yaml or .json.",
            "recipe_file",
        )
    folder = path.resolve().parent
    names = {
        key: tuple(_relative(Path(name), folder) for name in getattr(recipe, key))
        for key in ("files", "evaluation_files")
    }
    kept = differing(
        replace(recipe, files=names["files"], evaluation_files=names["evaluation_files"])
    )
    if "edits" in kept:
        kept["edits"] = [_without_empty(edit) for edit in kept["edits"]]
    try:
        if path.suffix.lower() == ".json":
            write_json(path, kept)
        else:
            text = yaml.safe_dump(
                kept, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
            )
            write_text(path, text)
    except OSError as error:
        raise ConfigError(
            f"The recipe cannot be written to '{path}': {error.strerror}.",
            "Choose a folder that you may write to.",
            "recipe_file",
        ) from error


def _without_empty(edit: dict[str, Any]) -> dict[str, Any]:
    """An edit without what says nothing; null is what a value is when it is not given."""
    # A text may be set to nothing: that is another value than none.
    nothing = {"value": (None,)}
    return {key: v for key, v in edit.items() if v not in nothing.get(key, ("", [], None))}


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def read_settings(path: Path) -> Any:
    """What a YAML or JSON file holds. Raises: ConfigError with the place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"The settings file '{path}' cannot be read: {reason}.",
            "Give the path of a YAML or JSON file.",
            "config_unreadable",
        ) from error
    try:
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise _broken(path, error.lineno, error.msg) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _broken(path, line, error.problem or "not YAML") from error
    except yaml.YAMLError as error:
        raise _broken(path, 1, "a character that YAML does not allow") from error


def _broken(path: Path, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"{path.name}, line {line}: {what}.", "Correct this line.", "config_unreadable"
    )


def _absolute(model: str, folder: Path) -> str:
    """A model folder named relative to the file or to where the command runs, as absolute."""
    for base in (folder, Path.cwd()):
        candidate = base / Path(model).expanduser()
        if model and candidate.is_dir():
            return str(candidate.resolve())
    return model
