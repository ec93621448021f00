"""What a run may start from: nothing, what another run has learned, or an adapter's folder."""

from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page
from studio.jobs.job import ENDED, Job, list_jobs, state_of
from studio.paths import Workspace
from studio.training.result_folder import adapter_kind

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_FRESH = ("Nothing: the base model as it is", "")


def build_start() -> gr.Dropdown:
    """The chooser; its value is RunConfig's `start_adapter`."""
    return gr.Dropdown(
        [_FRESH],
        value="",
        allow_custom_value=True,
        label="Start from",
        info="A run on this model, one of its checkpoints, or the folder of an adapter: type its "
        "path and press Enter.",
        elem_id="start-from",
    )


def start_choices(workspace: Workspace, model: str, current: str = "") -> list[tuple[str, str]]:
    """Ended runs on this model with a result, newest first, each with its checkpoints."""
    choices = [_FRESH]
    for job in list_jobs(workspace, "train"):
        if job.config().get("model") == model and state_of(job) in ENDED:
            choices += _of_run(job)
    if current and current not in [value for _, value in choices]:
        choices.append((current, current))
    return choices


def _of_run(job: Job) -> list[tuple[str, str]]:
    found = []
    if adapter_kind(job.folder / "adapter"):
        found.append((f"{job.name}, as it ended", job.id))
    complete = job.folder.glob("checkpoints/checkpoint-*/COMPLETE")
    steps = sorted((int(path.parent.name.rpartition("-")[2]) for path in complete), reverse=True)
    return [*found, *((f"{job.name}, step {step:,}", f"{job.id}@{step}") for step in steps)]


def connect_start(page: Page, start: gr.Dropdown) -> None:
    """Keep the choices equal to the runs there are."""

    @show_errors
    def refresh(model: str, current: str | None) -> object:
        return gr.Dropdown(choices=start_choices(page.workspace, model, current or ""))

    gr.on(
        [page.model.change, page.tabs.change, start.change],
        refresh,
        [page.model, start],
        start,
        trigger_mode="always_last",
        **_QUIET,
    )
