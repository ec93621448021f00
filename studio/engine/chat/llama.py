"""Chat with a GGUF file in llama.cpp: messages → prompt ids → pieces of text.

The prompt is rendered by the studio's own renderer from the template in the file, and cut into
tokens by llama.cpp, as every program that opens the file does it. No torch here.
"""

import codecs
import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp

from studio.data.messages import Message
from studio.errors import ModelError
from studio.jobs.sampling import Sampling
from studio.text.gallery import GALLERY
from studio.text.template import ChatTemplate

_DEFAULT_CONTEXT = 4096


class LlamaChat:
    """One loaded file. After (or while) an answer runs, `n_tokens`, `seconds` and `stop_reason`
    ("stop", "length" or "context"; "" while it runs) tell of it."""

    def __init__(self, path: Path, n_ctx: int = _DEFAULT_CONTEXT) -> None:
        """Load `path` with room for `n_ctx` tokens, or fewer where the model was made for fewer.

        Raises: ModelError when the file is no GGUF, cut, or of an unknown architecture.
        """
        trained = _trained_context(path)
        self.n_ctx = min(n_ctx, trained) if trained else n_ctx
        self._llama = open_llama(path, n_ctx=self.n_ctx, last_n_tokens_size=self.n_ctx)
        self._vocab = self._llama._model.vocab
        self._spm = read_value(self._llama, "tokenizer.ggml.model") == "llama"
        self.template = self._template()
        self.n_tokens = 0
        self.seconds = 0.0
        self.stop_reason = ""

    def _template(self) -> ChatTemplate:
        source = read_value(self._llama, "tokenizer.chat_template")
        if source:
            return ChatTemplate(source, "from the GGUF file")
        return ChatTemplate(GALLERY["plain"].source, "'plain', because the file brings none")

    @property
    def tokens_per_second(self) -> float:
        """Speed of the current or last answer, the reading of the prompt included."""
        return self.n_tokens / self.seconds if self.seconds else 0.0

    def special_tokens(self) -> dict[str, str]:
        """bos_token and eos_token as text, where the file names them."""
        found = {}
        for kind in ("bos", "eos"):
            # Asked of the metadata: llama.cpp itself answers with a number even without one.
            token_id = read_value(self._llama, f"tokenizer.ggml.{kind}_token_id")
            if token_id:
                found[f"{kind}_token"] = self._llama._model.token_get_text(int(token_id))
        return found

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the conversation up to where the assistant speaks, BOS once.

        Raises: TemplateError when the file's template refuses the conversation.
        """
        special = self.special_tokens()
        text = self.template.render(messages, True, special_tokens=special).text
        # llama.cpp puts BOS in front where the file says so; the template may have done it.
        has_bos = text.startswith(special.get("bos_token", "\0"))
        return self.tokenize(text, add_bos=not has_bos)

    def tokenize(self, text: str, add_bos: bool = False) -> list[int]:
        """llama.cpp's ids of `text`, special tokens in it read as such."""
        ids: list[int] = self._llama.tokenize(text.encode(), add_bos=add_bos, special=True)
        return ids

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """The answer to `messages` in pieces of whole characters, never empty.

        Raises: ModelError when the prompt does not fit the context.
        """
        yield from (piece for piece in self.answer(self.prompt_ids(messages), sampling) if piece)

    def answer(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int] = frozenset()
    ) -> Iterator[str]:
        """One piece of text a token, "" while a character is unfinished.

        Ends at `sampling.max_new_tokens`, a full context, one of `stop_ids` or a token that the
        file marks as an end. Raises: ModelError when the prompt does not fit the context.
        """
        if len(prompt_ids) >= self.n_ctx:
            raise ModelError(
                f"The conversation has {len(prompt_ids):,} tokens; this file's context has "
                f"{self.n_ctx:,}.",
                "Clear the conversation or shorten the message.",
                "context_full",
            )
        self.n_tokens, self.seconds, self.stop_reason = 0, 0.0, ""
        return self._generate(prompt_ids, sampling, stop_ids)

    def _generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]
    ) -> Iterator[str]:
        started = time.monotonic()
        room = self.n_ctx - len(prompt_ids)
        limit = min(sampling.max_new_tokens, room)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._llama.set_seed(sampling.seed)
        tokens = self._llama.generate(
            list(prompt_ids),
            temp=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=0.0,
            repeat_penalty=sampling.repetition_penalty,
        )
        for token in tokens:
            self.n_tokens += 1
            self.seconds = time.monotonic() - started
            if token in stop_ids or llama_cpp.llama_vocab_is_eog(self._vocab, token):
                self.stop_reason = "stop"
                break
            yield decoder.decode(self.piece(token, first=self.n_tokens == 1))
            if self.n_tokens >= limit:
                self.stop_reason = "length" if limit == sampling.max_new_tokens else "context"
                break
        # Half a character at the very end is dropped.
        tokens.close()

    def piece(self, token: int, first: bool = False) -> bytes:
        """The bytes of a token, control tokens empty; `first` of an answer."""
        size = -llama_cpp.llama_token_to_piece(self._vocab, token, None, 0, 0, False)
        buffer = ctypes.create_string_buffer(max(size, 1))
        llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
        piece = buffer.raw[: max(size, 0)]
        # SentencePiece marks the start of a word with a space, also of the first one.
        return piece.removeprefix(b" ") if first and self._spm else piece

    def close(self) -> None:
        """Free the model's memory."""
        self._llama.close()


def read_value(llama: llama_cpp.Llama, key: str) -> str:
    """A value of the file's metadata as text; "" where it has none."""
    model = llama._model.model
    size = llama_cpp.llama_model_meta_val_str(model, key.encode(), None, 0)
    if size <= 0:
        return ""
    # Asked for its size first: a value as long as a guessed buffer would lose its end.
    buffer = ctypes.create_string_buffer(size + 1)
    llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size + 1)
    return buffer.value.decode("utf-8", errors="replace")


def _trained_context(path: Path) -> int:
    """Tokens that the model was made for; 0 where the file does not say."""
    llama = open_llama(path, vocab_only=True)
    try:
        architecture = read_value(llama, "general.architecture")
        return int(read_value(llama, f"{architecture}.context_length") or 0)
    finally:
        llama.close()


def n_threads() -> int:
    """The cores that this process may use; OMP_NUM_THREADS, where set, wins."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_llama(path: Path, **options: Any) -> llama_cpp.Llama:
    """`path` in llama.cpp. Raises: ModelError when llama.cpp refuses it."""
    threads = n_threads()
    try:
        return llama_cpp.Llama(
            str(path), n_threads=threads, n_threads_batch=threads, verbose=False, **options
        )
    except ValueError as error:
        raise ModelError(
            f"llama.cpp cannot open '{path.name}' ({path.stat().st_size:,} bytes)."
            if path.is_file()
            else f"There is no file '{path}'.",
            "Export it again: it is cut, damaged, or of a kind this llama.cpp does not know.",
            "gguf_damaged",
        ) from error
