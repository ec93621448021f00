"""Sweeps on the Runs tab: what was tried, how it came out, as a table and drawn.

Read from the sweeps' events every two seconds while one is under way. Words and figures are made
here; assets/js/sweeps.js draws them.
"""

from typing import Any

import gradio as gr

from components.handlers import answer_errors, show_errors
from components.page import Page, live
from components.runs.sweep_figure import sweep_figure
from components.wording import STATES, number, when
from studio.errors import StudioError
from studio.jobs.job import ACTIVE, Job, State, delete_job, find_job, state_of
from studio.jobs.process import request_stop
from studio.jobs.sweep import KIND, resume_sweep
from studio.paths import Workspace
from studio.results.sweeps import SweepResult, TrialResult, list_sweeps, read_result
from studio.training.sweeps import shown, sweepable, value_words

OUTCOMES = {
    "running": "● under way",
    "finished": "✓ finished",
    "pruned": "◇ stopped as hopeless",
    "stopped": "■ stopped",
    "failed": "✕ failed",
    "lost": "! lost",
    "refused": "✕ refused",
    "deleted": "– deleted",
}


def build_sweeps(page: Page) -> gr.HTML:
    """The part; the newest sweep is on show first. Picking a run in it sets `page.run`."""

    @answer_errors
    def sweeps(request: Any) -> dict[str, Any]:
        return sweep_words(page.workspace, request.get("sweep"), request.get("drawn"))

    part = live("sweeps", "sweeps", "", ("elements",), server_functions=[sweeps])

    def chosen(event: gr.EventData) -> Job:
        return find_job(page.workspace, str(event.sweep), KIND)

    @show_errors
    def stop(event: gr.EventData) -> None:
        request_stop(chosen(event))
        gr.Info("The sweep stops; the run under way keeps what it learned.")

    @show_errors
    def go_on(event: gr.EventData) -> None:
        resume_sweep(chosen(event))

    @show_errors
    def remove(event: gr.EventData) -> None:
        job = chosen(event)
        delete_job(job)
        gr.Info(f"The sweep {job.name} is deleted; its runs stay.")

    @show_errors
    def picked(event: gr.EventData) -> str:
        return str(event.run)

    part.stop(stop, None, None, show_progress="hidden")
    part.resume(go_on, None, None, show_progress="hidden")
    part.remove(remove, None, None, show_progress="hidden")
    part.pick(picked, None, page.run, show_progress="hidden")
    return part


def sweep_words(
    workspace: Workspace, sweep: str | None = None, drawn: str | None = None
) -> dict[str, Any]:
    """All sweeps by name, and the one asked for, else the newest, whole; its figure only where that
    is another than the one `drawn` names."""
    jobs = list_sweeps(workspace)
    job = next((job for job in jobs if job.id == sweep), jobs[0] if jobs else None)
    choices = [{"id": one.id, "words": f"{one.name} · {when(one.created_at)}"} for one in jobs]
    if job is None:
        return {"sweeps": choices, "shown": None}
    try:
        result = read_result(job)
    except StudioError as error:
        return {
            "sweeps": choices,
            "shown": {**_state(job.id, state_of(job)), "head": error.message},
        }
    told = {"sweeps": choices, "shown": _shown(result)}
    if told["shown"]["drawn"] != drawn:
        told["figure"] = sweep_figure(result)
    return told


def _state(sweep: str, state: State) -> dict[str, Any]:
    word, shape = STATES[state]
    return {"id": sweep, "state": state, "word": word, "shape": shape, "active": state in ACTIVE}


def _shown(result: SweepResult) -> dict[str, Any]:
    points = [(trial.number, trial.outcome, trial.loss) for trial in result.trials]
    return {
        **_state(result.job.id, result.state),
        "resumable": result.state in ("stopped", "lost", "failed"),
        "head": head_words(result),
        "problem": f"{result.message} {result.fix}".strip() if result.state == "failed" else "",
        "columns": ["Run", *(sweepable()[name].label for name in result.names), *_LAST],
        "rows": [_row(trial, result) for trial in result.trials],
        "drawn": f"{result.job.id} {points}",
    }


_LAST = ("Best validation", "At step", "How it ended")


def head_words(result: SweepResult) -> str:
    """How far it is, and what was best so far."""
    words = f"{len(result.ended)} of at most {result.n_runs} runs"
    best = result.best
    if best is None:
        return words
    return f"{words}. Best: {value_words(best.values)}, validation loss {number(best.loss)}."


def _row(trial: TrialResult, result: SweepResult) -> dict[str, Any]:
    loss = trial.loss
    step = next((f"{step:,}" for step, value in trial.losses if value == loss), "–")
    outcome = OUTCOMES[trial.outcome]
    return {
        "run": trial.run,
        "best": trial == result.best,
        "cells": [
            f"{trial.number}",
            *(shown(trial.values[name]) for name in result.names),
            number(loss),
            step,
            f"{outcome}: {trial.message}" if trial.message else outcome,
        ],
    }
