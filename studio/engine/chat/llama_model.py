"""Chat with a GGUF file in llama.cpp: one answer at a time, the next ones wait."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.data.messages import Message
from studio.engine.chat.llama import LlamaChat
from studio.engine.chat.model import AnswerStream, StreamStep
from studio.jobs.sampling import Sampling


class LlamaChatModel:
    """A GGUF file. There is no adapter to switch: it was merged before the export."""

    n_parallel = 1

    def __init__(self, path: Path) -> None:
        self._chat = LlamaChat(path)
        self.n_ctx = self._chat.n_ctx

    def start(self, messages: Sequence[Message], sampling: Sampling, tuned: bool) -> AnswerStream:
        """A new answer; `tuned` says nothing here."""
        prompt_ids = self._chat.prompt_ids(messages)
        return LlamaAnswer(self._chat, self._chat.answer(prompt_ids, sampling))


class LlamaAnswer:
    """One answer under way; the file's one key/value cache is its own until it ends."""

    def __init__(self, chat: LlamaChat, pieces: Iterator[str]) -> None:
        self._chat = chat
        self._pieces = pieces

    def step(self) -> StreamStep:
        for piece in self._pieces:
            return StreamStep(piece, 1, "")
        return StreamStep("", 0, self._chat.stop_reason)

    def close(self) -> None:
        """Nothing is held: the next answer starts from the same cache."""
