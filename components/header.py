"""The header over all tabs: name, current dataset, hardware meters, the running job's pill.

Drawn by assets/js/header.js, which asks `status` every two seconds while the page is visible.
It also keeps the address equal to what is open, so that a reload comes back to it.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import live
from components.wording import state_word
from studio.events import parse_line
from studio.jobs.job import ACTIVE, Job, last_event, list_jobs, state_of
from studio.jobs.queue import advance_queue
from studio.models.hardware import look
from studio.paths import ASSETS_DIR, Workspace

_WORK = {"train": "Training", "export": "Exporting", "evaluate": "Evaluating"}


def build_header(workspace: Workspace) -> gr.HTML:
    """The header; give it {"dataset", "dataset_name", "run"} to keep name and address right."""
    logo = (ASSETS_DIR / "icons" / "logo.svg").read_text(encoding="utf-8")
    return live(
        "header",
        "header",
        {"dataset": "", "dataset_name": "", "run": "", "tab": ""},
        logo=logo,
        server_functions=[status_reader(workspace)],
    )


def status_reader(workspace: Workspace) -> Callable[[Any], dict[str, Any]]:
    """The server function `status`: hardware and the newest job, as plain values.

    Each look also starts the next waiting run where the one before it was killed.
    """

    @answer_errors
    def status(_: Any = None) -> dict[str, Any]:
        advance_queue(workspace, wait=False)
        hardware = look()
        gpu = hardware.gpu
        return {
            "cpu_percent": round(hardware.cpu_percent),
            "n_cores": hardware.n_cores,
            "ram_used_bytes": hardware.ram_used_bytes,
            "ram_total_bytes": hardware.ram_total_bytes,
            "gpu": gpu
            and {
                "name": gpu.name,
                "used_bytes": gpu.total_bytes - gpu.free_bytes,
                "total_bytes": gpu.total_bytes,
            },
            "job": newest_job(workspace),
        }

    return status


def newest_job(workspace: Workspace) -> dict[str, Any] | None:
    """The job the pill shows: the newest active one, else the newest; None without any."""
    jobs = [job for job in list_jobs(workspace) if job.kind in _WORK]
    if not jobs:
        return None
    states = ((job, state_of(job)) for job in jobs)
    job, state = next(((j, s) for j, s in states if s in ACTIVE), (jobs[0], state_of(jobs[0])))
    text = _WORK[job.kind] if state == "running" else state_word(state)
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "state": state,
        "text": text + _share(job) if state == "running" else text,
    }


def _share(job: Job) -> str:
    """How far a running job is, e.g. " 42 %"; "" where it has not said."""
    last = last_event(job.events_path) or {}
    done, total = last.get("step"), _n_steps(job)
    if last.get("event") == "progress":
        done, total = last.get("done"), last.get("total")
    return f" {100 * done // total:.0f} %" if done is not None and total else ""


def _n_steps(job: Job) -> int:
    """Steps in all, from the plan in the first lines of the job's events; 0 if not there yet."""
    with job.events_path.open("rb") as file:
        head = file.read(8192).split(b"\n")[:-1]
    events = (parse_line(line) for line in head)
    return next((int(e["n_steps"]) for e in events if e and e["event"] == "plan"), 0)
