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
from studio.jobs.imatrix import imatrix_problem
from studio.jobs.job import find_job
from studio.models.facts import read_facts
from studio.models.gguf_sizes import PredictedSize
from studio.models.gguf_types import NEED_IMATRIX, USUAL
from studio.models.hardware import Hardware, look
from studio.models.llama_cpp_folder import kept_folder, problem_with
from studio.models.reference import ModelRef
from studio.paths import Workspace

# What the system itself leaves to a program.
_RAM_SHARE = 0.9
DEFAULT_TYPES = ("Q8_0",)
OWN_LLAMA_CPP = "Your llama.cpp folder converts this family: the sizes are about right."
COLUMNS = (
    *("Type", "Size of the file", "Bits per weight", "Memory to run it", "Fits this machine"),
    "What it is good for",
)


def build_types() -> gr.HTML:
    """The table; its value is that of `types_value`, where the page keeps `chosen` up to date."""
    return live("export_types", "export-types", types_value([]), columns=list(COLUMNS))


def types_value(sizes: list[PredictedSize], note: str = "") -> dict[str, Any]:
    """The table's value for the predicted sizes of a model; `note` stands under the table."""
    hardware = look()
    rows = [
        {
            "type": item.type,
            "bytes": item.size_bytes,
            "size": size(item.size_bytes),
            "bits": f"{item.bits_per_weight:.2f}",
            "memory": size(item.memory_bytes),
            "fits": fits_words(item.memory_bytes, hardware),
            "advice": item.advice,
            "usual": item.type in USUAL,
        }
        for item in sizes
    ]
    return {"rows": rows, "chosen": list(DEFAULT_TYPES) if rows else [], "note": note}


def fits_words(memory_bytes: int, hardware: Hardware) -> str:
    """Whether llama.cpp can run a file that takes so much memory here."""
    if hardware.gpu and memory_bytes <= hardware.gpu.free_bytes:
        return "Yes, on the GPU"
    if memory_bytes <= hardware.ram_total_bytes - hardware.ram_used_bytes:
        return "Yes"
    if memory_bytes <= hardware.ram_total_bytes * _RAM_SHARE:
        return "If other programs are closed"
    return "No"


def export_offer(
    workspace: Workspace, run_id: str, imatrix: bool = False
) -> tuple[str, dict[str, Any]]:
    """Why the run's model cannot be exported ("" where it can), and the table's value."""
    config = find_job(workspace, run_id, "train").config()
    facts = read_facts(ModelRef.parse(config["model"]).folder())
    problem = problem_with(facts, kept_folder(workspace))
    if problem:
        return problem, types_value([])
    sizes = export_sizes(workspace, run_id, imatrix=imatrix)
    notes = [OWN_LLAMA_CPP] if facts.export_problem else []
    missing = imatrix_problem()
    if missing:
        sizes = [item for item in sizes if item.type not in NEED_IMATRIX]
        notes.append(f"Types that need an importance matrix are left out: {missing}.")
    return "", types_value(sizes, " ".join(notes))


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
