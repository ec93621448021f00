"""One page of a dataset's rows at a time, searched on the server: a million rows are as quick.

Drawn by assets/js/table.js, which asks `rows` and triggers "select" with the row's index.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from studio.data.library import load_recipe
from studio.data.rows import RowStore, open_rows
from studio.paths import Workspace

ROWS_A_PAGE = 12
_CELL_CHARACTERS = 240


def build_table(workspace: Workspace) -> gr.HTML:
    """The table; give it {"dataset": id} to show that dataset's first page."""
    return live("table", "data-table", {"dataset": ""}, server_functions=[rows_reader(workspace)])


def rows_reader(workspace: Workspace) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `rows`: {dataset, page, query} → one page as plain values."""

    @lru_cache(maxsize=8)
    def hits(dataset: str, sha256: tuple[str, ...], query: str) -> list[int]:
        return _open(workspace, dataset).search(query)

    @answer_errors
    def rows(asked: dict[str, Any]) -> dict[str, Any]:
        dataset, query = str(asked["dataset"]), str(asked.get("query", ""))
        store = _open(workspace, dataset)
        found = hits(dataset, load_recipe(workspace, dataset).sha256, query) if query else None
        n_found = len(store) if found is None else len(found)
        n_pages = max(-(-n_found // ROWS_A_PAGE), 1)
        page = min(max(int(asked.get("page", 1)), 1), n_pages)
        start = (page - 1) * ROWS_A_PAGE
        if found is None:
            numbered = list(enumerate(store.page(start, ROWS_A_PAGE), start))
        else:
            numbered = [(i, store.row(i)) for i in found[start : start + ROWS_A_PAGE]]
        return {
            "columns": list(store.columns),
            "rows": [
                {"index": index, "cells": [_cell(row.get(name)) for name in store.columns]}
                for index, row in numbered
            ],
            "page": page,
            "n_pages": n_pages,
            "n_rows": len(store),
            "n_found": n_found,
        }

    return rows


def _open(workspace: Workspace, dataset: str) -> RowStore:
    recipe = load_recipe(workspace, dataset)
    return open_rows([Path(name) for name in recipe.files], workspace.cache_dir)


def _cell(value: Any) -> str:
    """A cell's text on one line, cut where nobody would read on."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text[: 2 * _CELL_CHARACTERS].split())
    return line if len(line) <= _CELL_CHARACTERS else line[:_CELL_CHARACTERS] + "…"
