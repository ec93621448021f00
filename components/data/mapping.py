"""The layout "template": prompt, answer and system message written by Jinja over the columns.

Drawn by assets/js/mapping.js, which asks `mapped` while a person types; Save keeps it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.keep import keep
from components.data.open import Opened, Opener
from components.handlers import answer_errors, show_errors
from components.page import Page, live
from studio.data.jinja import row_template_problem
from studio.data.layouts import PARTS
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

LAYOUT = "template"
N_ROWS = 3
_CELL_CHARACTERS = 90
_SHOWN_CHARACTERS = 1500


def build_mapping(page: Page, opener: Opener) -> gr.HTML:
    """The editors; give it {"dataset", "version"}, or {"dataset": ""} where they are not needed."""
    card = live(
        "mapping",
        "mapping-editor",
        {"dataset": ""},
        parts=("elements", "jinja_editor"),
        server_functions=[mapping_reader(opener)],
    )

    @show_errors
    def save(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        templates = {str(name): str(text) for name, text in dict(event.templates).items()}
        return keep(
            page.workspace, dataset, version, lambda recipe: with_templates(recipe, templates)
        )

    card.submit(
        save, [page.dataset, page.recipe], [page.dataset, page.recipe], show_progress="hidden"
    )
    return card


def with_templates(recipe: DatasetRecipe, templates: Mapping[str, str]) -> DatasetRecipe:
    """The recipe with these templates as its mapping. Raises: DataError for one that is missing."""
    for part in PARTS[LAYOUT]:
        if part.required and not templates.get(part.name, "").strip():
            raise DataError(
                f"The template for '{part.label}' is empty.",
                "Write a column's name in braces, such as {{ question }}.",
                "mapping_incomplete",
            )
    names = {part.name for part in PARTS[LAYOUT]}
    mapping = {n: text for n, text in templates.items() if n in names and text.strip()}
    return replace(recipe, layout=LAYOUT, mapping=mapping)


def starting_templates(recipe: DatasetRecipe) -> dict[str, str]:
    """Templates that read what a recipe of columns reads; where to begin writing."""
    columns = recipe.mapping
    prompt = [columns[n] for n in ("instruction", "input", "prompt", "text") if columns.get(n)]
    answer = next((columns[n] for n in ("output", "completion") if columns.get(n)), "")
    started = {
        "prompt": "\n\n".join(braced(column) for column in prompt),
        "completion": braced(answer) if answer else "",
        "system": braced(columns["system"]) if columns.get("system") else "",
    }
    return {name: text for name, text in started.items() if text}


def braced(column: str) -> str:
    """Jinja that writes a column, whatever its name: a dotted path goes on inside it."""
    steps = column.split(".")
    if all(step.isidentifier() for step in steps):
        return "{{ " + column + " }}"
    return "{{ row" + "".join(f"[{json.dumps(step, ensure_ascii=False)}]" for step in steps) + " }}"


def mapping_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `mapped`: {dataset, templates, index} → some rows under the templates.

    Without templates those of the recipe are taken, or the ones to begin with.
    """

    @answer_errors
    def mapped(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        recipe = opened.dataset.recipe
        kept = dict(recipe.mapping) if recipe.layout == LAYOUT else {}
        given = asked.get("templates")
        templates = {str(k): str(v) for k, v in given.items()} if given else kept
        edited = opened.dataset.edited
        last = max(edited.n_total - 1, 0)
        index = min(max(int(asked.get("index") or 0), 0), last)
        rows = range(index, min(index + N_ROWS, edited.n_total))
        first = edited.row(index) if edited.n_total else {}
        written = {name: text for name, text in templates.items() if text.strip()}
        wrong = {name: row_template_problem(text, first) for name, text in written.items()}
        return {
            "kept": kept,
            "templates": templates,
            "columns": [[n, braced(n), _cell(first.get(n))] for n in opened.dataset.rows.columns],
            "parts": [[p.name, p.label, p.required] for p in PARTS[LAYOUT]],
            "wrong": {
                name: {"line": found[0], "message": found[1]}
                for name, found in wrong.items()
                if found
            },
            "index": index,
            "n_rows": edited.n_total,
            "rows": [_row(opened, number, written) for number in rows],
        }

    return mapped


def _row(opened: Opened, index: int, templates: Mapping[str, str]) -> dict[str, Any]:
    """What a row becomes; or why it does not."""
    recipe = replace(opened.dataset.recipe, layout=LAYOUT, mapping=dict(templates), phrasings=())
    changed = replace(opened.dataset, recipe=recipe)
    try:
        sample = changed.sample(index)
    except DataError as error:
        return {"number": index + 1, "problem": {"message": error.message, "fix": error.fix}}
    turns = [
        [message.role, message.content[:_SHOWN_CHARACTERS]]
        for message in getattr(sample, "messages", ())
    ]
    return {"number": index + 1, "turns": turns}


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text[: 2 * _CELL_CHARACTERS].split())
    return line if len(line) <= _CELL_CHARACTERS else line[:_CELL_CHARACTERS] + "…"
