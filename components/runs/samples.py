"""The answers of a run to its own prompts, by step; read while the fold is open."""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from studio.errors import JobError
from studio.jobs.job import find_job
from studio.paths import Workspace
from studio.results.samples import read_samples


def build_samples(workspace: Workspace) -> gr.HTML:
    """The table; its value is the id of the run."""

    @answer_errors
    def samples(request: Any) -> dict[str, Any]:
        try:
            job = find_job(workspace, str(request), "train")
        except JobError:
            return {"prompts": [], "rows": []}
        found = read_samples(job)
        # The newest first: what the model says now.
        rows = [[f"{step:,}", *answers] for step, answers in reversed(found.answers)]
        return {"prompts": list(found.prompts), "rows": rows}

    return live("run_samples", "run-samples", "", ("elements",), server_functions=[samples])
