"""Exports as the screen reads them: files and checks, told from events and the disk alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cli.export import chat_words, progress_words
from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.paths import Workspace
from studio.results.exports import ExportCheck, find_export, list_exports, read_export


def check(name: str, passed: bool = True, kind: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "passed": passed,
        "value": 0.5,
        "limit": 1.0,
        "note": "12 texts.",
        "type": kind,
    }


def file(job: Job, kind: str, n_bytes: int = 10) -> dict[str, Any]:
    path = job.folder / "files" / f"run-{kind}.gguf"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * n_bytes)
    return {
        "type": kind,
        "path": f"files/{path.name}",
        "size_bytes": n_bytes,
        "bits_per_weight": 4.85,
        "sha256": "ab" * 32,
    }


def export_job(workspace: Workspace, run: str, *events: tuple[str, dict[str, Any]]) -> Job:
    job = create_job(workspace, "export", "run", {"run": run, "model": "", "types": ["Q4_K_M"]})
    write(job, *events)
    return job


def write(job: Job, *events: tuple[str, dict[str, Any]]) -> None:
    writer = EventWriter(job.events_path)
    for name, values in events:
        writer.write(name, **values)
    writer.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def test_file_carries_its_own_checks_and_the_common_ones(workspace: Workspace) -> None:
    job = export_job(workspace, "run-1", ("started", {"pid": 1}))
    write(
        job,
        ("check", check("tokens")),
        ("check", check("logits", kind="F16")),
        ("file", file(job, "F16")),
        ("check", check("logits", passed=False, kind="Q4_K_M")),
        ("file", file(job, "Q4_K_M")),
        ("finished", {"files": [], "checks": []}),
    )
    export = find_export(workspace, job.id)
    assert (export.state, export.run, export.types) == ("finished", "run-1", ("Q4_K_M",))
    assert [(f.type, f.passed, len(f.checks)) for f in export.files] == [
        ("F16", True, 2),
        ("Q4_K_M", False, 2),
    ]
    assert export.files[0].path == job.folder / "files" / "run-F16.gguf"
    assert export.checks[0] == ExportCheck(
        name="tokens", passed=True, value=0.5, limit=1.0, note="12 texts.", type=""
    )


def test_only_the_last_start_counts(workspace: Workspace) -> None:
    job = export_job(workspace, "run-1", ("started", {"pid": 1}))
    write(job, ("file", file(job, "F16")), ("started", {"pid": 2}), ("phase", {"name": "merge"}))
    export = read_export(job)
    assert (export.files, export.phase, export.state) == ((), "merge", "lost")


def test_file_that_is_gone_or_cut_is_not_listed(workspace: Workspace) -> None:
    job = export_job(workspace, "run-1", ("started", {"pid": 1}))
    write(job, ("file", file(job, "F16")), ("file", file(job, "Q8_0")))
    (job.folder / "files" / "run-F16.gguf").unlink()
    (job.folder / "files" / "run-Q8_0.gguf").write_bytes(b"x" * 9)
    assert read_export(job).files == ()


def test_progress_is_that_of_the_current_phase(workspace: Workspace) -> None:
    step = {"phase": "merge", "done": 3, "total": 9, "unit": "tensors"}
    job = export_job(workspace, "", ("phase", {"name": "merge"}), ("progress", step))
    assert (read_export(job).done, read_export(job).total) == (3, 9)
    write(job, ("phase", {"name": "convert F16"}))
    assert (read_export(job).phase, read_export(job).done) == ("convert F16", 0)


def test_failure_is_told_with_its_fix(workspace: Workspace) -> None:
    values = {"message": "The disk is full.", "fix": "Free some space.", "code": "disk_full"}
    job = export_job(workspace, "run-1", ("started", {"pid": 1}), ("failed", values))
    export = read_export(job)
    assert (export.state, export.problem, export.fix) == (
        "failed",
        "The disk is full.",
        "Free some space.",
    )


def test_exports_are_listed_by_run_newest_first(workspace: Workspace) -> None:
    jobs = [export_job(workspace, run) for run in ("a", "b", "a")]
    assert {export.job.id for export in list_exports(workspace)} == {job.id for job in jobs}
    assert {export.job.id for export in list_exports(workspace, "a")} == {jobs[0].id, jobs[2].id}
    created = [export.job.created_at for export in list_exports(workspace)]
    assert created == sorted(created, reverse=True)
    with pytest.raises(JobError, match="There is no export 'nope'"):
        find_export(workspace, "nope")


def test_the_time_left_follows_the_speed_of_the_current_step(workspace: Workspace) -> None:
    """Another phase's speed, and that of an earlier start, say nothing of this one."""
    job = export_job(workspace, "r", ("started", {"pid": 1}))
    lines = [
        {"event": "phase", "name": "quantize Q8_0", "time": 50.0},
        {"event": "progress", "phase": "quantize Q8_0", "done": 1, "total": 9, "time": 51.0},
        {"event": "started", "pid": 2, "time": 90.0},
        {"event": "phase", "name": "merge", "time": 91.0},
        {"event": "progress", "phase": "merge", "done": 7, "total": 9, "time": 95.0},
        {"event": "phase", "name": "quantize Q8_0", "time": 99.0},
        {"event": "progress", "phase": "quantize Q8_0", "done": 10, "total": 100, "time": 100.0},
    ]
    later = {**lines[-1], "done": 40, "time": 115.0}
    with job.events_path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    assert read_export(job).seconds_left is None
    with job.events_path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(later) + "\n")
    found = read_export(job)
    assert found.seconds_left == 30.0
    assert progress_words(found) == "quantizing to Q8_0, 40 %, about 30 s left in this step ..."


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("", "starting"),
        ("merge", "merging the adapter"),
        ("convert F16", "converting to F16"),
        ("convert base", "converting the base"),
        ("hash adapter-gguf", "hashing adapter-gguf"),
        ("write merged model", "writing merged model"),
        ("something new", "something new"),
    ],
)
def test_phase_is_told_in_words(phase: str, words: str, workspace: Workspace) -> None:
    events = [("phase", {"name": phase})] if phase else []
    assert read_export(export_job(workspace, "r", *events)).doing == words


def test_adapter_file_is_asked_on_the_base_of_its_own_export(workspace: Workspace) -> None:
    job = export_job(workspace, "r", ("started", {"pid": 1}))
    for kind in ("base-gguf", "adapter-gguf", "Q8_0"):
        write(job, ("file", file(job, kind)))
    found = read_export(job)
    base, adapter, merged = found.files
    assert [found.base_of(one) for one in found.files] == [None, base, None]
    assert chat_words(found) == [
        *(f'"{merged.path}"', f'"{base.path}" --lora "{adapter.path}"', f'"{base.path}"')
    ]
    base.path.unlink()
    left = read_export(job)
    assert [left.base_of(one) for one in left.files] == [None, None]
    assert chat_words(left) == [f'"{merged.path}"']
