"""The gate of an export: is the GGUF the same model? Each answer is a Check with its number.

tokens   llama.cpp cuts every text as the tokenizer does; special tokens are one id each
prompt   the file's own template, rendered and cut, gives the ids that training used
stops    the tokens that end an answer in training end it in llama.cpp, by the file's own marks
merge    merged = base + adapter, and not the base
logits   what the file computes, against transformers, on the run's own rows
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import psutil
import torch

from studio.engine.chat.llama import LlamaChat, open_llama
from studio.engine.export.kl_limits import KL_LIMITS
from studio.engine.export.logits import Array, all_logits, divergence, log_softmax, open_exact
from studio.engine.export.texts import CheckTexts
from studio.engine.export.vocabulary import Mismatch, Proof
from studio.engine.gguf_header import read_header
from studio.engine.loading import load_base, load_tuned
from studio.errors import ExportError
from studio.models.facts import read_facts
from studio.models.gguf_families import FAMILIES

F32_LIMIT = 1e-3
# Where llama.cpp takes the activation from a table (GELU).
TABLE_LIMIT = 1e-2
F16_LIMIT = 1e-4
# BF16 keeps 8 bits of a weight where F16 keeps 11.
BF16_LIMIT = 1e-3
# merged against base + adapter: the sum is rounded once, to the format of the merged folder.
MERGE_LIMITS = {"F32": 1e-3, "F16": F16_LIMIT, "BF16": BF16_LIMIT}
_MEMORY_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to a file: `value` within `limit` passes, or is no more than a warning.
    `type` is "" where it holds for all files of the export."""

    name: str
    passed: bool
    value: float
    limit: float
    note: str
    type: str = ""
    warned: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The values of a `check` event."""
        return asdict(self)


def check_tokens(path: Path, texts: CheckTexts, proof: Proof | None) -> Check:
    """Texts that llama.cpp cuts differently from the tokenizer, special tokens included.

    `proof` is None for a file whose vocabulary another converter wrote."""
    plain, said = (texts.texts, "") if proof is None else (proof.texts, proof.note)
    added = texts.encoder.tokenizer.added
    special = {token_id: token.content for token_id, token in added.items() if token.special}
    wanted = [(text, texts.encode(text)) for text in plain]
    wanted += [(content, [token_id]) for token_id, content in special.items() if content]
    wrong: list[Mismatch] = []
    llama = open_llama(path, vocab_only=True)
    try:
        for text, expected in wanted:
            found = llama.tokenize(text.encode(), add_bos=False, special=True)
            if found != expected:
                wrong.append(Mismatch(text, expected, found))
    finally:
        llama.close()
    said = f"{len(plain)} texts and {len(special)} special tokens. {said}".strip()
    return Check(
        name="tokens",
        passed=not wrong,
        value=len(wrong),
        limit=0,
        note=_difference(wrong) if wrong else said,
    )


def check_prompt(path: Path, texts: CheckTexts) -> Check:
    """Conversations whose prompt in llama.cpp differs from the one training used."""
    chat = LlamaChat(path)
    wrong: list[Mismatch] = []
    try:
        for messages in texts.conversations:
            expected = texts.encoder.prompt_ids(messages)
            found = chat.prompt_ids(messages)
            if found != expected:
                wrong.append(Mismatch(messages[-1].content, expected, found))
        starts = chat.tokenize("a", add_bos=True)
    finally:
        chat.close()
    n_bos = 0
    bos = texts.encoder.tokenizer.special_id("bos_token")
    if bos is not None and texts.conversations:
        n_bos = texts.encoder.prompt_ids(texts.conversations[0]).count(bos)
    elif bos is not None:
        n_bos = starts.count(bos)
    wanted = int(texts.starts_with_bos)
    note = f"{len(texts.conversations)} conversations; BOS comes {n_bos} times in a prompt."
    if n_bos != wanted:
        note = f"BOS comes {n_bos} times in a prompt; in training it came {wanted} times."
    return Check(
        name="prompt",
        passed=not wrong and n_bos == wanted,
        value=len(wrong) or abs(n_bos - wanted),
        limit=0,
        note=_difference(wrong) if wrong else note,
    )


def check_stops(path: Path, texts: CheckTexts) -> Check:
    """Whether the token that ends an answer ends it for every program that opens the file."""
    tokenizer = texts.encoder.tokenizer
    end = texts.encoder.eos_id if texts.end_of_turn is None else texts.end_of_turn
    ends = [] if end is None else [end]
    llama = open_llama(path, vocab_only=True)
    try:
        vocab = llama._model.vocab
        missing = [one for one in ends if not llama_cpp.llama_vocab_is_eog(vocab, one)]
    finally:
        llama.close()
    note = f"{tokenizer.token(ends[0])!r} ends an answer." if ends else "No token ends an answer."
    if missing:
        note = f"{tokenizer.token(missing[0])!r} ends an answer in training, but not in the file."
    return Check(name="stops", passed=not missing, value=len(missing), limit=0, note=note)


def _difference(wrong: Sequence[Mismatch]) -> str:
    first = wrong[0]
    return (
        f"First difference: {first.text[:60]!r} is {first.found[:16]} in llama.cpp, "
        f"{first.expected[:16]} in training."
    )


def check_merge(
    base: Path, adapter: Path, merged: list[Array], texts: CheckTexts, dtype: str
) -> Check:
    """The merged model against base + adapter in peft, and against the base alone."""
    before, tuned = tuned_logits(base, adapter, texts.sequences)
    effect = largest_difference(before, tuned)
    away = largest_difference(before, merged)
    value = largest_difference(tuned, merged) if dtype == "F32" else mean_kl(tuned, merged)
    limit = MERGE_LIMITS[dtype]
    has_effect = effect == 0.0 or away > 0.0
    note = f"The adapter moves a logit by up to {effect:.3g}; merging kept that."
    if effect == 0.0:
        note = "The adapter changes nothing (it was not trained); neither does the merged model."
    if not has_effect:
        note = "The merged model is the base: merging had no effect."
    passed = has_effect and value < limit
    return Check(name="merge", passed=passed, value=value, limit=limit, note=note)


def check_logits(path: Path, file_type: str, reference: list[Array], texts: CheckTexts) -> Check:
    """What llama.cpp computes against transformers, with the key/value cache in FP32."""
    found = llama_logits(path, texts.sequences)
    agree = _same_choice(reference, found)
    n_positions = sum(len(logits) for logits in reference)
    if file_type == "F32":
        value, what = largest_difference(reference, found), "Largest difference"
        limit = f32_limit(path)
    else:
        value, what = mean_kl(reference, found), "Mean KL divergence"
        limit = {"F16": F16_LIMIT, "BF16": BF16_LIMIT, **KL_LIMITS}[file_type]
    note = f"{what}; the same likeliest token at {agree:.1%} of {n_positions} places."
    if texts.note:
        note = f"{note} {texts.note}"
    return Check(
        name="logits",
        passed=bool(value < limit),
        value=value,
        limit=limit,
        note=note,
        type=file_type,
    )


def f32_limit(path: Path) -> float:
    """How far a logit of the F32 file at `path` may lie from transformers'."""
    header = read_header(path)
    # Of a family that another converter wrote, the graph may use tables.
    exact = {family.architecture for family in FAMILIES if family.exact}
    return TABLE_LIMIT if header and header.architecture not in exact else F32_LIMIT


