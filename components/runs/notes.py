"""What a person says of the run on show: its name, tags, notes, and whether lists leave it out."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page, fold
from studio.errors import JobError
from studio.jobs.job import find_job
from studio.jobs.notes import change_notes, tags_of
from studio.results.runs import KIND

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


@dataclass(frozen=True)
class NotesForm:
    """The controls, in the order of `inputs`."""

    name: gr.Textbox
    tags: gr.Textbox
    notes: gr.Textbox
    archived: gr.Checkbox
    save: gr.Button

    @property
    def inputs(self) -> list[Any]:
        return [self.name, self.tags, self.notes, self.archived]


def build_notes() -> NotesForm:
    """The fold with its controls."""
    with fold("Name, tags and notes", "run-notes-fold"):
        with gr.Column(elem_classes="s-form s-plain"):
            name = gr.Textbox(
                label="Name",
                info="As it is shown everywhere. Empty gives the first one back.",
                elem_id="run-notes-name",
            )
            tags = gr.Textbox(
                label="Tags",
                info="Words with commas between, for the search.",
                elem_id="run-notes-tags",
            )
        with gr.Column(elem_classes="s-plain"):
            notes = gr.Textbox(
                label="Notes",
                info="What is worth remembering of this run.",
                lines=3,
                elem_id="run-notes-text",
            )
            archived = gr.Checkbox(
                label="Archived",
                info="The table leaves it out unless it is asked for; nothing is removed.",
                elem_id="run-notes-archived",
            )
        save = gr.Button("Save", elem_id="run-notes-save", scale=0, min_width=160)
    return NotesForm(name, tags, notes, archived, save)


def connect_notes(page: Page, form: NotesForm, show: Any, parts: list[Any]) -> None:
    """Fill the controls for the run on show; Save writes them and shows the run anew."""

    @show_errors
    def fill(run_id: str) -> list[Any]:
        try:
            job = find_job(page.workspace, run_id, KIND)
        except JobError:
            return ["", "", "", False]
        return [job.name, ", ".join(job.notes.tags), job.notes.notes, job.notes.archived]

    @show_errors
    def save(run_id: str, name: str, tags: str, notes: str, archived: bool) -> None:
        job = find_job(page.workspace, run_id, KIND)
        change_notes(
            job.folder,
            name=(name or "").strip(),
            tags=tags_of(tags or ""),
            notes=(notes or "").strip(),
            archived=bool(archived),
        )
        gr.Info("Saved.")

    page.run.change(fill, page.run, form.inputs, **_QUIET)
    saved = form.save.click(save, [page.run, *form.inputs], None, show_progress="hidden")
    saved.then(show, page.run, parts, **_QUIET).then(fill, page.run, form.inputs, **_QUIET)
