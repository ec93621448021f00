"""A run is never lost: real workers, killed, on a full disk, moved; the same end to the bit."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from studio.data.library import add_dataset, load_recipe
from studio.data.recipe import DatasetRecipe
from studio.engine.training.checkpoints import COMPLETE
from studio.events import read_events
from studio.jobs.chat import open_session
from studio.jobs.export import export_sizes
from studio.jobs.job import Job, find_job, log_tail, state_of
from studio.jobs.process import wait_until_ended
from studio.jobs.sampling import Sampling
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace, write_json
from studio.results.runs import list_runs, summarize
from studio.settings import to_dict
from studio.training.config import RunConfig
from tests.mounts import python_on
from tests.waiting import events_of

TrainHere = Callable[..., Job]
# A clock that jumps by years, forth and back, with every few looks at it; the worker's own.
JUMPING_CLOCK = (
    "import time\n"
    "real, looks = time.time, [0]\n"
    "def jumping():\n"
    "    looks[0] += 1\n"
    "    return real() + (0, 3e8, -3e8)[looks[0] // 7 % 3]\n"
    "time.time = jumping\n"
)


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


def steps(config: RunConfig, n: int) -> RunConfig:
    return replace(config, training=replace(config.training, max_steps=n, eval_steps=5))


def kill_when(job: Job, moment: Callable[[], bool]) -> None:
    """Kill the worker in that moment; it is halted for every look, so that none is missed."""
    worker = psutil.Process(events_of(job, "started")[-1]["pid"])
    deadline = time.monotonic() + 300
    try:
        worker.suspend()
        while not moment():
            worker.resume()
            assert time.monotonic() < deadline and state_of(job) != "finished", log_tail(job)
            time.sleep(0.002)
            worker.suspend()
    finally:
        worker.kill()
    while state_of(job) != "lost":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def moments(job: Job, seed: int) -> dict[str, Callable[[], bool]]:
    """Where in its run it is killed, in this order."""
    draw = random.Random(seed)
    early, late = draw.randint(1, 7), draw.randint(12, 20)

    def reached(step: int) -> bool:
        return any(event["step"] >= step for event in events_of(job, "step"))

    def a_checkpoint_is_begun() -> bool:
        folders = (job.folder / "checkpoints").glob("checkpoint-*")
        return any(not (folder / COMPLETE).exists() for folder in folders)

    return {
        "loading": lambda: any(e["name"] == "loading model" for e in events_of(job, "phase")),
        f"step {early}": lambda: reached(early),
        "saving a checkpoint": a_checkpoint_is_begun,
        f"step {late}": lambda: reached(late),
        "saving the adapter": lambda: (job.folder / ".adapter.part").exists(),
    }


def test_killed_five_times_under_a_jumping_clock_it_ends_with_the_same_adapter(
    run_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = steps(run_config, 24)
    through = train_here(workspace, config)
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    job = start_run(workspace, config)
    for moment in moments(job, seed=4).values():
        kill_when(job, moment)
        resume_run(workspace, job)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    assert len(events_of(job, "started")) == 6
    assert adapter_bytes(job) == adapter_bytes(through)
    times = [event["time"] for event in read_events(job.events_path)]
    assert max(times) - min(times) > 5e8 and times != sorted(times)
    run = summarize(job)
    assert (run.state, run.step) == ("finished", 24)
    assert 0 < (run.elapsed_seconds or 0) < time.monotonic() - began
    assert [r.id for r in list_runs(workspace)] == [job.id, through.id]
    assert not list(job.folder.glob(".*")) and not (job.folder / "reserve").exists()


FULL_DISK = """
import json, sys, time; from hashlib import sha256; from pathlib import Path
from studio.engine.training.checkpoints import damage_of
from studio.errors import JobError
from studio.events import read_events
from studio.jobs.job import state_of
from studio.jobs.process import continue_run, pause_run, wait_until_ended
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace
from studio.training.config import read_config

def checkpoints():
    return sorted((job.folder / "checkpoints").glob("checkpoint-*"))

workspace = Workspace.open("/mnt/workspace")
config = read_config(json.loads(Path(sys.argv[1]).read_text()), "here")
job = start_run(workspace, config)
while len(checkpoints()) < 2:
    time.sleep(0.01)
pause_run(job)
while state_of(job) != "paused":
    time.sleep(0.01)
ballast = open("/mnt/ballast", "wb", buffering=0)
try:
    while True:
        ballast.write(bytes(4096))
except OSError:
    pass
before = {path.name for path in checkpoints()}
continue_run(job)
state = wait_until_ended(job, 300)
failed = read_events(job.events_path)[-1]
kept = {path.name: damage_of(path) for path in checkpoints()}
rests = [path.name for path in job.folder.iterdir() if ".part" in path.name]
try:
    start_run(workspace, config)
    refused = ""
except JobError as error:
    refused = error.code
