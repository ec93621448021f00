"""A chat with a model that lives in a child process; the screen's side of the pipe, without torch.

Enters: a run, a model folder or a GGUF file. Leaves: pieces of answers as they are made. One JSON
object a line goes each way; when this process ends, however it ends, the pipe closes and the
child goes too. Several answers may be under way at once, each with its own id.
"""

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from studio.data.messages import Message
from studio.errors import JobError, StudioError
from studio.jobs.chat_target import ChatTarget, resolve_target
from studio.jobs.process import child_environment
from studio.jobs.sampling import Sampling
from studio.paths import PROJECT_DIR, Workspace

StopReason = Literal["", "stop", "length", "context", "cancelled"]
_LOG_MAX_BYTES = 1_000_000
_LOG_TAIL_LINES = 5
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class ChatPiece:
    """An answer so far: `text` is all of it, `delta` what is new since the last piece.

    `stop_reason`, with `done`: stop (the model ended it), length (max_new_tokens), context (the
    model's context is full), cancelled.
    """

    text: str
    delta: str
    n_tokens: int
    tokens_per_second: float
    done: bool = False
    stop_reason: StopReason = ""


class Generation:
    """One answer under way: iterate to get its pieces; `cancel` from any thread.

    Leaving the loop early cancels it. Pieces that arrived meanwhile are joined, so a slow reader
    never falls behind.
    """

    def __init__(self, generation_id: int, send_cancel: Callable[[int], None]) -> None:
        self.id = generation_id
        self._inbox: queue.SimpleQueue[ChatPiece | StudioError] = queue.SimpleQueue()
        self._send_cancel = send_cancel
        self._text = ""

    def cancel(self) -> None:
        """Ask for the end; the last piece then says `cancelled`."""
        self._send_cancel(self.id)

    def receive(self, line: dict[str, Any]) -> None:
        """Take one line of the child's; called by the one thread that reads the pipe."""
        self._text += line["delta"]
        self._inbox.put(
            ChatPiece(
                text=self._text,
                delta=line["delta"],
                n_tokens=line["n_tokens"],
                tokens_per_second=line["tokens_per_second"],
                done=line["done"],
                stop_reason=line["stop_reason"],
            )
        )

    def fail(self, error: StudioError) -> None:
        """End the iteration with `error`."""
        self._inbox.put(error)

    def __iter__(self) -> Iterator[ChatPiece]:
        ended = False
        try:
            while not ended:
                items = self._arrived()
                last = items[-1]
                ended = isinstance(last, StudioError) or last.done
                pieces = [item for item in items if isinstance(item, ChatPiece)]
                if pieces:
                    yield _joined(pieces)
                if isinstance(last, StudioError):
                    raise last
        finally:
            if not ended:
                self.cancel()

    def _arrived(self) -> list[ChatPiece | StudioError]:
        items = [self._inbox.get()]
        while not self._inbox.empty():
            items.append(self._inbox.get())
        return items


def _joined(pieces: list[ChatPiece]) -> ChatPiece:
    return replace(pieces[-1], delta="".join(piece.delta for piece in pieces))


