"""Chat with a GGUF file in llama.cpp: messages → prompt ids → pieces of text.

The prompt is rendered by the studio's own renderer from the template in the file, and cut into
tokens by llama.cpp, as every program that opens the file does it. No torch here.
"""

import codecs
import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp

from studio.data.messages import Message
from studio.engine.chat.llama_adapter import LlamaAdapter
from studio.engine.chat.llama_gpu import gpu_layers
from studio.engine.gguf_header import read_header
from studio.errors import ModelError
from studio.jobs.llama_settings import LlamaSettings, default_threads
from studio.jobs.sampling import Sampling
from studio.models.gguf_sizes import CHAT_CONTEXT
from studio.text.gallery import GALLERY
from studio.text.stops import text_after_answer
from studio.text.template import ChatTemplate

# Written by the export where training ended answers at tokens that GGUF has no mark for.
STOP_IDS = "lora_studio.stop_ids"
_ON_CPU = LlamaSettings(gpu_layers=0)


class LlamaChat:
    """One loaded file. After (or while) an answer runs, `n_tokens`, `seconds` and `stop_reason`
    ("stop", "length" or "context"; "" while it runs) tell of it. `adapter` is switched between
    answers; None where there is none."""

    def __init__(
        self,
        path: Path,
        n_ctx: int = CHAT_CONTEXT,
        settings: LlamaSettings = _ON_CPU,
        adapter: Path | None = None,
    ) -> None:
        """Load `path` with room for `n_ctx` tokens, or fewer where the model was made for fewer;
        the GGUF adapter on it is off until it is turned on.

        Raises: ModelError when the file is no GGUF, cut, or of an unknown architecture, or the
        adapter is one of another model.
        """
        shape = _read_shape(path)
        self.n_ctx = min(n_ctx, shape.n_ctx) if shape.n_ctx else n_ctx
        needed = path.stat().st_size + self.n_ctx * shape.cache_bytes_a_token
        self._llama = open_llama(
            path,
            settings.threads,
            n_ctx=self.n_ctx,
            last_n_tokens_size=self.n_ctx,
            n_gpu_layers=gpu_layers(settings.gpu_layers, needed, shape.n_layers),
        )
        self._vocab = self._llama._model.vocab
        self.adapter = LlamaAdapter(self._llama, adapter) if adapter else None
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

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """What ended an answer in training, as far as the file tells: the ids that the export
        noted, and the control token that the template writes right behind an answer."""
        noted = read_value(self._llama, STOP_IDS).split(",")
        found = {int(token_id) for token_id in noted if token_id}
        rest = text_after_answer(self.template, self.special_tokens())
        ids = self.tokenize(rest) if rest else []
        first = next((i for i in ids if self._llama._model.token_get_text(i) != "▁"), None)
        if first is not None and llama_cpp.llama_vocab_is_control(self._vocab, first):
            found.add(first)
        return frozenset(found)

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
        pieces = self.answer(self.prompt_ids(messages), sampling, self.stop_ids)
        yield from (piece for piece in pieces if piece)

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


@dataclass(frozen=True)
class _Shape:
    """Tokens that the model was made for, its layers, and the keys and values of one token in F16;
    0 where the file does not say."""

    n_ctx: int
    n_layers: int
    cache_bytes_a_token: int


def _read_shape(path: Path) -> _Shape:
    llama = open_llama(path, vocab_only=True)
    try:
        architecture = read_value(llama, "general.architecture")

        def number(key: str) -> int:
            value = read_value(llama, f"{architecture}.{key}")
            return int(value) if value.isdigit() else 0

        n_layers, n_heads = number("block_count"), number("attention.head_count") or 1
        n_kv = number("attention.head_count_kv") or n_heads
        width = number("attention.key_length") or number("embedding_length") // n_heads
        # Two bytes each for a key and a value.
        return _Shape(number("context_length"), n_layers, 4 * n_layers * n_kv * width)
    finally:
        llama.close()


def open_llama(path: Path, threads: int = 0, **options: Any) -> llama_cpp.Llama:
    """`path` in llama.cpp; 0 threads are all that this process may use.

    Raises: ModelError when llama.cpp refuses it.
    """
    threads = threads or default_threads()
    try:
        return llama_cpp.Llama(
            str(path), n_threads=threads, n_threads_batch=threads, verbose=False, **options
        )
    except ValueError as error:
        header = read_header(path)
        if header is not None and header.kind == "adapter":
            raise ModelError(
                f"'{path.name}' is an adapter: it does not talk without its base.",
                "Open the base file that was exported with it, and the adapter on it.",
                "gguf_adapter",
            ) from error
        raise ModelError(
            f"llama.cpp cannot open '{path.name}' ({path.stat().st_size:,} bytes)."
            if path.is_file()
            else f"There is no file '{path}'.",
            "Export it again: it is cut, damaged, or of a kind this llama.cpp does not know.",
            "gguf_damaged",
        ) from error
