"""The table of export types with sizes before any work, and how far llama.cpp's build is.

In: a run. Out: two live parts; their scripts are export_types.js and llama_build.js.
"""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.wording import size
from studio.environment.llama import LlamaBuild, llama_build_status, start_llama_build
from studio.jobs.export import export_sizes
from studio.jobs.job import find_job
from studio.models.facts import read_facts
from studio.models.gguf_sizes import PredictedSize
from studio.models.gguf_types import USUAL
from studio.models.reference import ModelRef
from studio.paths import Workspace

DEFAULT_TYPES = ("Q8_0",)
COLUMNS = ("Type", "Size of the file", "Bits per weight", "What it is good for")


def build_types() -> gr.HTML:
    """The table; its value is {"rows", "chosen"}, where the page keeps `chosen` up to date."""
    return live("export_types", "export-types", {"rows": [], "chosen": []}, columns=list(COLUMNS))


def types_value(sizes: list[PredictedSize]) -> dict[str, Any]:
    """The table's value for the predicted sizes of a model."""
    rows = [
        {
            "type": item.type,
            "bytes": item.size_bytes,
            "size": size(item.size_bytes),
            "bits": f"{item.bits_per_weight:.2f}",
            "advice": item.advice,
            "usual": item.type in USUAL,
        }
        for item in sizes
    ]
    return {"rows": rows, "chosen": list(DEFAULT_TYPES) if rows else []}


def export_offer(workspace: Workspace, run_id: str) -> tuple[str, dict[str, Any]]:
    """Why the run's model cannot be exported ("" where it can), and the table's value."""
    config = find_job(workspace, run_id, "train").config()
    problem = read_facts(ModelRef.parse(config["model"]).folder()).export_problem
    return problem, types_value([] if problem else export_sizes(workspace, run_id))


def build_llama_status() -> gr.HTML:
    """How far the one-time build of llama.cpp is; nothing where it is ready."""

    @answer_errors
    def look(_: Any = None) -> dict[str, Any]:
        return build_words(llama_build_status())

    @answer_errors
    def start(_: Any = None) -> dict[str, Any]:
        return build_words(start_llama_build())

    return live("llama_build", "llama-build", "", server_functions=[look, start])


def build_words(build: LlamaBuild) -> dict[str, Any]:
    """The build as the page shows it; `share` from 0 to 1 where it is known, else None."""
    return {
        "state": build.state,
        "message": build.message,
        "fix": build.fix,
        "share": build.done / build.total if build.total else None,
    }
