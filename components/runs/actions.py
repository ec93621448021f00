"""What can be done with the run on show: its buttons, which of them make sense now, what they do.

A button asks for something to happen; what then happened is read back from the run's folder.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page
from studio.jobs.job import ACTIVE, ENDED, Job, State, find_job, state_of
from studio.jobs.process import continue_run, pause_run
from studio.jobs.queue import move_to_front, queue_of, remove_from_queue, stop_run
from studio.jobs.train import resume_run
from studio.paths import Workspace
from studio.results.runs import RunSummary

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
_RESUMABLE = ("stopped", "lost", "failed")
_LABELS = {
    "pause": "Pause",
    "continue": "Continue",
    "stop": "Stop and keep",
    "first": "Move to the front",
    "leave": "Remove from the queue",
    "resume": "Resume",
    "compare": "Compare",
    "export": "Export",
    "further": "Train further",
    "duplicate": "Duplicate",
    "delete": "Delete",
}
_PRIMARY = ("continue", "resume")


@dataclass(frozen=True)
class Actions:
    """The buttons by name, in the order of `updates`."""

    buttons: dict[str, gr.Button]

    def updates(self, workspace: Workspace, job: Job, run: RunSummary) -> list[Any]:
        """Which of them are on screen for this run now."""
        waiting = [other.id for other in queue_of(workspace)]
        shown = offered(run.state, run.adapter is not None, waiting[:1] == [job.id])
        if run.method == "reward":  # it gives points and says nothing
            shown -= {"compare", "export"}
        return [
            gr.Button(visible=name in shown, interactive=run.state != "stopping")
            for name in self.buttons
        ]


def offered(state: State, has_adapter: bool, is_next: bool) -> set[str]:
    """Names of the buttons that do something for a run in this state."""
    names = {"duplicate"}
    if state in ACTIVE:
        names |= {"stop", "continue" if state == "paused" else "pause"}
        names -= {"pause"} if state == "stopping" else set()
    if state == "queued":
        names |= {"leave"} if is_next else {"leave", "first"}
    if state in ENDED:
        names |= {"delete"}
    if state in _RESUMABLE:
        names |= {"resume"}
    if has_adapter:
        names |= {"compare", "export", "further"} if state in ENDED else {"compare"}
    return names


def build_actions() -> Actions:
    """Draw the buttons in the current layout."""
    with gr.Row(elem_classes="run-actions"):
        return Actions(
            {
                name: gr.Button(
                    label,
                    elem_id=f"run-{name}",
                    size="md",
                    variant="primary" if name in _PRIMARY else "secondary",
                )
                for name, label in _LABELS.items()
            }
        )


def connect_actions(page: Page, actions: Actions, show: Any, parts: list[Any]) -> None:
    """Give the buttons their work; after each, `show` fills `parts` with what is so now."""
    workspace = page.workspace
    doing: dict[str, Callable[[Job], str]] = {
        "pause": lambda job: _paused(job),
        "continue": lambda job: _continued(job),
        "stop": lambda job: _stopped(workspace, job),
        "first": lambda job: _moved(workspace, job),
        "resume": lambda job: _resumed(workspace, job),
    }
    for name, act in doing.items():

        @show_errors
        def press(run_id: str, act: Callable[[Job], str] = act) -> None:
            gr.Info(act(find_job(workspace, run_id, "train")))

        done = actions.buttons[name].click(press, page.run, None, **_PRESSED)
        done.then(show, page.run, parts, **_QUIET)

    @show_errors
    def leave(run_id: str) -> str:
        job = find_job(workspace, run_id, "train")
        remove_from_queue(workspace, job)
        gr.Info(f"{job.name} waits no more.")
        return run_id if job.folder.is_dir() else ""

    left = actions.buttons["leave"].click(leave, page.run, page.run, **_PRESSED)
    left.then(show, page.run, parts, **_QUIET)
    _connect_jumps(page, actions)


def _paused(job: Job) -> str:
    pause_run(job)
    return "The run holds still after this step. Its memory stays taken."


def _continued(job: Job) -> str:
    continue_run(job)
    return "The run goes on."


def _stopped(workspace: Workspace, job: Job) -> str:
    stop_run(workspace, job)
    return "The run stops after this step and keeps what it learned."


def _moved(workspace: Workspace, job: Job) -> str:
    move_to_front(workspace, job)
    return f"{job.name} is the next one."


def _resumed(workspace: Workspace, job: Job) -> str:
    resume_run(workspace, job)
    if state_of(job) == "queued":
        return "The run waits for the one that trains now, then goes on from its last checkpoint."
    return "The run goes on from its last checkpoint."


def _connect_jumps(page: Page, actions: Actions) -> None:
    for tab in ("compare", "export"):
        actions.buttons[tab].click(lambda tab=tab: page.go_to(tab), None, page.tabs, **_QUIET)

    def to_train(run_id: str, **more: str) -> tuple[dict[str, Any], object]:
        return {"run": run_id, "at": time.time(), **more}, page.go_to("train")

    filled = [page.duplicate, page.tabs]
    actions.buttons["duplicate"].click(to_train, page.run, filled, show_progress="hidden")
    actions.buttons["further"].click(
        lambda run_id: to_train(run_id, start=run_id), page.run, filled, show_progress="hidden"
    )
