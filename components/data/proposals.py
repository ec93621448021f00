"""A dataset's synthesis jobs and what the newest proposes, as plain words for synthesis.js."""

from collections.abc import Callable
from typing import Any

from components.handlers import answer_errors
from components.wording import duration, state_word
from studio.data.dataset import Dataset, open_dataset
from studio.data.library import load_recipe
from studio.data.proposals import Proposal, read_decisions, read_proposals
from studio.data.writing_back import answer_of, question_of
from studio.errors import StudioError
from studio.events import Event, read_events
from studio.jobs.job import ACTIVE, Job, list_jobs, state_of
from studio.jobs.synthesis import KIND, config_of
from studio.paths import Workspace

PER_PAGE = 20
_SHOWN_CHARACTERS = 2_000
MARKS = {
    "empty": "empty",
    "identical": "duplicate: says what is there already",
    "similar": "almost a duplicate",
    "cut": "cut at the longest answer",
}


def proposals_reader(workspace: Workspace) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `proposals`: {dataset, page, all} → the newest job and its proposals.

    Decided proposals are left out, unless "all" asks for them.
    """

    @answer_errors
    def proposals(asked: dict[str, Any]) -> dict[str, Any]:
        dataset = str(asked["dataset"])
        job = newest_job(workspace, dataset)
        if job is None:
            return {"job": None}
        decided = read_decisions(job.folder)
        known = read_proposals(job.folder)
        open_ones = [one for one in known if asked.get("all") or one.number not in decided]
        n_pages = max(-(-len(open_ones) // PER_PAGE), 1)
        page = min(max(int(asked.get("page") or 1), 1), n_pages)
        opened = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir)
        shown = open_ones[(page - 1) * PER_PAGE : page * PER_PAGE]
        return {
            "job": job_words(job),
            "page": page,
            "n_pages": n_pages,
            "n_open": sum(one.number not in decided for one in known),
            "n_proposals": len(known),
            "n_approved": sum(verdict == "approved" for verdict in decided.values()),
            "proposals": [
                {**proposal_words(opened, one), "verdict": decided.get(one.number, "")}
                for one in shown
            ],
        }

    return proposals


def newest_job(workspace: Workspace, dataset: str) -> Job | None:
    """The newest synthesis of a dataset of the workspace."""
    jobs = list_jobs(workspace, KIND)
    return next((job for job in jobs if job.config().get("dataset_id") == dataset), None)


def job_words(job: Job) -> dict[str, Any]:
    """State, progress and time left of a synthesis."""
    state, events = state_of(job), read_events(job.events_path)
    steps = [event for event in events if event["event"] == "progress"]
    phases = [str(event["name"]) for event in events if event["event"] == "phase"]
    last = steps[-1] if steps else {}
    plan = next((event for event in reversed(events) if event["event"] == "plan"), {})
    left = seconds_left(steps) if state in ACTIVE else None
    failed = next((event for event in reversed(events) if event["event"] == "failed"), None)
    warned = [event for event in events if event["event"] == "warning"]
    return {
        "id": job.id,
        "name": job.name,
        "kind": config_of(job).kind,
        "state": state,
        "word": state_word(state),
        "active": state in ACTIVE,
        "resumable": state in ("stopped", "lost", "failed"),
        "phase": phases[-1].capitalize() if phases else "",
        "done": last.get("done", 0),
        "n": last.get("n", plan.get("n_rows", 0)),
        "left": f"about {duration(left)} left" if left is not None else "",
        "problem": _words(failed) if failed and state == "failed" else None,
        "warnings": [_words(event) for event in warned[-3:]],
    }


def _words(event: Event) -> dict[str, str]:
    return {"message": str(event.get("message", "")), "fix": str(event.get("fix", ""))}


def seconds_left(steps: list[Event]) -> float | None:
    """At the speed so far; None before it can be told."""
    if len(steps) < 2 or steps[-1]["done"] <= steps[0]["done"]:
        return None
    first, last = steps[0], steps[-1]
    per_row = (last["time"] - first["time"]) / (last["done"] - first["done"])
    return float((last["n"] - last["done"]) * per_row)


def proposal_words(dataset: Dataset, proposal: Proposal) -> dict[str, Any]:
    """One proposal beside its source row."""
    question, answer, gone = "", "", ""
    try:
        row = dataset.edited.row(proposal.row - 1)
        question = question_of(row, dataset.recipe, proposal.row)
        answer = answer_of(row, dataset.recipe, proposal.row)
    except StudioError as error:
        gone = error.message
    return {
        "number": proposal.number,
        "row": proposal.row,
        "kind": proposal.kind,
        "question": question[:_SHOWN_CHARACTERS],
        "answer": answer[:_SHOWN_CHARACTERS],
        "gone": gone,
        "text": proposal.text[:_SHOWN_CHARACTERS],
        "model": proposal.model,
        "mark": proposal.mark,
        "word": MARKS.get(proposal.mark, ""),
    }
