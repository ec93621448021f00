"""The chat's child process, with a model and an adapter of random weights."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from studio.data.messages import Message
from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.whole import train_whole
from studio.errors import StudioError
from studio.jobs.chat import ChatPiece, ChatSession, open_session
from studio.jobs.chat_target import resolve_target
from studio.jobs.job import Job, create_job
from studio.jobs.sampling import Sampling
from studio.paths import PROJECT_DIR, Workspace
from studio.settings import to_dict
from studio.text.examples import encoder_for
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

GREEDY = Sampling(max_new_tokens=40)
HOT = Sampling(max_new_tokens=40, temperature=1.0, seed=7)
ASK = [Message("user", "What is a lark?")]
CONTEXT = 512


def make_run(workspace: Workspace, model: Path) -> Job:
    """A run whose adapter is random, so that tuned differs from base."""
    config = RunConfig(
        model=str(model), name="random run", training=TrainSettings(precision="fp32")
    )
    job = create_job(workspace, "train", config.name, to_dict(config))
    torch.manual_seed(1)
    settings = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    get_peft_model(base, settings).save_pretrained(str(job.folder / "adapter"))
    return job


@pytest.fixture(scope="module")
def model(llama_folder: Path) -> Path:
    return llama_folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def run(workspace: Workspace, model: Path) -> Job:
    return make_run(workspace, model)


@pytest.fixture(scope="module")
def session(workspace: Workspace, run: Job) -> Iterator[ChatSession]:
    with open_session(workspace, run.id) as opened:
        yield opened


def last(pieces: Iterator[ChatPiece]) -> ChatPiece:
    end = list(pieces)[-1]
    assert end.done
    return end


def answer(session: ChatSession, sampling: Sampling, tuned: bool) -> str:
    return last(iter(session.generate(ASK, sampling, tuned))).text


def greedy_by_transformers(model: Any, folder: Path, n_tokens: int) -> str:
    """What transformers' own generate says, from the same prompt, decoded at once."""
    encoder = encoder_for(folder, DatasetRecipe(), CONTEXT)
    prompt = torch.tensor([encoder.prompt_ids(ASK)])
    ids = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=n_tokens
    )[0, prompt.shape[1] :].tolist()
    ends = [place for place, token_id in enumerate(ids) if token_id in encoder.stop_ids]
    kept = ids[: ends[0]] if ends else ids
    return encoder.decode(kept).rstrip("\N{REPLACEMENT CHARACTER}")


def test_with_the_adapter_off_the_answer_is_exactly_the_plain_bases(
    session: ChatSession, model: Path
) -> None:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    assert answer(session, GREEDY, tuned=False) == greedy_by_transformers(base, model, 40)


def test_with_the_adapter_on_the_answer_is_exactly_the_tuned_models(
    session: ChatSession, model: Path, run: Job
) -> None:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, str(run.folder / "adapter"))
    expected = greedy_by_transformers(tuned, model, 40)
    assert answer(session, GREEDY, tuned=True) == expected
    assert expected != answer(session, GREEDY, tuned=False)


def test_base_and_tuned_at_once_say_what_they_say_one_after_the_other(
    session: ChatSession,
) -> None:
    alone = [answer(session, HOT, tuned) for tuned in (False, True)]
    both = [session.generate(ASK, HOT, tuned) for tuned in (False, True)]
    together = [last(iter(generation)).text for generation in both]
    assert together == alone


def test_answers_under_way_take_turns(session: ChatSession) -> None:
    first = session.generate(ASK, replace(GREEDY, max_new_tokens=450), tuned=False)
    second = session.generate(ASK, replace(GREEDY, max_new_tokens=5), tuned=True)
    last(iter(second))
    first.cancel()
    assert last(iter(first)).stop_reason == "cancelled"


def test_the_same_seed_gives_the_same_text_and_another_seed_another(session: ChatSession) -> None:
    once, again = (answer(session, HOT, tuned=True) for _ in range(2))
    assert once == again
    assert answer(session, replace(HOT, seed=8), tuned=True) != once


def test_pieces_add_up_to_the_text(session: ChatSession) -> None:
    pieces = list(session.generate(ASK, HOT, tuned=True))
    assert "".join(piece.delta for piece in pieces) == pieces[-1].text
    assert pieces[-1].n_tokens <= 40
    assert pieces[-1].tokens_per_second > 0


def test_an_answer_ends_at_the_longest_length(session: ChatSession) -> None:
    piece = last(iter(session.generate(ASK, replace(GREEDY, max_new_tokens=3), tuned=True)))
    assert (piece.n_tokens, piece.stop_reason) == (3, "length")


def test_an_answer_ends_at_the_stop_token_without_showing_it(session: ChatSession) -> None:
    for seed in range(40):
        sampling = Sampling(temperature=3.0, seed=seed, max_new_tokens=150)
        piece = last(iter(session.generate(ASK, sampling, tuned=False)))
        if piece.stop_reason == "stop":
            break
    assert piece.stop_reason == "stop"
    assert "<|im_end|>" not in piece.text
    assert piece.n_tokens < 150


