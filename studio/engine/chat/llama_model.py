"""Chat with a GGUF file in llama.cpp: one answer at a time, the next ones wait."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.data.messages import Message
from studio.engine.chat.llama import LlamaChat
from studio.engine.chat.model import AnswerStream, StreamStep
from studio.jobs.chat_target import ChatTarget
from studio.jobs.llama_settings import LlamaSettings
from studio.jobs.sampling import Sampling


class LlamaChatModel:
    """A GGUF file: a merged model, or a base with an adapter beside it, which is switched."""

    n_parallel = 1

    def __init__(self, target: ChatTarget) -> None:
        self._chat = LlamaChat(
            Path(target.model),
            settings=LlamaSettings(threads=target.threads, gpu_layers=target.gpu_layers),
            adapter=Path(target.adapter) if target.has_adapter else None,
        )
        self.n_ctx = self._chat.n_ctx

    def start(
        self, messages: Sequence[Message], sampling: Sampling, tuned: bool, scale: float = 1.0
    ) -> AnswerStream:
        """A new answer, with the adapter at `scale` or, not `tuned`, without it; both say nothing
        to a merged file. Raises: StudioError when the messages do not render or do not fit."""
        chat = self._chat
        if chat.adapter is not None:
            chat.adapter.turn(scale if tuned else 0.0)
        return LlamaAnswer(chat, chat.answer(chat.prompt_ids(messages), sampling, chat.stop_ids))


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
