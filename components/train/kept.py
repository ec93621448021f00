"""What a person has typed on the Train tab, kept in the workspace so that a reload shows it again.

One file; with two windows open the one typed in last decides what a reload shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from studio.paths import Workspace, write_json
from studio.settings import knobs
from studio.training.config import SECTIONS, RunConfig

KEPT_FORM = "train-form.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The form as it was left, with what was chosen then; `values` by the controls' keys."""

    dataset: str
    model: str
    values: dict[str, Any]


def keep(workspace: Workspace, kept: Kept) -> None:
    """Write the form down, half-typed numbers and all."""
    write_json(workspace.root / KEPT_FORM, vars(kept))


def read_kept(workspace: Workspace) -> Kept | None:
    """The form as it was left; None where there is none that can be read."""
    try:
        kept = TypeAdapter(Kept).validate_json((workspace.root / KEPT_FORM).read_bytes())
    except (OSError, ValueError):
        return None
    return replace(kept, values=_known(kept.values))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without choices that a form of this version does not offer."""
    choices = {
        f"{section}.{item.name}" if section else item.name: item.choices
        for section, settings in (("", RunConfig), *SECTIONS.items())
        for item in knobs(settings)
        if item.choices
    }
    return {key: value for key, value in values.items() if value in choices.get(key, (value,))}