def check_file(path: Path, file_type: str) -> Check:
    """1 where the file does not hold all that its own table of tensors promises."""
    size = path.stat().st_size
    header = read_header(path)
    cut = header is None or header.end > size
    note = f"The file ends early, after {size:,} bytes."
    if header is not None and not cut:
        note = f"{len(header.tensors)} tensors, {size:,} bytes."
    return Check(name="file", passed=not cut, value=int(cut), limit=0, note=note, type=file_type)


def refuse_without_memory(folder: Path) -> None:
    """Raises: ExportError when the model does not fit the memory in FP32, as the checks need it."""
    needed = read_facts(folder).n_parameters * 4
    free = int(psutil.virtual_memory().available * _MEMORY_SHARE)
    if needed > free:
        raise ExportError(
            f"Checking this model needs {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are "
            "free.",
            "Close other programs or stop other jobs, then export again.",
            "export_memory",
        )


@torch.inference_mode()
def model_logits(folder: Path, sequences: Sequence[list[int]]) -> list[Array]:
    """Logits [T, V] of each sequence in transformers, FP32 on the CPU."""
    model = load_base(folder, "fp32", "cpu")
    return [_forward(model, ids) for ids in sequences]


@torch.inference_mode()
def tuned_logits(
    base: Path, adapter: Path, sequences: Sequence[list[int]]
) -> tuple[list[Array], list[Array]]:
    """Logits of the base alone and with its adapter, one loaded model."""
    model = load_tuned(load_base(base, "fp32", "cpu"), adapter)
    tuned = [_forward(model, ids) for ids in sequences]
    with model.disable_adapter():
        return [_forward(model, ids) for ids in sequences], tuned


def _forward(model: torch.nn.Module, ids: list[int]) -> Array:
    logits: Array = model(input_ids=torch.tensor([ids])).logits[0].float().numpy()
    return logits


def llama_logits(path: Path, sequences: Sequence[list[int]]) -> list[Array]:
    """Logits [T, V] of each sequence in llama.cpp."""
    with open_exact(path, sequences) as llama:
        return all_logits(llama, sequences)


def largest_difference(one: Sequence[Array], other: Sequence[Array]) -> float:
    """The largest absolute difference of two logits."""
    # numpy's max, unlike Python's, lets a NaN through.
    return float(np.max([np.abs(a - b).max() for a, b in zip(one, other, strict=True)]))


def mean_kl(reference: Sequence[Array], found: Sequence[Array]) -> float:
    """Mean over all positions of KL(reference || found), in nats."""
    total, n = 0.0, 0
    for expected, got in zip(reference, found, strict=True):
        total += float(divergence(log_softmax(expected), log_softmax(got)).sum())
        n += len(expected)
    # Rounding can bring equal distributions a hair below zero.
    return max(total / n, 0.0)


def _same_choice(reference: Sequence[Array], found: Sequence[Array]) -> float:
    same = [a.argmax(-1) == b.argmax(-1) for a, b in zip(reference, found, strict=True)]
    return float(np.concatenate(same).mean())
