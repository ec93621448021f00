"""Two to eight runs side by side: the settings that differ, and what came of each.

In: jobs of kind train. Out: plain values for the Runs tab and the command line; nothing is stored.
A setting that a run's config.json lacks is unknown: a default may have been another one then.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from studio.errors import JobError
from studio.jobs.job import Job, find_job, list_jobs, list_trash
from studio.paths import Workspace
from studio.results.runs import KIND, RunSummary, summarize
from studio.results.setting_words import SECTIONS, has_section, labels_of, plain, short
from studio.settings import knobs

FEWEST, MOST = 2, 8
UNKNOWN = "unknown"
# What only says which run it is, or in which form it was written down.
_NO_SETTINGS = {"name", "schema_version"}
_LABELS = {
    "origin": "Comes from",
    "edits": "Changes to the rows",
    "phrasings": "Phrasings",
    "mix": "Mixed in",
    "validation_files": "Validation files",
    "test_files": "Test files",
    "evaluation_files": "Evaluation files",
}
# A loss is a number of the method, the tokens and the rows it is measured on.
_MEASURES = ("model", "method", "dataset.", "preference.", "grpo.")
_MEASURES_TOO = ("training.max_length", "training.label_smoothing_factor")
_SHOWN_HASH = 12


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting that is not the same in all runs; `values` by run, None where unknown.

    `name` is dotted as in a settings file; `is_choice`: a value is one of the knob's choices.
    """

    name: str
    label: str
    values: tuple[Any, ...]
    is_choice: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure of the table of results; `better` where one value can be better than another.

    `whole`: only of runs that went through to their end, as it grows or is known with the end.
    """

    name: str
    label: str
    better: Literal["up", "down", ""] = ""
    whole: bool = False
    is_loss: bool = False


COLUMNS = (
    Column(name="step", label="Steps"),
    Column(name="n_trainable", label="Trainable parameters"),
    Column(name="best_eval_loss", label="Best validation loss", better="down", is_loss=True),
    Column(name="best_eval_step", label="At step"),
    Column(name="train_loss_last", label="Last train loss", better="down", is_loss=True),
    Column(name="tokens_per_second", label="Tokens/s", better="up"),
    Column(name="peak_memory_bytes", label="Peak memory", better="down", whole=True),
    Column(name="elapsed_seconds", label="Duration", better="down", whole=True),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs in the order in which they were chosen; `best` holds (run's id, column) pairs.

    `notes` say what could not be compared, and why.
    """

    jobs: tuple[Job, ...]
    runs: tuple[RunSummary, ...]
    differences: tuple[Difference, ...]
    best: frozenset[tuple[str, str]]
    notes: tuple[str, ...]


def choose_runs(workspace: Workspace, names: Sequence[str]) -> list[Job]:
    """The runs with these ids or names, in this order.

    Raises: JobError (compare_runs) for fewer than two, more than eight, one named twice, or one
    that is deleted or no run; job_not_found for one that never was.
    """
    if not FEWEST <= len(names) <= MOST:
        raise _refused(f"{len(names)} chosen: a comparison takes {FEWEST} to {MOST} runs.")
    jobs = [_run(workspace, name) for name in names]
    for i, job in enumerate(jobs):
        if job.id in {other.id for other in jobs[:i]}:
            raise _refused(f"The run '{job.name}' is chosen twice.")
    return jobs


def _run(workspace: Workspace, name: str) -> Job:
    try:
        return find_job(workspace, name, KIND)
    except JobError:
        if any(name in (job.id, job.name) for job in list_trash(workspace, KIND)):
            raise _refused(f"The run '{name}' is deleted.", "Restore it first.") from None
        for job in list_jobs(workspace):
            if name in (job.id, job.name):
                raise _refused(
                    f"'{name}' is no run but a job of kind {job.kind}.",
                    "Choose runs of the list of all runs; a sweep's runs are among them.",
                ) from None
        raise


def _refused(message: str, fix: str = "Choose two to eight different runs.") -> JobError:
    return JobError(message, fix, "compare_runs")