class ChatSession:
    """A child process with one loaded model. Every method may be called from any thread."""

    def __init__(self, target: ChatTarget, log_path: Path) -> None:
        self.target = target
        self._log_path = log_path
        self._process = _spawn(log_path)
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._ids = itertools.count(1)
        self._generations: dict[int, Generation] = {}
        self._closed = False
        self._failure: JobError | None = None
        self._opening: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.n_ctx = 0
        threading.Thread(target=self._follow, name="chat pipe", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the child lives and can be asked."""
        return not self._closed and self._failure is None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def open(self, on_progress: Callable[[str], None]) -> None:
        """Load the model in the child; returns when it is ready. Raises: StudioError."""
        try:
            self._send({"op": "open", **asdict(self.target)})
            while (line := self._opening.get())["event"] != "ready":
                if line["event"] == "failed":
                    raise _error_of(line)
                on_progress(line["name"])
            self.n_ctx = line["n_ctx"]
        except BaseException:
            self.close()
            raise

    def generate(
        self,
        messages: Sequence[Message | Mapping[str, str]],
        sampling: Sampling,
        tuned: bool = True,
        scale: float = 1.0,
    ) -> Generation:
        """Start an answer to `messages`, the last one usually the user's; role and content of
        a mapping count.

        `tuned` False switches the adapter off; `scale` is the strength of a GGUF adapter. Without
        an adapter both say nothing.
        Raises: ConfigError for a knob out of bounds, JobError when the child is gone. What goes
        wrong later is raised while iterating.
        """
        sampling.check()
        with self._state_lock:
            generation = Generation(next(self._ids), self._cancel)
            if not self.alive:
                raise self._gone()
            self._generations[generation.id] = generation
        self._send(
            {
                "op": "generate",
                "id": generation.id,
                "messages": [_plain(message) for message in messages],
                "sampling": asdict(sampling),
                "tuned": tuned,
                "scale": scale,
            }
        )
        return generation

    def cancel(self) -> None:
        """Ask every answer under way to end."""
        with self._state_lock:
            running = list(self._generations.values())
        for generation in running:
            generation.cancel()

    def close(self, why: JobError | None = None) -> None:
        """End the child and free its memory; answers under way end with the error `why`."""
        with self._state_lock:
            self._failure = self._failure or why
        self._closed = True
        with self._write_lock:
            stdin = self._process.stdin
            if stdin and not stdin.closed:
                try:
                    stdin.close()
                except OSError:  # a line was half written when the child died
                    pass
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "ChatSession":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _cancel(self, generation_id: int) -> None:
        with self._state_lock:
            running = generation_id in self._generations
        if running and self.alive:
            self._send({"op": "cancel", "id": generation_id})

    def _send(self, line: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with self._write_lock:
            try:
                stdin.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                stdin.flush()
            except (OSError, ValueError):
                # The child died or the session was closed: `_follow` tells everyone who waits.
                return

    def _follow(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in _json_lines(stdout):
            self._receive(line)
        self._process.wait()
        gone = self._gone()
        self._opening.put(
            {"event": "failed", "message": gone.message, "fix": gone.fix, "code": gone.code}
        )
        with self._state_lock:
            self._failure = gone
            waiting = list(self._generations.values())
            self._generations.clear()
        for generation in waiting:
            generation.fail(gone)

    def _receive(self, line: dict[str, Any]) -> None:
        if "id" not in line:
            self._opening.put(line)
            return
        ended = line["event"] == "failed" or line["done"]
        with self._state_lock:
            find = self._generations.pop if ended else self._generations.get
            generation = find(line["id"], None)
        if generation is None:
            return
        if line["event"] == "failed":
            generation.fail(_error_of(line))
        else:
            generation.receive(line)

    def _gone(self) -> JobError:
        if self._failure is not None:
            return self._failure
        if self._closed:
            return JobError(
                "The chat was closed.", "Open it again to ask once more.", "chat_closed"
            )
        lines = self._log_path.read_text("utf-8", errors="replace").splitlines()
        return JobError(
            f"The chat's process ended by itself (exit status {self._process.poll()}).",
            "Open the chat again. The end of its log: "
            + (" | ".join(lines[-_LOG_TAIL_LINES:]) or "(empty)"),
            "chat_died",
        )


def open_session(
    workspace: Workspace,
    target: str,
    on_progress: Callable[[str], None] = lambda phase: None,
) -> ChatSession:
    """A session that is ready to be asked; `on_progress` gets the phases while it loads.

    Raises: StudioError when the target is unknown or its model cannot be loaded.
    """
    session = ChatSession(resolve_target(workspace, target), workspace.cache_dir / "chat.log")
    session.open(on_progress)
    return session


def _spawn(log_path: Path) -> subprocess.Popen[bytes]:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    too_long = log_path.exists() and log_path.stat().st_size > _LOG_MAX_BYTES
    # An own session: Ctrl-C in the terminal is for us; the child ends when the pipe closes.
    detach: dict[str, Any] = {} if os.name == "nt" else {"start_new_session": True}
    with log_path.open("wb" if too_long else "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "studio.jobs.chat_worker"],
            cwd=PROJECT_DIR,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            **detach,
        )


def _json_lines(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.endswith(b"\n"):
            yield json.loads(line)


def _error_of(line: dict[str, Any]) -> StudioError:
    return StudioError(line["message"], line["fix"], line["code"])


def _plain(message: Message | Mapping[str, str]) -> dict[str, Any]:
    if isinstance(message, Message):
        return asdict(message)
    return {"role": message["role"], "content": message["content"]}
