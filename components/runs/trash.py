"""Deleted runs: taken back, or removed from the disk for good."""

from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page, fold
from components.wording import size, when
from studio.errors import JobError
from studio.jobs.trash import list_deleted, remove_for_good, restore_run
from studio.paths import Workspace

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}


def build_trash(page: Page) -> gr.Dropdown:
    """The fold with its list; restoring a run shows it. The list is read when the fold opens."""
    with fold("Deleted runs", "run-trash-fold") as head:
        chosen = gr.Dropdown(
            trash_choices(page.workspace),
            value=None,
            label="Deleted run",
            info="They lie in the workspace's trash and take their room on the disk until they are "
            "removed for good.",
            elem_id="run-trash",
        )
        with gr.Row(elem_classes="run-actions"):
            restore = gr.Button("Restore", elem_id="run-trash-restore")
            remove = gr.Button("Delete for good", variant="stop", elem_id="run-trash-remove")

    def refresh() -> object:
        return gr.Dropdown(choices=trash_choices(page.workspace), value=None)

    @show_errors
    def take_back(run_id: str | None) -> str:
        job = restore_run(page.workspace, _chosen(run_id))
        gr.Info(f"{job.name} is back.")
        return job.id

    @show_errors
    def remove_it(run_id: str | None) -> None:
        job = remove_for_good(page.workspace, _chosen(run_id))
        gr.Info(f"{job.name} is gone for good.")

    head.opened(refresh, None, chosen, **_QUIET)
    restore.click(take_back, chosen, page.run, **_PRESSED).then(refresh, None, chosen, **_QUIET)
    remove.click(remove_it, chosen, None, **_PRESSED).then(refresh, None, chosen, **_QUIET)
    return chosen


def trash_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """The deleted runs in words, the one deleted last first."""
    return [
        (
            f"{item.job.name} · {size(item.size_bytes)} · deleted {when(item.deleted_at)}",
            item.job.id,
        )
        for item in list_deleted(workspace)
    ]


def _chosen(run_id: str | None) -> str:
    if not run_id:
        raise JobError(
            "No deleted run is chosen.", "Choose one of the list first.", "run_not_deleted"
        )
    return run_id
