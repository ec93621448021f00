"""The chat's child process: loads one model, then answers what comes in on stdin.

Started as `python -m studio.jobs.chat_worker`. Lines in: open, generate, cancel. Lines out: phase,
ready, piece, failed. Answers under way take turns token by token. When stdin closes, because the
chat was closed or its parent died, the process ends at once.
"""

import json
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from studio.data.messages import Message
from studio.errors import StudioError
from studio.jobs.chat_target import ChatTarget
from studio.jobs.sampling import Sampling

if TYPE_CHECKING:
    from studio.engine.chat.model import AnswerStream, ChatModel, StreamStep

Line = dict[str, Any]


class Pipe:
    """Lines to the parent, and a queue of the lines that came from it."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.commands: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._stdout = stdout
        threading.Thread(target=self._read, args=(stdin,), name="stdin", daemon=True).start()

    def say(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, **values}, ensure_ascii=False, allow_nan=False)
        try:
            self._stdout.write(line.encode() + b"\n")
            self._stdout.flush()
        except OSError:
            # Nobody listens any more; stdin closes in the same moment.
            os._exit(0)

    def fail(self, error: StudioError, **values: Any) -> None:
        self.say("failed", message=error.message, fix=error.fix, code=error.code, **values)

    def _read(self, stdin: IO[bytes]) -> None:
        for line in stdin:
            self.commands.put(json.loads(line))
        # Not sys.exit: the main thread may be in the middle of a long matrix product.
        os._exit(0)


@dataclass
class _Answer:
    """One answer under way; `seconds` is its own computing time after the first token."""

    stream: "AnswerStream"
    n_steps: int = 0
    n_tokens: int = 0
    first_seconds: float = 0.0
    seconds: float = 0.0

    def step(self) -> "StreamStep":
        started = time.perf_counter()
        step = self.stream.step()
        elapsed = time.perf_counter() - started
        if self.n_steps == 0:
            self.first_seconds = elapsed
        else:
            self.seconds += elapsed
        self.n_steps += 1
        self.n_tokens += step.n_tokens
        return step

    @property
    def tokens_per_second(self) -> float:
        """Without the time to read the prompt, where there is more than one step."""
        if self.n_steps > 1 and self.seconds > 0:
            return round((self.n_steps - 1) / self.seconds, 2)
        return round(self.n_tokens / self.first_seconds, 2) if self.first_seconds > 0 else 0.0


class Server:
    """Takes commands and lets the answers under way take turns, one token each."""

    def __init__(self, model: "ChatModel", pipe: Pipe) -> None:
        self._model = model
        self._pipe = pipe
        self._waiting: deque[Line] = deque()
        self._answers: dict[int, _Answer] = {}

    def run(self) -> None:
        """Never returns: the thread that reads stdin ends the process."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Take the commands that came, then one token of every answer under way."""
        for command in self._arrived():
            self._take(command)
        self._start_waiting()
        for answer_id in list(self._answers):
            self._step(answer_id)

    def _arrived(self) -> Iterator[Line]:
        commands = self._pipe.commands
        if not self._answers and not self._waiting:
            yield commands.get()
        while not commands.empty():
            yield commands.get()

    def _take(self, command: Line) -> None:
        if command["op"] == "generate":
            self._waiting.append(command)
            return
        answer_id = command["id"]
        waiting = [line for line in self._waiting if line["id"] == answer_id]
        for line in waiting:
            self._waiting.remove(line)
        answer = self._answers.pop(answer_id, None)
        if answer is not None:
            answer.stream.close()
        if waiting or answer:
            self._say_piece(answer_id, answer, "", done=True, stop_reason="cancelled")

    def _start_waiting(self) -> None:
        while self._waiting and len(self._answers) < self._model.n_parallel:
            line = self._waiting.popleft()
            try:
                messages = [Message(**message) for message in line["messages"]]
                sampling = Sampling(**line["sampling"])
                stream = self._model.start(messages, sampling, line["tuned"], line["scale"])
            except StudioError as error:
                self._pipe.fail(error, id=line["id"])
                continue
            self._answers[line["id"]] = _Answer(stream)

    def _step(self, answer_id: int) -> None:
        answer = self._answers[answer_id]
        try:
            step = answer.step()
        except StudioError as error:
            del self._answers[answer_id]
            self._pipe.fail(error, id=answer_id)
            return
        done = bool(step.stop_reason)
        if done:
            del self._answers[answer_id]
        self._say_piece(answer_id, answer, step.delta, done=done, stop_reason=step.stop_reason)

    def _say_piece(
        self, answer_id: int, answer: _Answer | None, delta: str, *, done: bool, stop_reason: str
    ) -> None:
        self._pipe.say(
            "piece",
            id=answer_id,
            delta=delta,
            n_tokens=answer.n_tokens if answer else 0,
            tokens_per_second=answer.tokens_per_second if answer else 0.0,
            done=done,
            stop_reason=stop_reason,
        )


def main() -> int:
    """Load what the first line names, then answer until the parent is gone."""
    # Libraries print to stdout, also from C: from here on that is the log, and the pipe is ours.
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = Pipe(sys.stdin.buffer, stdout)
    line = pipe.commands.get()
    target = ChatTarget(**{key: value for key, value in line.items() if key != "op"})
    pipe.say("phase", name="loading libraries")
    from studio.engine.chat.model import load_chat  # noqa: PLC0415  (torch)

    try:
        pipe.say("phase", name="loading model")
        model = load_chat(target)
    except StudioError as error:
        pipe.fail(error)
        return 1
    pipe.say("ready", n_ctx=model.n_ctx)
    Server(model, pipe).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
