"""A file of settings → RunConfig: YAML or JSON, file names relative to the file itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from studio.errors import ConfigError
from studio.settings import from_dict
from studio.training.config import RunConfig


def read_config_file(path: Path) -> RunConfig:
    """The settings in `path`, data files and a model's folder as absolute names.

    Raises: ConfigError with the place when the file is missing, not YAML or JSON, or has an
    unknown key or a wrong type.
    """
    values = _parsed(path)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"{path.name} does not hold settings by name.",
            "Write one setting a line, such as 'model: starter'.",
            "config_unreadable",
        )
    config = from_dict(RunConfig, values, path.name)
    folder = path.resolve().parent
    return replace(
        config, dataset=config.dataset.resolved(folder), model=_absolute(config.model, folder)
    )


def _parsed(path: Path) -> Any:
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
