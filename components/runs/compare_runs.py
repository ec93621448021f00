"""Several runs side by side: the ones ticked in the table of all runs, their curves in one picture,
the settings that differ, and what came of each. Asked for again while one of them goes on.
"""

import threading
from collections import OrderedDict
from typing import Any

import gradio as gr

from components.forms import choice_label
from components.handlers import answer_errors, show_errors
from components.page import Page, live
from components.runs.compare_figure import compare_figure
from components.wording import STATES, duration, number, size
from studio.jobs.job import ACTIVE, Job
from studio.paths import Workspace
from studio.results.comparison import COLUMNS, Comparison, choose_runs, compare, value_words
from studio.results.runs import RunSummary
from studio.training.curves import CurveFollower, CurveUpdate

_KEPT_RUNS = 16
_POINTS = 400


def build_compare_runs(page: Page) -> gr.HTML:
    """The card; it is empty until two runs are ticked. Picking a run in it sets `page.run`."""
    curves = _Curves()

    @answer_errors
    def compared(request: Any) -> dict[str, Any]:
        runs = [str(run) for run in request.get("runs", [])]
        return compare_words(page.workspace, runs, curves, request.get("drawn"))

    part = live("run_compare", "run-compare-card", "", ("elements",), server_functions=[compared])

    @show_errors
    def picked(event: gr.EventData) -> str:
        return str(event.run)

    part.pick(picked, None, page.run, show_progress="hidden")
    return part


class _Curves:
    """Follows the event files of the runs looked at last, so that a look reads only what is new."""

    def __init__(self) -> None:
        self._followers: OrderedDict[str, CurveFollower] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, job: Job) -> CurveUpdate:
        """The whole run's curves, few enough points to draw."""
        with self._lock:
            if job.id not in self._followers:
                self._followers[job.id] = CurveFollower(job.events_path, ())
            self._followers.move_to_end(job.id)
            while len(self._followers) > _KEPT_RUNS:
                self._followers.popitem(last=False)
            follower = self._followers[job.id]
        return follower.update(0, 0, _POINTS)


def compare_words(
    workspace: Workspace, runs: list[str], curves: _Curves | None = None, drawn: str | None = None
) -> dict[str, Any]:
    """Both tables in words, and the figure unless `drawn` names the one it would be.

    Raises: JobError for runs that cannot be compared.
    """
    found = compare(choose_runs(workspace, runs))
    curves = curves or _Curves()
    updates = [curves.of(job) for job in found.jobs]
    names = [run.name for run in found.runs]
    key = f"{runs} {names} {[(update.since, update.generation) for update in updates]}"
    answer: dict[str, Any] = {
        "active": any(run.state in ACTIVE for run in found.runs),
        "settings": {
            "columns": ["Setting", *names],
            "rows": [[one.label, *value_words(one, choice_label)] for one in found.differences],
        },
        "results": {
            "columns": ["Run", "State", *(column.label for column in COLUMNS)],
            "rows": [_result(found, run) for run in found.runs],
        },
        "notes": list(found.notes),
        "drawn": key,
    }
    if key != drawn:
        answer["figure"] = compare_figure(names, [update.traces for update in updates])
    return answer


def _result(found: Comparison, run: RunSummary) -> dict[str, Any]:
    word, shape = STATES[run.state]
    return {
        "run": run.id,
        "name": run.name,
        "state": run.state,
        "word": word,
        "shape": shape,
        "cells": [
            {"text": _words(run, column.name), "best": (run.id, column.name) in found.best}
            for column in COLUMNS
        ],
    }


def _words(run: RunSummary, name: str) -> str:
    value = getattr(run, name)
    if value is None:
        return "–"
    if name == "peak_memory_bytes":
        return size(value)
    if name == "elapsed_seconds":
        return duration(value)
    if name == "tokens_per_second":
        return f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else number(value)