def test_an_answer_ends_where_the_context_is_full(session: ChatSession, model: Path) -> None:
    long = [Message("user", "x" * 475)]
    n_prompt = len(encoder_for(model, DatasetRecipe(), CONTEXT).prompt_ids(long))
    piece = last(iter(session.generate(long, GREEDY, tuned=False)))
    assert session.n_ctx == CONTEXT
    assert (piece.n_tokens, piece.stop_reason) == (CONTEXT - n_prompt, "context")


def test_a_conversation_longer_than_the_context_is_refused_with_numbers(
    session: ChatSession,
) -> None:
    with pytest.raises(StudioError) as caught:
        last(iter(session.generate([Message("user", "x" * 600)], GREEDY)))
    assert caught.value.code == "context_full"
    assert "512" in caught.value.message
    assert answer(session, GREEDY, tuned=True) != ""


def test_cancel_ends_the_answer_within_a_few_tokens(session: ChatSession) -> None:
    generation = session.generate(
        [Message("user", "a")], Sampling(temperature=1.0, max_new_tokens=480), tuned=True
    )
    pieces = iter(generation)
    at_cancel = next(pieces).n_tokens
    generation.cancel()
    end = last(pieces)
    assert end.stop_reason == "cancelled"
    assert end.n_tokens - at_cancel < 200


def test_leaving_the_loop_cancels_the_answer(session: ChatSession) -> None:
    for _ in session.generate(ASK, replace(HOT, max_new_tokens=450), tuned=True):
        break
    piece = last(iter(session.generate(ASK, GREEDY, tuned=True)))
    assert piece.done


def test_a_knob_out_of_bounds_is_refused_before_anything_is_sent(session: ChatSession) -> None:
    with pytest.raises(StudioError) as caught:
        session.generate(ASK, Sampling(top_p=0.0))
    assert caught.value.code == "sampling_out_of_bounds"


def test_a_model_of_its_own_can_be_asked(workspace: Workspace, model: Path) -> None:
    phases: list[str] = []
    with open_session(workspace, str(model), phases.append) as opened:
        assert not opened.target.has_adapter
        assert answer(opened, GREEDY, tuned=True) == answer(opened, GREEDY, tuned=False)
    assert phases == ["loading libraries", "loading model"]


def test_a_run_of_trained_weights_is_asked_beside_its_base(
    workspace: Workspace, model: Path, session: ChatSession
) -> None:
    config = RunConfig(model=str(model), training=TrainSettings(precision="fp32"))
    job = create_job(workspace, "train", "whole", to_dict(config))
    tuned = train_whole(load_base(model), AdapterSettings(kind="half"), "sft", "fp32")
    torch.manual_seed(1)
    for weight in tuned.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn_like(weight)
    tuned.save_pretrained(str(job.folder / "adapter"))
    with open_session(workspace, job.id) as opened:
        theirs = answer(opened, GREEDY, tuned=True)
        assert answer(opened, GREEDY, tuned=False) == answer(session, GREEDY, tuned=False)
        assert answer(opened, GREEDY, tuned=True) == theirs != answer(opened, GREEDY, tuned=False)


def test_a_run_whose_adapter_lost_its_weights_cannot_be_asked(
    workspace: Workspace, model: Path
) -> None:
    job = make_run(workspace, model)
    (job.folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(StudioError) as caught:
        open_session(workspace, job.id)
    assert caught.value.code == "no_adapter"


def test_a_run_without_an_adapter_cannot_be_asked(workspace: Workspace, model: Path) -> None:
    job = create_job(workspace, "train", "", to_dict(RunConfig(model=str(model))))
    with pytest.raises(StudioError) as caught:
        resolve_target(workspace, job.id)
    assert caught.value.code == "no_adapter"


def test_an_unknown_target_names_the_runs_there_are(workspace: Workspace, run: Job) -> None:
    with pytest.raises(StudioError) as caught:
        resolve_target(workspace, run.id + "x")
    assert caught.value.code == "target_not_found"
    assert run.id in caught.value.fix


def test_a_killed_child_is_told_to_everyone_who_waits(workspace: Workspace, run: Job) -> None:
    with open_session(workspace, run.id) as opened:
        generation = opened.generate(ASK, replace(HOT, max_new_tokens=480), tuned=True)
        pieces = iter(generation)
        next(pieces)
        os.kill(opened.pid, signal.SIGKILL)
        with pytest.raises(StudioError) as caught:
            last(pieces)
        assert caught.value.code == "chat_died"
        with pytest.raises(StudioError) as later:
            opened.generate(ASK, GREEDY)
        assert later.value.code == "chat_died"


def test_the_child_ends_when_its_parent_is_killed(workspace: Workspace, run: Job) -> None:
    code = (
        "import sys, time\n"
        "from studio.jobs.chat import open_session\n"
        "from studio.paths import Workspace\n"
        "session = open_session(Workspace.open(sys.argv[1]), sys.argv[2])\n"
        "print(session.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root), run.id],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    child = psutil.Process(pid)
    assert child.is_running()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.05)


def test_closing_ends_the_child(workspace: Workspace, run: Job) -> None:
    opened = open_session(workspace, run.id)
    opened.close()
    assert not psutil.pid_exists(opened.pid)
    with pytest.raises(StudioError) as caught:
        opened.generate(ASK, GREEDY)
    assert caught.value.code == "chat_closed"
