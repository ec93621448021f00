"""The queue: facts in the runs' folders; a real worker wherever one is started."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studio.errors import JobError
from studio.events import EventWriter, read_events
from studio.jobs.job import Job, create_job, list_jobs, state_of
from studio.jobs.lock import is_held
from studio.jobs.process import device_lock, wait_until_ended
from studio.jobs.queue import (
    advance_queue,
    last_place,
    move_to_front,
    queue_lock,
    queue_of,
    remove_from_queue,
    stop_run,
)
from studio.jobs.train import resume_run
from studio.paths import PROJECT_DIR, Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig
from tests.waiting import wait_for

HOLD = (
    "import sys; from pathlib import Path; from studio.jobs.lock import hold\n"
    "with hold(Path(sys.argv[1])) as lock:\n"
    "    assert lock\n    print('held', flush=True)\n    sys.stdin.read()\n"
)
# The worker finds out before it imports torch, so that a whole queue ends within a second or two.
GONE = to_dict(RunConfig(model="no-such-model"))


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD, str(path)]
    other = subprocess.Popen(
        command, cwd=PROJECT_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        other.communicate()


def waiting(workspace: Workspace, name: str) -> Job:
    return create_job(workspace, "train", name, GONE, last_place(workspace))


def names(workspace: Workspace) -> list[str]:
    return [job.name for job in queue_of(workspace)]


def end_of(job: Job) -> dict[str, object]:
    assert wait_until_ended(job, 30) != "queued"
    return read_events(job.events_path)[-1]


def test_runs_wait_in_the_order_in_which_they_came(workspace: Workspace) -> None:
    for name in ("a", "b", "c"):
        waiting(workspace, name)
    create_job(workspace, "export", "not a run", {}, 9)
    assert names(workspace) == ["a", "b", "c"]
    assert {state_of(job) for job in queue_of(workspace)} == {"queued"}


def test_a_run_can_be_moved_to_the_front_more_than_once(workspace: Workspace) -> None:
    jobs = {name: waiting(workspace, name) for name in ("a", "b", "c")}
    move_to_front(workspace, jobs["c"])
    assert names(workspace) == ["c", "a", "b"]
    move_to_front(workspace, jobs["b"])
    waiting(workspace, "d")
    assert names(workspace) == ["b", "c", "a", "d"]


def test_removing_deletes_what_never_ran_and_keeps_what_did(workspace: Workspace) -> None:
    fresh = waiting(workspace, "fresh")
    stopped = create_job(workspace, "train", "stopped", GONE)
    EventWriter(stopped.events_path).write("stopped", step=3)
    with held_by_another(device_lock(workspace)):
        resume_run(workspace, stopped)
    assert names(workspace) == ["fresh", "stopped"]
    for job in (fresh, stopped):
        remove_from_queue(workspace, job)
    assert [(job.name, state_of(job)) for job in list_jobs(workspace)] == [("stopped", "stopped")]
    with pytest.raises(JobError) as caught:
        remove_from_queue(workspace, stopped)
    assert caught.value.code == "job_not_queued"


def test_a_waiting_run_is_stopped_without_having_run_and_can_be_resumed(
    workspace: Workspace,
) -> None:
    job = waiting(workspace, "a")
    with held_by_another(device_lock(workspace)):
        stop_run(workspace, job)
        assert state_of(job) == "stopped"
        assert [event["event"] for event in read_events(job.events_path)] == ["stopped"]
        assert names(workspace) == []
        resume_run(workspace, job)
        assert state_of(job) == "queued"


def test_a_resumed_run_that_waits_is_as_before_once_it_is_stopped(workspace: Workspace) -> None:
    job = create_job(workspace, "train", "a", GONE)
    EventWriter(job.events_path).write("failed", message="", fix="", code="x")
    with held_by_another(device_lock(workspace)):
        resume_run(workspace, job)
        assert state_of(job) == "queued"
        stop_run(workspace, job)
    assert state_of(job) == "failed"
    assert len(read_events(job.events_path)) == 1


def test_nothing_starts_while_the_device_is_held(workspace: Workspace) -> None:
    waiting(workspace, "a")
    with held_by_another(device_lock(workspace)):
        advance_queue(workspace)
        assert names(workspace) == ["a"]
        assert not queue_of(workspace)[0].log_path.exists()


def test_a_look_does_not_wait_for_who_changes_the_queue(workspace: Workspace) -> None:
    job = waiting(workspace, "a")
    with held_by_another(queue_lock(workspace)):
        advance_queue(workspace, wait=False)
        assert state_of(job) == "queued"


def test_one_run_after_the_other_starts_whatever_becomes_of_them(workspace: Workspace) -> None:
    jobs = [waiting(workspace, name) for name in ("a", "b", "c")]
    (jobs[0].folder / "config.json").unlink()
    # Only the first start is ours; each worker starts the next one at its end.
    advance_queue(workspace)
    ends = [end_of(job) for job in jobs]
    assert [end["code"] for end in ends] == ["job_damaged", "model_not_found", "model_not_found"]
    times = [read_events(job.events_path)[0]["time"] for job in jobs]
    assert times == sorted(times)
    wait_for(lambda: not is_held(device_lock(workspace)))


def test_a_run_whose_worker_cannot_start_fails_and_the_next_one_runs(workspace: Workspace) -> None:
    first, second = waiting(workspace, "a"), waiting(workspace, "b")
    # Where the worker would write its events there is a folder.
    first.events_path.mkdir()
    advance_queue(workspace)
    assert end_of(second)["code"] == "model_not_found"
    assert state_of(first) == "lost"
    assert names(workspace) == []


def test_a_worker_that_finds_the_device_busy_stays_in_the_queue(workspace: Workspace) -> None:
    job = waiting(workspace, "a")
    command = [sys.executable, "-m", "studio.jobs.worker", str(job.folder)]
    with held_by_another(device_lock(workspace)):
        assert subprocess.run(command, cwd=PROJECT_DIR, timeout=30).returncode == 4
        assert state_of(job) == "queued"
        assert not job.events_path.exists()


def test_a_worker_killed_before_it_began_is_started_again(workspace: Workspace) -> None:
    job = waiting(workspace, "a")
    EventWriter(job.events_path).write("started", pid=1)
    assert state_of(job) == "queued"
    advance_queue(workspace)
    assert end_of(job)["code"] == "model_not_found"


def test_a_clock_that_was_set_back_does_not_change_the_order(workspace: Workspace) -> None:
    for name, created_at in (("a", 2e9), ("b", 1e9), ("c", 1.5e9)):
        job = waiting(workspace, name)
        facts = (job.folder / "job.json").read_text("utf-8")
        text = facts.replace(f'"created_at": {job.created_at}', f'"created_at": {created_at}')
        (job.folder / "job.json").write_text(text, "utf-8")
    assert names(workspace) == ["a", "b", "c"]
    assert [job.name for job in list_jobs(workspace)] == ["c", "b", "a"]
    assert {job.created_at for job in list_jobs(workspace)} == {2e9, 1e9, 1.5e9}
