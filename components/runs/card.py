"""One run in words: its head, what went wrong and what to do, every setting. HTML, escaped."""

from pathlib import Path
from typing import Any

from components.wording import model_name, state_html, text, when
from studio.events import Event
from studio.jobs.job import Job, log_tail
from studio.jobs.tracking import Tracking, read_tracking
from studio.results.record import record_lines
from studio.results.runs import RunSummary
from studio.results.setting_words import SECTIONS, has_section, labels_of, plain
from studio.training.methods import METHODS

_LOST_LINES = 8
# What a run has settled by itself.
_NOTES = ("memory_halved", "memory_recomputes", "stopped_early", "bf16_inexact")


def head_html(run: RunSummary, parent: str = "") -> str:
    """Name, state, and what was trained on what, when; `parent` is what it went on from."""
    method = METHODS[run.method].label if run.method in METHODS else run.method
    goes_on = f"goes on from {parent}" if parent else ""
    parts = [model_name(run.model), method, run.dataset, when(run.created_at), goes_on]
    facts = " · ".join(text(part) for part in parts if part)
    return (
        f'<div class="run-head"><h2>{text(run.name)}</h2>{state_html(run.state)}'
        f'<p class="s-note">{facts}</p></div>'
    )


def parent_words(jobs: list[Job], source: str) -> str:
    """ "talker, step 120" for a run's "id@120", the folder's name for an adapter's folder."""
    run_id, _, step = source.rpartition("@") if "@" in source else (source, "", "")
    names = {job.id: job.name for job in jobs}
    name = names.get(run_id, Path(run_id).name)
    return f"{name}, step {int(step):,}" if step.isdigit() else name


def remarks_html(job: Job, run: RunSummary, warnings: list[Event]) -> str:
    """Warnings and the reason of a bad end, each with its fix; "" where there is nothing."""
    items = [
        _finding(
            "warn",
            "Note" if event.get("code") in _NOTES else "Warning",
            str(event.get("message", "")),
            str(event.get("fix", "")),
        )
        for event in _newest_of_each(warnings)
    ]
    tracking = read_tracking(job)
    if tracking:
        items.append(_tracked(tracking))
    if run.error:
        word = "Lost" if run.state == "lost" else "Failed"
        lines = log_tail(job, _LOST_LINES) if run.state == "lost" else ""
        items.append(_finding("bad", word, run.error.message, run.error.fix, lines))
    return f'<ul class="s-list" aria-label="Remarks on this run">{"".join(items)}</ul>' * bool(
        items
    )


def _tracked(tracking: Tracking) -> str:
    if tracking.error:
        message = f"{tracking.label} gets nothing any more: {tracking.error}"
        return _finding(
            "warn", "Warning", message, "The run itself is whole; tracking.log says more."
        )
    return _finding("warn", "Note", f"{tracking.label} has its measures, too.", tracking.see)


def _newest_of_each(warnings: list[Event]) -> list[Event]:
    """A warning that came a hundred times is said once, as it was said last."""
    return list(
        {str(event.get("code", event.get("message"))): event for event in warnings}.values()
    )


def _finding(kind: str, word: str, message: str, fix: str, lines: str = "") -> str:
    end = f"<pre>{text(lines)}</pre>" if lines else ""
    return (
        f'<li class="s-finding {kind}"><b>{word}:</b> {text(message)}<p>{text(fix)}</p>{end}</li>'
    )


def settings_html(config: dict[str, Any]) -> str:
    """Every setting of a run's config.json, in people's words with the name in code beside."""
    method = config.get("method", "")
    return "".join(
        _section(title, cls, config.get(key, {}) if key else config)
        for key, cls, title in SECTIONS
        if has_section(method, key)
    )


def record_html(record: dict[str, Any]) -> str:
    """What the run depended on beside its settings: versions, machine, hashes."""
    rows = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in record_lines(record)
    )
    return f'<h3 class="run-settings-title">Record</h3><dl class="run-settings">{rows}</dl>'


def _section(title: str, cls: type, values: dict[str, Any]) -> str:
    labels = labels_of(cls)
    rows = "".join(
        f"<div><dt>{text(labels[name])} <code>{text(name)}</code></dt>"
        f"<dd>{text(plain(value))}</dd></div>"
        for name, value in values.items()
        if name in labels
    )
    return f'<h3 class="run-settings-title">{text(title)}</h3><dl class="run-settings">{rows}</dl>'
