"""The table of all runs, and the end of a run's log: both ask for themselves while visible.

In: the workspace. Out: rows of words for assets/js/run_history.js, lines for run_log.js.
"""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.wording import STATES, model_name, number, when
from studio.errors import JobError
from studio.jobs.job import ACTIVE, find_job, log_tail
from studio.jobs.queue import queue_of
from studio.paths import Workspace
from studio.results.comparison import MOST
from studio.results.runs import RunSummary, list_runs, search_runs

COLUMNS = (
    "Run",
    "State",
    "Model",
    "Data",
    "Steps",
    "Train loss",
    "Best validation",
    "Tokens/s",
    "Started",
)
_LOG_LINES = 200


def build_history(workspace: Workspace) -> gr.HTML:
    """The table; its value is the id of the run on show. Raises `pick` {run} in the page.

    Where nothing is on show it picks by itself: the active run, else the newest.
    """

    @answer_errors
    def runs(asked: Any = None) -> dict[str, Any]:
        """Every run, and whether the search, {words, archived}, leaves it out."""
        asked = asked or {}
        places = {job.id: place for place, job in enumerate(queue_of(workspace), start=1)}
        known = list_runs(workspace)
        found = search_runs(
            known, str(asked.get("words", "")), archived=bool(asked.get("archived"))
        )
        left_out = {run.id for run in known} - {run.id for run in found}
        rows = [history_row(run, places.get(run.id)) for run in known]
        return {"rows": [{**row, "left_out": row["id"] in left_out} for row in rows]}

    return live(
        "run_history",
        "run-history",
        "",
        ("elements",),
        columns=list(COLUMNS),
        most=MOST,
        server_functions=[runs],
    )


def history_row(run: RunSummary, place: int | None = None) -> dict[str, Any]:
    """One row: id and state for the script, a cell of words for each of COLUMNS but the state.

    `place` is the run's in the queue.
    """
    word, shape = STATES[run.state]
    if place is not None and run.state == "queued":
        word = f"{word}, number {place}"
    losses = "–"
    if run.train_loss_first is not None:
        losses = f"{number(run.train_loss_first)} → {number(run.train_loss_last)}"
    speed = run.tokens_per_second
    return {
        "id": run.id,
        "state": run.state,
        "active": run.state in ACTIVE,
        "word": word,
        "shape": shape,
        "tags": [*run.tags, *(["archived"] if run.archived else [])],
        "notes": run.notes,
        "cells": [
            run.name,
            word,
            model_name(run.model),
            run.dataset or "–",
            f"{run.step:,} of {run.n_steps:,}" if run.n_steps else "–",
            losses,
            number(run.best_eval_loss),
            f"{speed:,.0f}" if speed is not None else "–",
            when(run.created_at),
        ],
    }


def build_log(workspace: Workspace) -> gr.HTML:
    """The last lines of worker.log of the run that is its value, read again every two seconds."""

    @answer_errors
    def log(request: Any) -> dict[str, str]:
        try:
            job = find_job(workspace, str(request), "train")
        except JobError:
            return {"text": ""}
        return {"text": log_tail(job, _LOG_LINES)}

    return live("run_log", "run-log", "", server_functions=[log])
