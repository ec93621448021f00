"""Chat: one loaded model, several answers under way, each made token by token.

Enters: a ChatTarget, then messages and Sampling. Leaves: AnswerStreams; each `step` makes one
token, so answers can take turns. `chat_torch` does it for model folders and runs, `chat_llama` for
GGUF files; neither loads the other's library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from studio.data.messages import Message
from studio.errors import ConfigError
from studio.jobs.chat_target import ChatTarget
from studio.jobs.sampling import Sampling


@dataclass(frozen=True)
class StreamStep:
    """What one step added; `stop_reason` is "" while the answer goes on."""

    delta: str
    n_tokens: int
    stop_reason: str


class AnswerStream(Protocol):
    """One answer under way."""

    def step(self) -> StreamStep:
        """Make one more token. Not to be called after a step with a stop reason."""

    def close(self) -> None:
        """Let go of what the answer holds."""


class ChatModel(Protocol):
    """A loaded model; `n_parallel` answers may take turns, `n_ctx` tokens fit its context."""

    n_ctx: int
    n_parallel: int

    def start(
        self, messages: Sequence[Message], sampling: Sampling, tuned: bool, scale: float = 1.0
    ) -> AnswerStream:
        """A new answer, not `tuned` by the base alone; `scale` is the strength of a GGUF adapter.

        Raises: StudioError when the messages do not render or do not fit."""


def load_chat(target: ChatTarget) -> ChatModel:
    """The model behind `target`. Raises: StudioError when it cannot be loaded."""
    if target.kind == "gguf":
        from studio.engine.chat.llama_model import LlamaChatModel  # noqa: PLC0415  (llama.cpp, no torch)

        return LlamaChatModel(target)
    from studio.engine.chat.torch_model import TorchChatModel  # noqa: PLC0415  (torch, no llama.cpp)

    return TorchChatModel(target)


def context_full(n_prompt: int, n_ctx: int) -> ConfigError:
    """The error for a prompt that leaves no room for an answer."""
    return ConfigError(
        f"The conversation has {n_prompt:,} tokens; the model's context holds {n_ctx:,}.",
        "Clear the conversation, or ask with less text.",
        "context_full",
    )
