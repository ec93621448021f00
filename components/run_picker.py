"""Which run: a plain list of the runs that left an adapter, kept up to date by itself."""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.wording import model_name, state_word, when
from studio.jobs.job import ACTIVE
from studio.paths import Workspace
from studio.results.runs import RunSummary, list_runs


def build_picker(workspace: Workspace, elem_id: str, help_text: str, next_step: str) -> gr.HTML:
    """The list; its value is the chosen run's id. `next_step` is said where there is no run yet.

    Raises `pick` {run} when a person chooses, `arrive` {run} to offer the newest at first.
    """

    @answer_errors
    def choices(_: Any = None) -> dict[str, Any]:
        return {"rows": [_row(run) for run in list_runs(workspace) if is_usable(run)]}

    return live(
        "run_picker",
        elem_id,
        "",
        help=help_text,
        empty=next_step,
        server_functions=[choices],
    )


def is_usable(run: RunSummary) -> bool:
    """Whether it ended and left an adapter to talk to or to export; a reward model only judges."""
    return run.adapter is not None and run.state not in ACTIVE and run.method != "reward"


def usable_run(workspace: Workspace, run_id: str) -> bool:
    """Whether the run with this id exists and is usable."""
    return any(run.id == run_id and is_usable(run) for run in list_runs(workspace))


def _row(run: RunSummary) -> dict[str, str]:
    parts = (
        run.name,
        model_name(run.model),
        run.dataset,
        state_word(run.state),
        when(run.created_at),
    )
    return {"id": run.id, "words": " · ".join(part for part in parts if part)}