def compare(jobs: Sequence[Job]) -> Comparison:
    """What differs between runs, and what is known of their results now."""
    runs = tuple(summarize(job) for job in jobs)
    configs = [_config(job) for job in jobs]
    differences = tuple(differing_settings(configs))
    unread = [job.name for job, config in zip(jobs, configs, strict=True) if config is None]
    notes = [f"The settings of {name} cannot be read: they are unknown here." for name in unread]
    apart = [one.label for one in differences if _changes_loss(one.name)]
    if apart:
        notes.append(f"Losses are not ranked: the runs differ in {', '.join(apart)}.")
    ranked = not apart and not unread
    columns = [column for column in COLUMNS if column.better and (ranked or not column.is_loss)]
    best = frozenset((run, column.name) for column in columns for run in _best(runs, column))
    return Comparison(
        jobs=tuple(jobs), runs=runs, differences=differences, best=best, notes=tuple(notes)
    )


def _config(job: Job) -> dict[str, Any] | None:
    try:
        return job.config()
    except JobError:
        return None


def _changes_loss(name: str) -> bool:
    return name.startswith(_MEASURES) or name in _MEASURES_TOO


def _best(runs: Sequence[RunSummary], column: Column) -> list[str]:
    """Ids of the runs with the best value; [] where no run is better than another."""
    known = {
        run.id: value
        for run in runs
        if (value := getattr(run, column.name)) is not None
        and (run.state == "finished" or not column.whole)
    }
    if len(set(known.values())) < 2:
        return []
    best = (max if column.better == "up" else min)(known.values())
    return [run_id for run_id, value in known.items() if value == best]


def differing_settings(configs: Sequence[dict[str, Any] | None]) -> list[Difference]:
    """The settings that are not the same in all readable configs, in the order of the sections.

    Sections that no run's method has are left out. None is a config that cannot be read.
    """
    found = []
    for key, cls, _ in SECTIONS:
        parts = [_part(config, key) for config in configs]
        labels = {**_LABELS, **labels_of(cls)}
        choices = {knob.name for knob in knobs(cls) if knob.choices}
        for name in _names(cls, key):
            values = [part.get(name) for part in parts]
            known = [v for v, config in zip(values, configs, strict=True) if config is not None]
            if any(value != known[0] for value in known):
                found.append(
                    Difference(
                        name=f"{key}.{name}" if key else name,
                        label=labels.get(name, name),
                        values=tuple(values),
                        is_choice=name in choices,
                    )
                )
    return found


def _names(cls: type, key: str) -> list[str]:
    nested = {section for section, _, _ in SECTIONS}
    left_out = _NO_SETTINGS if key else _NO_SETTINGS | nested
    return [field.name for field in dataclasses.fields(cls) if field.name not in left_out]


def _part(config: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """The values of a section; {} where the run's method does not have it."""
    if config is None or not has_section(str(config.get("method", "")), key):
        return {}
    part = config.get(key, {}) if key else config
    return part if isinstance(part, dict) else {}


def value_words(difference: Difference, choice: Callable[[str], str] = str) -> list[str]:
    """A setting's values by run in words that tell different values apart.

    `choice` says what a person reads for a choice.
    """
    values = difference.values
    if difference.is_choice:
        return [UNKNOWN if value is None else choice(str(value)) for value in values]
    for words in (_short, plain, _with_fingerprint):
        said = [UNKNOWN if value is None else words(value) for value in values]
        if _tell_apart(values, said):
            break
    return said


def _short(value: Any) -> str:
    if isinstance(value, list) and value and all(_is_hash(item) for item in value):
        return ", ".join(item[:_SHOWN_HASH] for item in value)
    return short(value)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2


def _with_fingerprint(value: Any) -> str:
    """Parts that are called the same and are not: the same mark is the same content."""
    content = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return f"{short(value)} ({content[:6]})"


def _tell_apart(values: Sequence[Any], words: Sequence[str]) -> bool:
    texts = [json.dumps(value, sort_keys=True) for value in values]
    return len(set(words)) == len(set(texts))