ballast.close()
Path("/mnt/ballast").unlink()
resume_run(workspace, job)
ended = wait_until_ended(job, 300)
adapter = sha256((job.folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
resumed = [e["step"] for e in read_events(job.events_path) if e["event"] == "resumed"]
print(json.dumps([state, failed, sorted(before), kept, rests, refused, ended, adapter, resumed]))
"""


def test_a_full_disk_ends_the_run_with_its_reason_and_space_lets_it_go_on(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    config = steps(run_config, 40)
    write_json(tmp_path / "run.json", to_dict(config))
    mount = "mount -t tmpfs -o size=8m tmpfs /mnt"
    said = python_on(mount, FULL_DISK, str(tmp_path / "run.json"))
    state, failed, before, kept, rests, refused, ended, adapter, resumed = json.loads(said)
    assert (state, failed["code"]) == ("failed", "disk_full")
    assert "Resume" in failed["fix"]
    # No checkpoint was lost and none is half there.
    assert sorted(kept) == before and len(before) == 2 and set(kept.values()) == {""}
    assert rests == []
    assert refused == "disk_full"
    assert ended == "finished"
    assert resumed == [max(int(name.rpartition("-")[2]) for name in before)]
    through = train_here(workspace, config)
    assert adapter == sha256(adapter_bytes(through)).hexdigest()


def test_a_moved_workspace_lists_resumes_chats_and_exports(
    run_config: RunConfig, tmp_path: Path, train_here: TrainHere
) -> None:
    workspace = Workspace.open(tmp_path / "old")
    dataset = add_dataset(workspace, [Path(run_config.dataset.files[0])], "mine")
    recipe = replace(load_recipe(workspace, dataset), validation_share=0.15)
    assert recipe.files[0].startswith(str(workspace.root))
    config = replace(run_config, dataset=recipe)
    through = adapter_bytes(train_here(workspace, config))
    job_id = train_here(workspace, config, stop_after=5).id
    workspace.root.rename(tmp_path / "new")
    moved = Workspace.open(tmp_path / "new")
    job = find_job(moved, job_id)
    assert [run.state for run in list_runs(moved)] == ["stopped", "finished"]
    resume_run(moved, job)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    assert events_of(job, "resumed")[-1]["step"] == 5
    assert adapter_bytes(job) == through
    assert not (tmp_path / "old").exists()
    assert [size.type for size in export_sizes(moved, job.id)]
    with open_session(moved, job.id) as session:
        question = [{"role": "user", "content": "Say: tiger"}]
        pieces = list(session.generate(question, Sampling(max_new_tokens=4)))
    assert pieces[-1].done and pieces[-1].n_tokens > 0


def _garble(content: bytes, how: str) -> bytes:
    lines = content.splitlines(keepends=True)
    if how == "NUL":
        return b"".join(lines[:-3]) + bytes(5000)
    return b"" if how == "empty" else content[: len(content) // 2]


@pytest.mark.parametrize("how", ["cut", "NUL", "empty", "missing"])
def test_a_run_resumes_whatever_became_of_its_events(
    how: str, run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = replace(run_config, dataset=replace(run_config.dataset, validation_share=0.0))
    config = replace(config, training=replace(config.training, max_steps=6))
    through = train_here(workspace, config)
    job = train_here(workspace, config, stop_after=3)
    if how == "missing":
        job.events_path.unlink()
    else:
        job.events_path.write_bytes(_garble(job.events_path.read_bytes(), how))
    job.log_path.touch()
    assert state_of(job) == "lost"
    train_here(workspace, config, job=job)
    assert events_of(job, "resumed")[-1]["step"] == 3
    assert summarize(job).step == 6
    assert adapter_bytes(job) == adapter_bytes(through)


def test_a_waiting_run_whose_file_vanished_fails_by_name(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "gone.jsonl"
    file.write_bytes(Path(run_config.dataset.files[0]).read_bytes())
    recipe = DatasetRecipe(files=(str(file),), validation_share=0.15)
    job = start_run(workspace, steps(run_config, 2000))
    waiting = start_run(workspace, replace(steps(run_config, 2), dataset=recipe))
    last = start_run(workspace, steps(run_config, 2))
    file.unlink()
    os.kill(events_of(job, "started")[0]["pid"], signal.SIGTERM)
    while state_of(job) != "lost":
        time.sleep(0.02)
    # Killed, it could start nobody; asking for its resume is a look, too.
    resume_run(workspace, job)
    assert wait_until_ended(waiting, 300) == "failed"
    failed = events_of(waiting, "failed")[0]
    assert failed["code"] == "file_not_found" and "gone.jsonl" in failed["message"]
    assert wait_until_ended(last, 300) == "finished", log_tail(last)
    while state_of(job) == "queued":
        time.sleep(0.02)
    os.kill(events_of(job, "started")[-1]["pid"], signal.SIGKILL)
