"""What a run can be repeated from, as one value: its settings' part, its record, its result.

Read off the job's folder: config.json, record.json and the plan and end events.
"""

import json
from pathlib import Path
from typing import Any

from studio.events import read_events
from studio.jobs.job import Job
from studio.jobs.record import RECORD


def read_record(job: Job) -> dict[str, Any]:
    """Plain values by name; what is not known (yet) is missing.

    `adapter_sha256` is there once the run has finished or stopped; `model` and `versions` soon
    after the start, for runs that keep a record.
    """
    config = job.config()
    path = job.folder / RECORD
    facts: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    dataset = config.get("dataset", {})
    recorded = {
        "run": job.id,
        "seed": config.get("training", {}).get("seed"),
        **{name: value for name, value in facts.items() if name not in ("schema_version", "time")},
        "data": dict(zip(dataset.get("files", ()), dataset.get("sha256", ()), strict=False)),
    }
    for event in read_events(job.events_path):
        if event["event"] == "plan":
            recorded |= {name: event.get(name) for name in ("device", "precision", "n_threads")}
        elif event["event"] in ("finished", "stopped", "started"):
            recorded["adapter_sha256"] = event.get("adapter_sha256", {})
    return recorded


def record_lines(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The record in people's words, as (name, value)."""
    hardware, model = record.get("hardware") or {}, record.get("model") or {}
    gpu = hardware.get("gpu")
    lines = [
        ("Seed", str(record["seed"])),
        ("Computed in", _computed(record)),
        ("Processor", _processor(hardware)),
        ("GPU", f"{gpu['name']}, driver {gpu['driver']}" if gpu else ""),
        ("System", record.get("os", "")),
        ("Python", record.get("python", "")),
        *((name, number) for name, number in record.get("versions", {}).items()),
        ("Base model", " @ ".join(filter(None, [model.get("source"), model.get("revision")]))),
    ]
    hashes = {**model.get("files", {}), **record["data"], **record.get("adapter_sha256", {})}
    lines += [(Path(name).name, f"sha256 {value}") for name, value in hashes.items()]
    return [(name, value) for name, value in lines if value]


def _computed(record: dict[str, Any]) -> str:
    if "precision" not in record:
        return ""
    return f"{record['precision']} on {record['device']}, {record['n_threads']} threads"


def _processor(hardware: dict[str, Any]) -> str:
    if not hardware:
        return ""
    memory = hardware["ram_total_bytes"] / 1e9
    return f"{hardware['cpu']}, {hardware['n_cores']} cores, {memory:.1f} GB"
