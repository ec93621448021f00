"""Proof that llama.cpp cuts text into the same tokens as the tokenizer the model was trained with.

In: a Vocabulary and texts. Out: the Vocabulary with the pre-tokenizer that gives equal ids on
every text, found by asking llama.cpp itself through a GGUF that holds only the vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llama_cpp import Llama

from studio.engine.export.convert import write_vocabulary
from studio.engine.export.tokenizer import Vocabulary
from studio.errors import ExportError

Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Mismatch:
    """A text that llama.cpp cuts differently."""

    text: str
    expected: list[int]
    found: list[int]


@dataclass(frozen=True)
class Proof:
    """The proven vocabulary, the plain texts that agreed, and what a user should know."""

    vocabulary: Vocabulary
    texts: list[str]
    note: str


def prove_vocabulary(
    folder: Path,
    vocabulary: Vocabulary,
    encode: Encode,
    texts: Sequence[str],
    prompts: Sequence[str],
    scratch: Path,
) -> Proof:
    """The first candidate whose ids equal `encode`'s on all `texts` and rendered `prompts`.

    `encode` gives ids without the tokens that a tokenizer adds around a text. Where no candidate
    repeats plain texts but one repeats every rendered prompt, that one is taken, with a note: a
    chat model only ever sees rendered prompts.

    Raises: ExportError when none matches, with the first difference.
    """
    if vocabulary.keeps_leading_space:
        texts = [text for text in texts if not text.startswith(" ")]
    fallback: Vocabulary | None = None
    first: Mismatch | None = None
    for candidate in _candidates(vocabulary):
        prefix = candidate.prompt_prefix
        found = _mismatch(folder, candidate, encode, prompts, scratch, prefix)
        if found is None:
            found = _mismatch(folder, candidate, encode, texts, scratch)
            if found is None:
                return Proof(candidate, list(texts), _note(vocabulary))
            if prompts and candidate.model == "llama":
                fallback = fallback or candidate
        first = first or found
    if fallback is not None:
        note = "Chat prompts agree; plain text without the chat template begins differently."
        return Proof(fallback, [], note)
    assert first is not None, "there is at least one candidate"
    raise ExportError(
        f"llama.cpp cuts {first.text[:60]!r} into {first.found[:12]}, the tokenizer into "
        f"{first.expected[:12]}; no known way of cutting fits.",
        "Keep the adapter and use it with transformers: a GGUF of it would answer nonsense.",
        "tokenizer_mismatch",
    )


def vocabulary_mismatch(
    path: Path, encode: Encode, texts: Sequence[str], prefix: str = ""
) -> Mismatch | None:
    """The first of `texts` that the GGUF at `path` cuts differently; None where all agree.

    llama.cpp gets `prefix` in front of each.
    """
    llama = Llama(str(path), vocab_only=True, verbose=False)
    try:
        for text in texts:
            expected = encode(text)
            found = llama.tokenize((prefix + text).encode(), add_bos=False, special=True)
            if found != expected:
                return Mismatch(text, expected, found)
    finally:
        llama.close()
    return None


def _candidates(vocabulary: Vocabulary) -> Iterator[Vocabulary]:
    if vocabulary.model == "llama":
        yield vocabulary
        yield replace(vocabulary, add_space_prefix=not vocabulary.add_space_prefix)
        # A space before the first piece of text only: llama.cpp knows before all or none.
        yield replace(vocabulary, add_space_prefix=False, prompt_prefix=" ")
        return
    for name in vocabulary.pre_names:
        yield replace(vocabulary, pre_names=(name,))


def _mismatch(
    folder: Path,
    candidate: Vocabulary,
    encode: Encode,
    texts: Sequence[str],
    scratch: Path,
    prefix: str = "",
) -> Mismatch | None:
    path = scratch / "vocabulary.gguf"
    write_vocabulary(folder, path, candidate, candidate.pre_names[0])
    try:
        return vocabulary_mismatch(path, encode, texts, prefix)
    finally:
        path.unlink(missing_ok=True)


def _note(vocabulary: Vocabulary) -> str:
    if vocabulary.normalizer == "NFC":
        return "The tokenizer composes accents (NFC) first; llama.cpp expects composed text."
    if vocabulary.keeps_leading_space:
        return "Text that begins with a space gets one more space token in llama.cpp."
    return ""
