"""Who speaks when in the chat's child: turns, waiting, cancelling; without a real model."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from studio.engine.chat.model import StreamStep, context_full
from studio.jobs.chat_worker import Pipe, Server
from studio.jobs.sampling import Sampling


class Counting:
    """An answer that counts: "0 1 2 …" up to its last number."""

    def __init__(self, n: int) -> None:
        self.n, self.said, self.closed = n, 0, False

    def step(self) -> StreamStep:
        self.said += 1
        return StreamStep(f"{self.said} ", 1, "length" if self.said == self.n else "")

    def close(self) -> None:
        self.closed = True


class CountingModel:
    """Counts as far as max_new_tokens; a message longer than ten letters does not fit."""

    n_ctx = 10

    def __init__(self, n_parallel: int) -> None:
        self.n_parallel = n_parallel
        self.answers: list[Counting] = []

    def start(self, messages: Any, sampling: Sampling, tuned: bool, scale: float = 1.0) -> Counting:
        if len(messages[0].content) > self.n_ctx:
            raise context_full(len(messages[0].content), self.n_ctx)
        self.answers.append(Counting(sampling.max_new_tokens))
        return self.answers[-1]


class Child:
    """A Server between two pipes of the system."""

    def __init__(self, folder: Path, n_parallel: int) -> None:
        read, self.write = os.pipe()
        self.out = folder / "said.jsonl"
        self.stdout = self.out.open("wb")
        self.model = CountingModel(n_parallel)
        self.pipe = Pipe(os.fdopen(read, "rb"), self.stdout)
        self.server = Server(self.model, self.pipe)

    def ask(self, answer_id: int, n_tokens: int, text: str = "hi") -> None:
        line = {
            "op": "generate",
            "id": answer_id,
            "messages": [{"role": "user", "content": text}],
            "sampling": asdict(Sampling(max_new_tokens=n_tokens)),
            "tuned": True,
            "scale": 1.0,
        }
        self.pipe.commands.put(line)

    def cancel(self, answer_id: int) -> None:
        self.pipe.commands.put({"op": "cancel", "id": answer_id})

    def turns(self, n: int) -> list[tuple[int, str, str]]:
        """(id, delta, stop reason or error code) of every line that `n` turns say."""
        offset = self.out.stat().st_size
        for _ in range(n):
            self.server.turn()
        lines = [json.loads(line) for line in self.out.read_bytes()[offset:].splitlines()]
        return [
            (line["id"], line.get("delta", ""), line.get("stop_reason", line.get("code", "")))
            for line in lines
        ]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    # The write end stays open: where stdin closes, the process ends, and here that is pytest.
    yield Child(tmp_path, n_parallel=2)


def test_answers_take_turns_token_by_token(child: Child) -> None:
    child.ask(1, 3)
    child.ask(2, 2)
    assert child.turns(3) == [
        *[(1, "1 ", ""), (2, "1 ", "")],
        *[(1, "2 ", ""), (2, "2 ", "length")],
        (1, "3 ", "length"),
    ]


def test_a_cancelled_answer_makes_no_further_token_and_is_closed(child: Child) -> None:
    child.ask(1, 100)
    assert child.turns(2) == [(1, "1 ", ""), (1, "2 ", "")]
    child.cancel(1)
    child.ask(2, 1)
    assert child.turns(1) == [(1, "", "cancelled"), (2, "1 ", "length")]
    assert (child.model.answers[0].said, child.model.answers[0].closed) == (2, True)


def test_more_answers_than_the_model_can_hold_wait_for_their_turn(tmp_path: Path) -> None:
    child = Child(tmp_path, n_parallel=1)
    child.ask(1, 2)
    child.ask(2, 1)
    assert child.turns(3) == [(1, "1 ", ""), (1, "2 ", "length"), (2, "1 ", "length")]


def test_a_waiting_answer_can_be_cancelled(tmp_path: Path) -> None:
    child = Child(tmp_path, n_parallel=1)
    child.ask(1, 3)
    child.ask(2, 1)
    child.turns(1)
    child.cancel(2)
    assert child.turns(2) == [(2, "", "cancelled"), (1, "2 ", ""), (1, "3 ", "length")]
    assert len(child.model.answers) == 1


def test_an_answer_that_cannot_start_fails_alone(child: Child) -> None:
    child.ask(1, 2)
    child.ask(2, 2, text="much too long")
    assert child.turns(1) == [(2, "", "context_full"), (1, "1 ", "")]


def test_cancelling_what_has_ended_says_nothing(child: Child) -> None:
    child.ask(1, 1)
    child.turns(1)
    child.cancel(1)
    child.ask(2, 1)
    assert child.turns(1) == [(2, "1 ", "length")]
