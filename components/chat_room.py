"""The one model the screen talks to at a time, in a child process, shared by all windows.

In: a target (a run's id or a .gguf). Out: a ready ChatSession. Loading another target ends the
child before, so memory is never held twice; where a run starts that does not fit beside it, it
makes room. Also: which answers of which window are under way.
"""

import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from studio.errors import JobError, StudioError
from studio.jobs.chat import ChatSession, Generation
from studio.jobs.chat_target import ChatTarget, resolve_target
from studio.jobs.job import Job
from studio.jobs.memory import SPARE_BYTES, chat_fits, run_fits, training_run
from studio.paths import Workspace
from studio.training.result_folder import tensors_path

_LOOK_SECONDS = 0.2
_WATCH_SECONDS = 1.0


class _Loading:
    """One child, from its start to its end; `done` is set once it is ready or has failed."""

    def __init__(self, workspace: Workspace, target: ChatTarget) -> None:
        self.target = target
        self.stamp = _stamp(target)
        self.phase = "starting the chat"
        self.error: StudioError | None = None
        self.done = threading.Event()
        self.session = ChatSession(target, workspace.cache_dir / "chat.log")
        threading.Thread(target=self._open, name=f"load {target.name}", daemon=True).start()

    def _open(self) -> None:
        try:
            self.session.open(self._hear)
        except StudioError as error:
            self.error = error
        finally:
            self.done.set()

    def _hear(self, phase: str) -> None:
        self.phase = phase

    @property
    def usable(self) -> bool:
        """Whether it is ready, or still on the way there."""
        return self.session.alive and self.error is None and self.stamp == _stamp(self.target)


class ChatRoom:
    """Holds at most one loaded model. Safe to use from several threads."""

    def __init__(self, workspace: Workspace, spare_bytes: int = SPARE_BYTES) -> None:
        self._workspace = workspace
        self._spare_bytes = spare_bytes
        self._lock = threading.Lock()
        self._current: _Loading | None = None
        self._made_room_for: Job | None = None

    def load(self, target: str | ChatTarget) -> Iterator[str]:
        """What is going on, as words, until `target` can be asked. Raises: StudioError."""
        loading = self._begin(self._resolved(target))
        while not loading.done.wait(_LOOK_SECONDS):
            yield loading.phase
        if loading.error:
            raise loading.error

    def session(self, target: str | ChatTarget) -> ChatSession:
        """The session of a target that `load` has brought. Raises: JobError if it is gone."""
        wanted = self._resolved(target)
        with self._lock:
            loading = self._current
        if loading is None or loading.target != wanted or not loading.done.is_set():
            raise JobError(
                "Another model was loaded meanwhile.", "Send the message again.", "chat_closed"
            )
        return loading.session

    def loaded(self) -> str:
        """The name of what is in memory now; "" for nothing."""
        with self._lock:
            loading = self._current
        ready = loading is not None and loading.done.is_set() and loading.usable
        return loading.target.name if loading is not None and ready else ""

    def has(self, target: str) -> bool:
        """Whether `target` is in memory and ready."""
        with self._lock:
            loading = self._current
        return (
            loading is not None
            and loading.done.is_set()
            and loading.usable
            and loading.target == resolve_target(self._workspace, target)
        )

    def note(self) -> str:
        """That the chat made room for a run, in words; "" where it did not, or is open again."""
        run = self._made_room_for
        if run is None:
            return ""
        training = training_run(self._workspace)
        until = " once training has ended" if training and training.id == run.id else ""
        return (
            f"The chat made room for {run.name}; it opens again by itself at your next "
            f"message{until}."
        )

    def unload(self) -> None:
        """End the child; its memory is free when this returns."""
        with self._lock:
            loading, self._current = self._current, None
        if loading is not None:
            loading.session.close()

    def _resolved(self, target: str | ChatTarget) -> ChatTarget:
        return target if isinstance(target, ChatTarget) else resolve_target(self._workspace, target)

    def _begin(self, target: ChatTarget) -> _Loading:
        with self._lock:
            current = self._current
            if current is not None and current.target == target and current.usable:
                return current
            if current is not None:
                current.session.close()
                self._current = None
            run = training_run(self._workspace)
            if run is not None and not chat_fits(target, self._spare_bytes):
                raise _no_room(run)
            self._made_room_for = None
            self._current = _Loading(self._workspace, target)
            watch = threading.Thread(
                target=self._watch, args=(self._current, run), name="chat room", daemon=True
            )
            watch.start()
            return self._current

    def _watch(self, loading: _Loading, known: Job | None) -> None:
        """Make room for each run that starts while this model is loaded, if it needs it; the run
        `known` trained before and has its memory."""
        while self._current is loading:
            run = training_run(self._workspace)
            if run is not None and run != known and not self._fits(run):
                with self._lock:
                    if self._current is loading:
                        self._current, self._made_room_for = None, run
                        loading.session.close(_no_room(run))
                return
            known = run
            time.sleep(_WATCH_SECONDS)

    def _fits(self, run: Job) -> bool:
        try:
            return run_fits(run, self._spare_bytes)
        except StudioError:  # the run's own worker says what is wrong with it
            return True


def _no_room(run: Job) -> JobError:
    return JobError(
        f"Memory does not hold the chat beside the run {run.name}, which trains now.",
        "The chat opens by itself at your next message once training has ended.",
        "chat_made_room",
    )


@cache
def chat_room(workspace: Workspace) -> ChatRoom:
    """The room of a workspace: Compare and Export talk in the same one."""
    return ChatRoom(workspace)


def _stamp(target: ChatTarget) -> int:
    """Changes when the weights on disk do: a resumed run leaves another adapter under its id."""
    path = Path(target.adapter or target.model)
    if target.adapter and path.is_dir():
        path = tensors_path(path)
    return path.stat().st_mtime_ns if path.exists() else 0


class Answers:
    """The answers under way, by window and pane, so that Stop ends this window's and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._panes: dict[str, dict[str, Generation | None]] = {}
        self._stopped: set[str] = set()

    def begin(self, window: str, panes: tuple[str, ...]) -> None:
        """Note that these panes are about to answer. Raises: JobError while some still do."""
        with self._lock:
            if self._panes.get(window):
                raise JobError(
                    "An answer is still being written.", "Wait for it, or press Stop.", "chat_busy"
                )
            self._panes[window] = dict.fromkeys(panes)
            self._stopped.discard(window)

    def writing(self, window: str, pane: str, generation: Generation) -> None:
        """Note which generation writes this pane's answer."""
        with self._lock:
            self._panes.setdefault(window, {})[pane] = generation
            stopped = window in self._stopped
        if stopped:
            generation.cancel()

    def end(self, window: str, pane: str) -> None:
        """Note that this pane's answer has ended."""
        with self._lock:
            panes = self._panes.get(window, {})
            panes.pop(pane, None)
            if not panes:
                self._panes.pop(window, None)

    def busy(self, window: str) -> bool:
        """Whether an answer of this window is under way or about to begin."""
        with self._lock:
            return bool(self._panes.get(window))

    def stopped(self, window: str) -> bool:
        """Whether this window's person asked for the end."""
        with self._lock:
            return window in self._stopped

    def stop(self, window: str) -> None:
        """End all answers of this window."""
        with self._lock:
            if not self._panes.get(window):
                return
            self._stopped.add(window)
            running = [g for g in self._panes[window].values() if g is not None]
        for generation in running:
            generation.cancel()
