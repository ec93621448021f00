"""The answers of a run to its own prompts, by step; asked for while the fold is open."""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.runs.live import LiveRuns


def build_samples(runs: LiveRuns) -> gr.HTML:
    """The table; its value is the id of the run."""

    @answer_errors
    def samples(request: Any) -> dict[str, Any]:
        return runs.samples(str(request))

    return live("run_samples", "run-samples", "", ("elements",), server_functions=[samples])
