"""The files that repeat a run: written on demand, handed out as one archive.

run.yaml is for the studio, train.py for everybody else; see `studio.results.repeat`.
"""

import shutil
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZipFile

import gradio as gr

from components.handlers import show_errors
from components.page import Page, fold, static
from components.wording import size
from studio.jobs.job import find_job
from studio.paths import atomic_path
from studio.results.repeat import Repeat, write_repeat

_ABOUT = (
    '<p class="s-note">run.yaml repeats the run in the studio; train.py, where it is exact, trains '
    "the same adapter with transformers, peft and trl alone.</p>"
)


def build_repeat(page: Page) -> None:
    """The fold with its button; it writes the files of the run on show."""
    with fold("Repeat this run elsewhere", "run-repeat-fold"):
        static(_ABOUT)
        button = gr.Button("Write the files", elem_id="run-repeat", scale=0, min_width=160)
        result = static(elem_id="run-repeat-files")
    folder = page.workspace.cache_dir / "repeat"

    @show_errors
    def write(run_id: str) -> str:
        job = find_job(page.workspace, run_id, "train")
        target = folder / job.id
        shutil.rmtree(target, ignore_errors=True)
        repeat = write_repeat(job, target)
        gr.set_static_paths([folder])
        return files_html(repeat, packed(repeat), job.name)

    button.click(write, page.run, result, show_progress="minimal", concurrency_limit=1)
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    page.run.change(lambda: "", None, result, **quiet)


def packed(repeat: Repeat) -> Path:
    """One archive of the written files, beside their folder."""
    target = repeat.folder.with_suffix(".zip")
    with atomic_path(target) as part, ZipFile(part, "w", ZIP_DEFLATED) as archive:
        for name in repeat.files:
            archive.write(repeat.folder / name, name)
    return target


def files_html(repeat: Repeat, archive: Path, name: str) -> str:
    """A link to the archive, what is in it, and why there is no script where there is none."""
    link = f"gradio_api/file={quote(archive.as_posix())}"
    names = ", ".join(escape(file) for file in repeat.files)
    notice = f'<p class="s-finding warn">{escape(repeat.notice)}</p>' if repeat.notice else ""
    return (
        f'<p class="s-note"><a href="{link}" download="{escape(name)}.zip">{escape(name)}.zip</a> '
        f"({size(archive.stat().st_size)}): {names}</p>{notice}"
    )
