"""One page of a dataset's rows at a time, searched and sorted on the server.

Drawn by assets/js/table.js, which asks `rows`. The table tells the row inspector and hears the
charts through events of the document, named in the script.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from components.data.cells import Column, cells
from components.data.figures import Figures, finding_title
from components.data.open import Opened, Opener
from components.data.select import Wanted, changed_rows
from components.handlers import answer_errors
from components.page import live

ROWS_A_PAGE = 12
_COLUMNS_SHOWN = 40


def build_table(opener: Opener) -> gr.HTML:
    """The table; give it {"dataset", "version", "model", "max_length"} to show that dataset."""
    return live(
        "table",
        "data-table",
        {"dataset": ""},
        parts=("elements", "table_filters"),
        server_functions=[rows_reader(opener), filters_reader(opener)],
    )


def rows_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `rows`: {dataset, page, query, filters, order} → one page.

    With "find" (a row's index) instead of a page: the page on which that row stands. Filters that
    need a checkup are left out where there is none, and the answer says so.
    """

    @answer_errors
    def rows(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        figures = opened.figures(str(asked.get("model", "")), int(asked.get("max_length") or 0))
        wanted = Wanted.of(asked)
        unanswered = wanted.needs_figures and figures is None
        found = opened.select(wanted.without_figures if unanswered else wanted, figures)
        n_pages = max(-(-len(found) // ROWS_A_PAGE), 1)
        page, missed = _page(asked, found, n_pages)
        start = (page - 1) * ROWS_A_PAGE
        edited = opened.dataset.edited
        return {
            "columns": _headings(opened, figures is not None),
            "rows": [
                _row(opened, index, figures)
                for index in found[start : start + ROWS_A_PAGE].tolist()
            ],
            "page": page,
            "n_pages": n_pages,
            "first": start,
            "n_rows": edited.n_total,
            "n_removed": len(edited.dropped),
            "n_found": len(found),
            "missed": missed,
            "needs_checkup": unanswered,
            "as_read": opened.too_many_changed,
        }

    return rows


def _page(asked: dict[str, Any], found: Any, n_pages: int) -> tuple[int, int | None]:
    """The page to show, and the row that was looked for in vain."""
    page = min(max(int(asked.get("page") or 1), 1), n_pages)
    if asked.get("find") is None:
        return page, None
    index = int(asked["find"])
    places = np.flatnonzero(found == index)
    if not len(places):
        return page, index
    return int(places[0]) // ROWS_A_PAGE + 1, None


def _headings(opened: Opened, with_tokens: bool) -> list[dict[str, Any]]:
    """Heading, width and order of each column: the row's number, what training reads, the row's
    sizes, the rest."""
    read, other, left = _columns(opened)
    sizes = [{"label": "Characters", "kind": "number", "order": "characters"}]
    if with_tokens:
        sizes.append({"label": "Tokens", "kind": "number", "order": "tokens"})
    more = [{"label": f"+{left} columns", "kind": "short"}] if left else []
    return [
        {"label": "#", "kind": "row", "order": "row"},
        *({"label": one.label, "kind": one.kind} for one in read),
        *sizes,
        *({"label": one.label, "kind": one.kind} for one in other),
        *more,
    ]


def _columns(opened: Opened) -> tuple[list[Column], list[Column], int]:
    """Columns that training reads, the others, and how many are left to the row's own view."""
    shown = opened.columns[:_COLUMNS_SHOWN]
    read = [column for column in shown if column.read]
    other = [column for column in shown if not column.read]
    return read, other, len(opened.columns) - len(shown)


def _row(opened: Opened, index: int, figures: Figures | None) -> dict[str, Any]:
    row = opened.dataset.edited.row(index)
    read, other, left = _columns(opened)
    said = cells(row, [*read, *other], opened.dataset.recipe, index + 1)
    sizes = [f"{opened.characters[index]:,}"]
    if figures is not None:
        n_tokens = int(figures.tokens[index])
        sizes.append(f"{n_tokens:,}" if n_tokens >= 0 else "–")
    more = ["see the row"] if left else []
    return {
        "index": index,
        "cells": [f"{index + 1:,}", *said[: len(read)], *sizes, *said[len(read) :], *more],
        "state": row_state(opened, index),
    }


def row_state(opened: Opened, index: int) -> str:
    """How a row differs from the file, in a word; "" where it does not."""
    edited = opened.dataset.edited
    if index in edited.dropped:
        return "removed"
    if index >= len(opened.dataset.rows):
        return "added"
    return "changed" if edited.is_changed(index) else ""


def filters_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `filters`: {dataset, model, max_length} → what can be filtered by."""

    @answer_errors
    def filters(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        figures = opened.figures(str(asked.get("model", "")), int(asked.get("max_length") or 0))
        edited = opened.dataset.edited
        n_changed = len(set(changed_rows(opened.dataset)) - edited.dropped)
        states = (("changed", n_changed), ("removed", len(edited.dropped)))
        given: dict[str, list[list[Any]]] = {
            "state": [[name, name, n] for name, n in states if n],
            "source": _sources(opened),
        }
        if figures is not None:
            for name in ("role", "script", "label"):
                given[name] = [[v, v, n] for v, n in figures.counts(name)]
            given["finding"] = [[v, finding_title(v), n] for v, n in figures.counts("finding")]
        # One value that every row has tells nothing apart.
        words = {
            name: items
            for name, items in given.items()
            if len(items) > 1 or (items and name in ("state", "finding"))
        }
        return {"words": words, "has_figures": figures is not None}

    return filters


def _sources(opened: Opened) -> list[list[Any]]:
    """(value, what is shown, number of rows) of each file; two of one name count together."""
    counts: dict[str, int] = {}
    for name, n in opened.dataset.rows.sources:
        counts[name] = counts.get(name, 0) + n
    added = opened.dataset.edited.n_total - len(opened.dataset.rows)
    if added:
        counts[""] = added
    return [[name, name or "added", n] for name, n in counts.items()]
