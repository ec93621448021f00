"""The checkup on the page: a line above the views that runs it, and the view of what it found.

Everything is read from disk at each look: a reload, another window or a restart of the studio shows
the same. Drawn by assets/js/checkup_line.js and findings.js.
"""

from typing import Any

import gradio as gr

from components.data.changes import build_changes, connect_kept, kept_change
from components.data.evaluation import build_evaluation
from components.data.findings import Group, change_of, group_words, rows_word
from components.data.open import Opener
from components.data.progress import Asked, CheckupLook, look_at
from components.handlers import answer_errors, show_errors
from components.page import Page, heading, live, static
from components.wording import duration, when
from studio.data.findings import kind_of
from studio.data.mending import mend, rows_to_mend
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.jobs.checkup import KIND, start_checkup
from studio.jobs.job import find_job
from studio.jobs.process import request_stop

Answer = dict[str, Any]
_TABS = ("train",)
# Rows in which an example of a change is looked for.
_LOOKED_AT = 20


def build_checkup_line(page: Page, opener: Opener) -> None:
    """The line above the views: the checkup's state and its start, progress and Cancel."""

    @answer_errors
    def checkup(asked: Answer) -> Answer:
        return look_at(page.workspace, opener, Asked.of(asked)).words()

    @answer_errors
    def start(asked: Answer) -> Answer:
        wanted = Asked.of(asked)
        opened = opener(wanted.dataset)
        opened.encoder(wanted.model, wanted.max_length)  # says now what the worker would say later
        recipe = opened.dataset.recipe
        job = start_checkup(page.workspace, recipe, wanted.model, wanted.max_length, wanted.dataset)
        return {"job": job.id}

    @answer_errors
    def cancel(asked: Answer) -> Answer:
        job = find_job(page.workspace, str(asked["job"]), KIND)
        request_stop(job)
        return {"job": job.id}

    line = live(
        "checkup_line",
        "checkup-line",
        {"dataset": ""},
        ("elements",),
        server_functions=[checkup, start, cancel],
    )
    connect_kept(page, line)
    _listen(page, line)


def build_checkup(page: Page, opener: Opener) -> None:
    """The view: findings by kind, what was changed, and the files not to train on."""
    with gr.Row(elem_id="checkup-view", equal_height=False):
        with gr.Column():
            with gr.Column(elem_classes="s-card", elem_id="checkup-card"):
                heading("Checkup", "What to mend before training")
                findings = live(
                    "findings",
                    "data-findings",
                    {"dataset": ""},
                    ("elements",),
                    server_functions=[*_finding_functions(page, opener)],
                )
        with gr.Column():
            with gr.Column(elem_classes="s-card", elem_id="changes-card"):
                heading("Changes", "Each can be undone")
                build_changes(page, opener)
            with gr.Column(elem_classes="s-card", elem_id="evaluation-card"):
                heading("Keep out of training")
                static(
                    '<p class="s-note">Files with the questions that will test the model. The '
                    "checkup finds rows that hold them: a model that has seen a test scores "
                    "well without having learned.</p>"
                )
                build_evaluation(page)
    connect_kept(page, findings)
    _listen(page, findings)

    @show_errors
    def go(event: gr.EventData) -> object:
        return page.go_to(event.tab) if event.tab in _TABS else gr.skip()

    findings.go(go, None, page.tabs, show_progress="hidden")


def _listen(page: Page, part: gr.HTML) -> None:
    def about(dataset: str, version: int, model: str, max_length: int) -> Answer:
        if not dataset or not model:
            return {"dataset": ""}
        return {"dataset": dataset, "version": version, "model": model, "max_length": max_length}

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change, page.max_length.change],
        about,
        [page.dataset, page.recipe, page.model, page.max_length],
        part,
        queue=False,
        show_progress="hidden",
    )


def _finding_functions(page: Page, opener: Opener) -> tuple[Any, Any]:
    @answer_errors
    def findings(asked: Answer) -> Answer:
        return findings_words(look_at(page.workspace, opener, Asked.of(asked)))

    @answer_errors
    def mend_rows(asked: Answer) -> Answer:
        look = look_at(page.workspace, opener, Asked.of(asked))
        code = str(asked["code"])
        if look.result is None or not look.mendable:
            raise DataError(
                "The rows are read in another way than when they were checked.",
                "Check every row again; then mend what it finds.",
                "checkup_old",
            )
        checkup = look.result

        def change(recipe: DatasetRecipe) -> DatasetRecipe:
            return mend(recipe, checkup, code)

        n = len(rows_to_mend(checkup, code, look.dataset.recipe))
        verb = "removed" if kind_of(code).mend == "drop" else "mended"
        done = f"{rows_word(n)} {verb}."
        return {**kept_change(page, look.asked.dataset, change), "done": done}

    return findings, mend_rows


def findings_words(look: CheckupLook) -> Answer:
    """The whole view as plain values: findings by kind, notes apart, and what the result is of."""
    result = look.result
    if result is None:
        return {"result": None, "groups": [], "notes": [], "mendable": False}
    found = look.groups
    words = [_group(look, group) for group in found]
    took = f" in {duration(result.elapsed_seconds)}" if result.elapsed_seconds >= 1 else ""
    about = f"{rows_word(result.n_rows)} checked{took}, {when(result.created_at)}."
    return {
        "result": {
            "current": look.current,
            "about": about,
            "good": f"All {rows_word(look.n_kept)} can be used."
            if look.n_kept != 1
            else "The row can be used.",
        },
        "groups": [group for group in words if group["severity"] != "note"],
        "notes": [group for group in words if group["severity"] == "note"],
        "mendable": look.mendable,
    }


def _group(look: CheckupLook, group: Group) -> Answer:
    """One kind, with the first change that its click would make."""
    assert look.result is not None
    rows = rows_to_mend(look.result, group.code, look.dataset.recipe) if group.n_rows else []
    words = group_words(group, len(rows), look.n_kept)
    rule = group.kind.mend.removeprefix("clean:")
    if rule == group.kind.mend or not rows:
        return words
    edited = look.dataset.edited
    for index in rows[:_LOOKED_AT]:
        if change := change_of(edited.row(index), rule):
            return {**words, "change": {**change, "row": index}}
    return words
