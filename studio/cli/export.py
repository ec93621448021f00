"""`export`: a run, or a model as it is, becomes GGUF files with their checks."""

import argparse
import time
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.environment import wait_for_llama
from studio.environment.terminal import duration
from studio.errors import JobError, ModelError
from studio.jobs.export import start_export
from studio.jobs.export_outputs import BASE_GGUF
from studio.jobs.job import ENDED, Job, find_job, last_event, list_jobs, state_of
from studio.jobs.process import stop_if_active
from studio.models.gguf_types import check_types
from studio.models.reference import STARTER, ModelRef
from studio.paths import Workspace
from studio.results.exports import Export, read_export
from studio.results.quality import advice, recommended
from studio.results.report_card import card_path

_POLL_SECONDS = 0.3
_MB = 1e6


def run_export(options: argparse.Namespace, console: Console) -> int:
    """Export and show files and checks. Ctrl-C cancels and leaves nothing behind."""
    workspace = Workspace.open(options.workspace)
    types = tuple(name.strip().upper() for name in options.types.split(",") if name.strip())
    also = tuple(name.strip().lower() for name in options.also.split(",") if name.strip())
    if types or not also:
        check_types(types)
    run_id, model = _source(workspace, options.run)
    wait_for_llama(lambda build: console.progress(build.message))
    job = start_export(
        workspace,
        run_id,
        types,
        model,
        also,
        measure=not options.no_measure,
        imatrix=options.imatrix,
        llama_cpp=options.llama_cpp,
    )
    console.note(f"export {job.id}")
    _follow(job, console)
    export = read_export(job)
    _say_export(export, console)
    failed = _failure(export)
    if failed:
        console.note(f"error [{failed.code}]: {failed.message}\nfix: {failed.fix}")
    console.result(_result(export))
    return 1 if failed else 0


def _source(workspace: Workspace, wanted: str) -> tuple[str, str]:
    """(run id, "") or ("", model): a run's id or name, else a model's folder or hub id."""
    jobs = list_jobs(workspace, "train")
    if not any(wanted in (job.id, job.name) for job in jobs):
        try:
            reference = ModelRef.parse(wanted)
        except ModelError:
            pass
        else:
            # The worker runs in another folder: a model folder is named in full.
            is_folder = reference.is_local and reference.source != STARTER
            return "", str(Path(wanted).expanduser().resolve()) if is_folder else wanted
    return find_job(workspace, wanted, "train").id, ""


def _follow(job: Job, console: Console) -> None:
    while state_of(job) not in ENDED:
        try:
            console.progress(progress_words(read_export(job)))
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            console.note("Cancelling; nothing unfinished is left behind.")
            stop_if_active(job)


def progress_words(export: Export) -> str:
    """What it does now, the share that is done of it, and the time left for the rest."""
    parts = [export.doing]
    if export.total:
        parts.append(f"{100 * export.done // export.total} %")
    if export.seconds_left is not None:
        parts.append(f"about {duration(export.seconds_left)} left in this step")
    return f"{', '.join(parts)} ..."


def _failure(export: Export) -> JobError | None:
    if export.state == "finished":
        return None
    if export.state == "stopped":
        return JobError("The export was cancelled.", "Run the command again.", "export_cancelled")
    if export.state == "lost":
        return JobError(
            "The export's worker ended without a word: it was killed, or memory ran out.",
            f"Look at {export.job.log_path}, then run the command again.",
            "export_lost",
        )
    code = (last_event(export.job.events_path) or {}).get("code", "unexpected")
    return JobError(export.problem, export.fix, code)


def _say_export(export: Export, console: Console) -> None:
    if export.files:
        console.table(
            ("type", "MB", "bits a weight", "sha256", "file"),
            [
                (
                    file.type,
                    round(file.size_bytes / _MB, 2),
                    round(file.bits_per_weight, 2),
                    file.sha256[:16],
                    str(file.path),
                )
                for file in export.files
            ],
        )
    if export.checks:
        console.say()
        console.table(
            ("check", "type", "", "value", "limit", "note"),
            [
                (
                    check.name,
                    check.type or "all",
                    {"passed": "passed", "warned": "look", "failed": "FAILED"}[check.status],
                    "-" if check.value is None else f"{check.value:.3g}",
                    "-" if check.limit is None else f"{check.limit:.3g}",
                    check.note,
                )
                for check in export.checks
            ],
        )
    if export.measured:
        console.say(f"\n{advice(export.measured)}")
    if export.files:
        console.say(f"\nReport cards: {export.files[0].path.parent}/*.card.html")
    for words in chat_words(export)[:1]:
        console.say(f'\nAsk it: python launch.py chat {words} --prompt "Hello"')


def chat_words(export: Export) -> list[str]:
    """What `chat` takes for each file that talks, by itself or on its base; tuned ones first."""
    alone = [(file.type == BASE_GGUF, f'"{file.path}"') for file in export.files if file.talks]
    pairs = [(file, export.base_of(file)) for file in export.files]
    together = [(False, f'"{base.path}" --lora "{file.path}"') for file, base in pairs if base]
    return [words for _, words in sorted([*alone, *together], key=lambda found: found[0])]


def _result(export: Export) -> dict[str, Any]:
    return {
        "files": [
            {
                "type": file.type,
                "path": str(file.path),
                "size_bytes": file.size_bytes,
                "bits_per_weight": file.bits_per_weight,
                "sha256": file.sha256,
                "card": str(card_path(file.path, "json")),
            }
            for file in export.files
        ],
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "status": check.status,
                "value": check.value,
                "limit": check.limit,
            }
            for check in export.checks
        ],
        "quality": [quality.as_dict() for quality in export.qualities],
        "recommended": best.quality.type if (best := recommended(export.measured)) else None,
    }
