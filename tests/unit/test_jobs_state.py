"""A job's state is read off its folder: last event, lock, request; nothing is stored."""

import subprocess
import sys
import time

import pytest

from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import create_job, delete_job, find_job, list_jobs, log_tail, state_of
from studio.jobs.lock import hold, is_held
from studio.jobs.process import continue_run, pause_run, request_stop, start_worker
from studio.jobs.worker import ALREADY_RUNNING
from studio.paths import PROJECT_DIR, Workspace
from tests.waiting import wait_for


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path)


@pytest.fixture
def job(workspace):
    return create_job(workspace, "train", "owl", {"a": 1})


def write(job, *events):
    writer = EventWriter(job.events_path)
    for event in events:
        writer.write(event)
    writer.close()


def test_a_new_job_is_queued_and_keeps_its_config(workspace, job):
    assert state_of(job) == "queued"
    assert find_job(workspace, "owl").config() == {"a": 1}


def test_names_of_jobs_made_at_once_differ(workspace):
    jobs = [create_job(workspace, "train", "", {}) for _ in range(30)]
    assert len({job.id for job in jobs}) == 30


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["started"], "starting"),
        (["started", "phase"], "starting"),
        (["started", "phase", "plan"], "running"),
        (["started", "plan", "step"], "running"),
        (["started", "step", "paused"], "paused"),
        (["started", "step", "paused", "continued"], "running"),
    ],
)
def test_state_while_the_lock_is_held(job, events, state):
    write(job, *events)
    with other_process_holds(job):
        assert state_of(job) == state
    assert state_of(job) == "lost"


@pytest.mark.parametrize("end", ["finished", "stopped", "failed"])
def test_the_last_event_decides_once_it_is_an_end(job, end):
    write(job, "started", "step", end)
    assert state_of(job) == end


def test_a_request_shows_as_stopping_until_the_worker_ends(job):
    write(job, "started", "step")
    with other_process_holds(job):
        request_stop(job)
        assert state_of(job) == "stopping"
    with pytest.raises(JobError) as caught:
        request_stop(job)
    assert caught.value.code == "job_not_running"


def test_a_request_to_start_comes_before_what_was(job):
    write(job, "started", "stopped")
    job.start_path.write_text("1\n")
    assert state_of(job) == "queued"
    with other_process_holds(job):
        assert state_of(job) == "starting"
    job.start_path.unlink()
    assert state_of(job) == "stopped"


def test_a_worker_that_died_without_an_event_is_lost(job):
    job.log_path.touch()
    assert state_of(job) == "lost"


def test_pause_and_stop_are_asked_of_running_jobs_and_stop_wins(job):
    write(job, "started", "step", "paused")
    for ask in (pause_run, request_stop):
        with pytest.raises(JobError) as caught:
            ask(job)
        assert caught.value.code == "job_not_running"
    with other_process_holds(job):
        pause_run(job)
        assert state_of(job) == "paused"
        continue_run(job)
        assert not job.pause_path.exists()
        request_stop(job)
        assert state_of(job) == "stopping"
    with pytest.raises(JobError) as caught:
        continue_run(job)
    assert caught.value.code == "job_not_paused"


def test_a_running_job_cannot_be_deleted(workspace, job):
    with other_process_holds(job):
        with pytest.raises(JobError) as caught:
            delete_job(job)
        assert caught.value.code == "job_running"
    delete_job(job)
    assert list_jobs(workspace) == []


def test_an_unknown_job_is_refused_with_the_closest_ids(workspace, job):
    with pytest.raises(JobError) as caught:
        find_job(workspace, job.id[:-1])
    assert caught.value.code == "job_not_found"
    assert job.id in caught.value.fix


def test_the_log_tail_is_its_last_lines(job):
    job.log_path.write_text("".join(f"{n}\n" for n in range(100)))
    assert log_tail(job, 2) == "98\n99"


def test_a_second_holder_gets_nothing_and_readers_do_not_collide(job):
    with hold(job.lock_path) as first, hold(job.lock_path) as second:
        assert first is not None
        assert second is None
    assert not is_held(job.lock_path)


def test_an_unknown_kind_of_job_fails_with_its_fix(workspace):
    job = create_job(workspace, "juggle", "x", {})
    start_worker(job)
    wait_for(lambda: state_of(job) == "failed")
    assert '"code": "job_kind"' in job.events_path.read_text()


def test_a_worker_waits_for_a_reader_that_looks_at_the_lock(workspace):
    job = create_job(workspace, "juggle", "x", {})
    command = [sys.executable, "-m", "studio.jobs.worker", str(job.folder)]
    with other_process_holds(job, seconds=0.7):
        worker = subprocess.Popen(command, cwd=PROJECT_DIR)
        time.sleep(0.4)
        assert worker.poll() is None
    assert worker.wait(10) == 1
    assert state_of(job) == "failed"


def test_a_second_worker_leaves_the_first_alone(workspace):
    job = create_job(workspace, "juggle", "x", {})
    command = [sys.executable, "-m", "studio.jobs.worker", str(job.folder)]
    with other_process_holds(job):
        assert subprocess.run(command, cwd=PROJECT_DIR, timeout=20).returncode == ALREADY_RUNNING
    assert not job.events_path.exists()


class other_process_holds:
    """Another process holds the job's lock while this context lasts (or for `seconds`)."""

    CODE = (
        "import sys, time; from pathlib import Path; from studio.jobs.lock import hold\n"
        "with hold(Path(sys.argv[1])) as lock:\n"
        "    assert lock\n    print('held', flush=True)\n"
        "    time.sleep(float(sys.argv[2])) if sys.argv[2] != '0' else sys.stdin.read()\n"
    )

    def __init__(self, job, seconds=0.0):
        self.arguments = [str(job.lock_path), str(seconds or 0)]

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, *self.arguments],
            cwd=PROJECT_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout.readline() == b"held\n"

    def __exit__(self, *error):
        self.process.communicate()
