"""A kill at any moment leaves no file or folder that looks finished and is not; see also
test_export_job.py for the GGUF types alone."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from studio.engine.export import gate
from studio.engine.export.entry import run_export
from studio.events import EventWriter, read_events
from studio.jobs.export import start_export
from studio.jobs.job import Job, create_job, log_tail
from studio.jobs.process import start_worker, wait_until_ended
from studio.paths import Workspace
from studio.results.exports import read_export
from tests.integration.test_export_job import SECONDS, exported, make_run
from tests.waiting import wait_for_event

ALSO = ["merged", "adapter", "adapter-gguf"]


class Power(BaseException):
    """The power is gone: no handler of the product hears of it."""


class CutOff(EventWriter):
    """Ends everything right after it wrote the named event."""

    def __init__(self, job: Job, event: str) -> None:
        super().__init__(job.events_path)
        self._event = event

    def write(self, event: str, **values: Any) -> None:
        super().write(event, **values)
        if event == self._event:
            raise Power


def finished_names(job: Job) -> set[str]:
    """What in the job's files folder has the name of a result."""
    return {
        path.name
        for path in (job.folder / "files").iterdir()
        if path.suffix != ".part" and ".card." not in path.name
    }


@pytest.mark.parametrize("phase", ["check merged model", "check adapter folder", "check base"])
def test_kill_leaves_no_output_that_looks_finished_and_the_next_start_sweeps(
    phase: str, tmp_path: Path
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    job = start_export(workspace, run.id, ["Q8_0"], also=ALSO, measure=False)
    wait_for_event(job, "phase", name=phase)
    pid = next(e["pid"] for e in read_events(job.events_path) if e["event"] == "started")
    os.kill(pid, signal.SIGKILL)
    assert wait_until_ended(job, SECONDS) == "lost"
    assert finished_names(job) == {file.path.name for file in read_export(job).files}
    start_worker(job)
    assert wait_until_ended(job, SECONDS) == "finished", log_tail(job)
    assert exported(job) == [
        *("my-run-Q8_0.gguf", "my-run-adapter", "my-run-adapter.gguf"),
        *("my-run-base-F16.gguf", "my-run-merged"),
    ]
    assert not (job.folder / "work").exists()


@pytest.mark.parametrize("also", [[], ["merged"]])
def test_power_cut_between_event_and_name_leaves_a_part_that_is_not_listed(
    also: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    config = {"run": run.id, "model": "", "types": [] if also else ["F16"], "also": also}
    job = create_job(workspace, "export", "cut", config)
    # What a process that is gone cannot do any more.
    monkeypatch.setattr("studio.engine.export.entry._Export.sweep_work", lambda self: None)
    events = CutOff(job, "file")
    with pytest.raises(Power):
        run_export(job, workspace, events)
    events.close()
    assert finished_names(job) == set()
    assert [path.suffix for path in (job.folder / "files").iterdir()] == [".part"]
    assert read_export(job).files == ()


def test_power_cut_while_a_file_gets_its_name_lists_it_or_not_but_never_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    run = make_run(workspace, tmp_path)
    config = {"run": run.id, "model": "", "types": ["F16"]}
    job = create_job(workspace, "export", "cut", config)
    monkeypatch.setattr("studio.engine.export.entry._Export.sweep_work", lambda self: None)
    right = os.replace

    def cut(source: str | Path, target: str | Path) -> None:
        right(source, target)
        if str(target).endswith("my-run-F16.gguf"):
            raise Power

    monkeypatch.setattr(gate.os, "replace", cut)
    events = EventWriter(job.events_path)
    with pytest.raises(Power):
        run_export(job, workspace, events)
    events.close()
    assert finished_names(job) == {"my-run-F16.gguf"}
    (file,) = read_export(job).files
    assert file.passed
