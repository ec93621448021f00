"""Training goes first: a loaded chat makes room where memory does not hold both, and says so."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from components.chat_room import ChatRoom
from studio.errors import JobError
from studio.jobs.job import log_tail, state_of
from studio.jobs.process import wait_until_ended
from studio.jobs.queue import stop_run
from studio.jobs.sampling import Sampling
from studio.jobs.train import start_run
from studio.models.reference import STARTER
from studio.paths import Workspace
from studio.training.config import RunConfig
from tests.waiting import wait_for

# More than this computer has: with it, nothing fits beside anything.
TOO_MUCH = 2 * psutil.virtual_memory().total
QUESTION = [{"role": "user", "content": "Say: tiger"}]


def open_chat(room: ChatRoom, target: str) -> int:
    """The process id of the chat, once it has answered."""
    list(room.load(target))
    session = room.session(target)
    assert list(session.generate(QUESTION, Sampling(max_new_tokens=3)))[-1].done
    return session.pid


@pytest.fixture
def talkative(llama_folder: Path, tmp_path: Path) -> str:
    """The tiny model with a context that no answer fills while a training starts."""
    folder = tmp_path / "talkative"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 200_000}))
    return str(folder)


def long(config: RunConfig) -> RunConfig:
    return replace(config, training=replace(config.training, max_steps=5000, save_steps=5000))


def test_the_chat_makes_room_says_so_and_opens_again_after_the_run(
    run_config: RunConfig, talkative: str, workspace: Workspace
) -> None:
    room = ChatRoom(workspace, spare_bytes=TOO_MUCH)
    child = open_chat(room, talkative)
    generation = room.session(talkative).generate(QUESTION, Sampling(max_new_tokens=100_000))
    job = start_run(workspace, long(run_config))
    wait_for(lambda: room.loaded() == "", job)
    assert not psutil.pid_exists(child)
    assert room.note() == (
        f"The chat made room for {job.name}; it opens again by itself at your next message once "
        "training has ended."
    )
    for asked in (lambda: list(generation), lambda: list(room.load(talkative))):
        with pytest.raises(JobError) as caught:
            asked()
        assert caught.value.code == "chat_made_room" and job.name in caught.value.message
    stop_run(workspace, job)
    assert wait_until_ended(job, 300) == "stopped", log_tail(job)
    wait_for(lambda: room.note().endswith("at your next message."), job)
    open_chat(room, talkative)
    assert room.note() == ""
    room.unload()


def test_the_starter_evicts_nobody_and_a_chat_opens_beside_it(
    run_config: RunConfig, workspace: Workspace
) -> None:
    room = ChatRoom(workspace)
    child = open_chat(room, STARTER)
    job = start_run(workspace, long(run_config))
    wait_for(lambda: state_of(job) == "running", job)
    # Longer than the room takes between two looks.
    time.sleep(3)
    assert room.loaded() == STARTER and room.session(STARTER).pid == child
    room.unload()
    assert open_chat(room, STARTER) != child
    assert room.note() == ""
    stop_run(workspace, job)
    assert wait_until_ended(job, 300) == "stopped", log_tail(job)
    room.unload()
