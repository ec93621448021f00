"""The chosen row's texts as boxes to edit, and what is saved of them: a change in the recipe.

Part of the row's view, drawn by assets/js/row_edit.js, which asks `texts` and calls `save_row`,
`remove_row` and `restore_row`. The file stays as it was.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from components.data.changes import kept_change
from components.data.open import Opener
from components.handlers import answer_errors
from components.page import Page
from studio.data.dataset import Dataset
from studio.data.layouts import PARTS, value_at
from studio.data.mending import drop_rows, edit_value, put_back
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

# Spellings of a role that the readers know, by the name of the key it stands under.
_ROLE_CHOICES = {
    "role": ("system", "user", "assistant", "tool"),
    "from": ("system", "human", "gpt", "tool"),
}
_CONTENT_KEYS = ("content", "value", "text")
_MOST_BOXES = 200
_MOST_CHARACTERS = 200_000


@dataclass(frozen=True)
class Box:
    """One value of a row to edit. `kind`: text; role, one of `choices`; value, written as JSON."""

    path: str
    label: str
    text: str
    kind: str = "text"
    choices: tuple[str, ...] = ()


def boxes(dataset: Dataset, index: int) -> list[Box]:
    """What of a row can be edited: all that its mapping reads, turn by turn."""
    row = dataset.edited.row(index)
    found: list[Box] = []
    for path, label in _columns(dataset, row):
        try:
            value = value_at(row, path)
        except KeyError:
            if "." not in path:
                found.append(Box(path, label, ""))
            continue
        # A way into a column whose own name holds a dot would be read as another way.
        deep = "." not in path or path not in row
        found.extend(_boxes(value, path, label) if deep else [_box(value, path, label)])
    return [_writable(box) for box in found[:_MOST_BOXES] if len(box.text) <= _MOST_CHARACTERS]


def _columns(dataset: Dataset, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(path, label) of what training reads; every column where a template reads the row."""
    recipe = dataset.recipe
    mapping = {part: path for part, path in recipe.mapping.items() if path}
    parts = PARTS.get(recipe.layout, ())
    if recipe.layout == "template" or not mapping:
        yield from ((name, name) for name in row)
        return
    for part in parts:
        if path := mapping.get(part.name):
            yield path, part.label if path == part.name else f"{part.label} · {path}"


def _boxes(value: Any, path: str, label: str) -> Iterator[Box]:
    if isinstance(value, dict):
        yield from _turn(value, path, label)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for place, turn in enumerate(value):
            yield from _turn(turn, f"{path}.{place}", f"Turn {place + 1}")
    else:
        yield _box(value, path, label)


def _turn(turn: dict[str, Any], path: str, label: str) -> Iterator[Box]:
    """Role and text of a turn, then what else it holds."""
    if any("." in key for key in turn):
        yield _box(turn, path, label)
        return
    role_key = next((key for key in _ROLE_CHOICES if isinstance(turn.get(key), str)), "")
    said = f"{label} · {turn[role_key]}" if role_key else label
    if role_key:
        known = _ROLE_CHOICES[role_key]
        choices = known if turn[role_key] in known else (*known, turn[role_key])
        yield Box(f"{path}.{role_key}", f"{label} · role", turn[role_key], "role", choices)
    for key, value in turn.items():
        if key == role_key:
            continue
        name = said if key in _CONTENT_KEYS else f"{said} · {key}"
        parts = value if isinstance(value, list) else []
        texts = [isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts]
        if texts and all(texts):
            for place, part in enumerate(parts):
                part_name = name if len(parts) == 1 else f"{name} · part {place + 1}"
                yield _box(part["text"], f"{path}.{key}.{place}.text", part_name)
        else:
            yield _box(value, f"{path}.{key}", name)


def _box(value: Any, path: str, label: str) -> Box:
    if value is None or isinstance(value, str):
        return Box(path, label, value or "")
    written = json.dumps(
        value, ensure_ascii=False, indent=2 if isinstance(value, dict | list) else None
    )
    return Box(path, f"{label} (JSON)", written, "value")


def _writable(box: Box) -> Box:
    """The same with half characters, which no answer can carry, replaced."""
    text = box.text.encode("utf-8", "replace").decode("utf-8")
    return box if text == box.text else Box(box.path, box.label, text, box.kind, box.choices)


def value_from(box: Box, text: str) -> Any:
    """The value that a person's text stands for in this box. Raises: DataError."""
    if box.kind == "text":
        return text
    if box.kind == "role":
        if text in box.choices:
            return text
        raise DataError(
            f"'{text[:40]}' is no role of '{box.path}'.",
            "Choose one of " + ", ".join(box.choices) + ".",
            "edit_value",
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = (
            f" (line {error.lineno}, column {error.colno})"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise DataError(
            f"'{box.label}' is not valid JSON{place}.",
            "Write a number, true, false, null, a text in quotes, a list or an object.",
            "edit_value",
        ) from error


def edited_recipe(
    dataset: Dataset, index: int, values: dict[str, str], recipe: DatasetRecipe
) -> DatasetRecipe:
    """`recipe` with the changed texts of one row. Raises: DataError for a path not to edit."""
    known = {box.path: box for box in boxes(dataset, index)}
    for path, text in values.items():
        box = known.get(path)
        if box is None:
            raise DataError(
                f"Row {index + 1} has no text at '{path[:80]}' to edit.",
                "Reload the page: the row may have been changed in another window.",
                "edit_path",
            )
        if text != box.text:
            label = f"Changed row {index + 1:,}: {box.label}"
            recipe = edit_value(recipe, index, path, value_from(box, text), label)
    return recipe


def edit_functions(page: Page, opener: Opener) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The server functions of row_edit.js: `texts` gives the boxes, the others change the recipe
    and answer {"dataset"} of what was kept, or an error."""

    def place(asked: dict[str, Any]) -> tuple[str, Dataset, int]:
        dataset = str(asked["dataset"])
        opened = opener(dataset).dataset
        index = int(asked["index"])
        if not 0 <= index < opened.edited.n_total:
            raise DataError(
                f"There is no row {index + 1:,}: the dataset has {opened.edited.n_total:,}.",
                "Reload the page.",
                "row_not_found",
            )
        return dataset, opened, index

    @answer_errors
    def texts(asked: dict[str, Any]) -> dict[str, Any]:
        _, opened, index = place(asked)
        return {"boxes": [asdict(box) for box in boxes(opened, index)]}

    @answer_errors
    def save_row(asked: dict[str, Any]) -> dict[str, Any]:
        dataset, opened, index = place(asked)
        values = {str(path): str(text) for path, text in dict(asked["values"]).items()}
        return kept_change(
            page, dataset, lambda recipe: edited_recipe(opened, index, values, recipe)
        )

    @answer_errors
    def remove_row(asked: dict[str, Any]) -> dict[str, Any]:
        dataset, _, index = place(asked)
        return kept_change(page, dataset, lambda recipe: drop_rows(recipe, [index]))

    @answer_errors
    def restore_row(asked: dict[str, Any]) -> dict[str, Any]:
        dataset, _, index = place(asked)
        return kept_change(page, dataset, lambda recipe: put_back(recipe, [index]))

    return [texts, save_row, remove_row, restore_row]
