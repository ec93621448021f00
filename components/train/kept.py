"""What a person has typed on the Train tab, kept in the workspace so that a reload shows it again.

One file; with two windows open the one typed in last decides what a reload shows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.paths import Workspace, write_json
from studio.settings import knobs
from studio.training.config import SECTIONS, RunConfig

_FILE = "train-form.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The form as it was left, with what was chosen then; `values` by the controls' keys."""

    dataset: str
    model: str
    values: dict[str, Any]


def keep(workspace: Workspace, kept: Kept) -> None:
    """Write the form down, half-typed numbers and all."""
    write_json(workspace.root / _FILE, vars(kept))


def read_kept(workspace: Workspace) -> Kept | None:
    """The form as it was left; None where there is none that can be read."""
    try:
        kept = Kept(**json.loads((workspace.root / _FILE).read_text("utf-8")))
        return Kept(dataset=kept.dataset, model=kept.model, values=_known(kept.values))
    except (OSError, ValueError, TypeError):
        return None


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without choices that a form of this version does not offer."""
    choices = {
        f"{section}.{item.name}" if section else item.name: item.choices
        for section, settings in (("", RunConfig), *SECTIONS.items())
        for item in knobs(settings)
        if item.choices
    }
    return {key: value for key, value in values.items() if value in choices.get(key, (value,))}
