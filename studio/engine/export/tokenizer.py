"""A model folder's tokenizer as GGUF knows it: tokens, types, scores or merges, special ids.

In: the tokenizer that the studio trains with. Out: a Vocabulary, with the pre-tokenizer names to
try in order of likelihood. Nothing here is believed: `studio.engine.export.vocabulary` proves the
choice against the Hugging Face ids.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import gguf

from studio.engine.chat.llama import STOP_IDS
from studio.errors import ExportError
from studio.text.tokenizer import TextTokenizer

# The regular expressions in tokenizer.json by llama.cpp's name for them.
# Source: the "original regex from tokenizer.json" comments in llama.cpp's src/llama-vocab.cpp.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PRE_BY_REGEX = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}": "llama-bpe",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}": "qwen2",
    _TEKKEN: "tekken",
}
# Tried in this order where the regular expression is not known or its name does not fit.
_PRE_NAMES = (
    "gpt-2",
    "llama-bpe",
    "smaug-bpe",
    "qwen2",
    "smollm",
    "tekken",
    "gpt-4o",
    "dbrx",
    "falcon",
    "mpt",
    "olmo",
    "starcoder",
    "refact",
    "command-r",
    "stablelm2",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "minerva-7b",
    "exaone",
    "viking",
    "poro-chat",
    "bloom",
)
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_SPECIAL_NAMES = ("bos", "eos", "unk", "pad")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """`model` is GGUF's name for the kind: "gpt2" (byte-level BPE) or "llama" (SentencePiece)."""

    model: str
    pre_names: tuple[str, ...]
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    add_space_prefix: bool = False
    special_ids: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    eot_id: int | None = None
    # What ends an answer in training; eos and eot_id among them or not.
    stop_ids: tuple[int, ...] = ()
    chat_template: str = ""
    normalizer: str = ""
    # The tokenizer puts a space in front only where there is none; llama.cpp always does.
    keeps_leading_space: bool = False
    # A space that a rendered prompt needs in front, written into the chat template.
    prompt_prefix: str = ""


def read_vocabulary(tokenizer: TextTokenizer, n_rows: int, chat_template: str = "") -> Vocabulary:
    """The vocabulary of `tokenizer`, filled up to the `n_rows` of the model's embedding.

    `chat_template` is the one that was trained with, "" for the model's own.

    Raises: ExportError for a kind of tokenizer that llama.cpp cannot repeat, or for token ids
    beyond the embedding.
    """
    saved: dict[str, Any] = json.loads(tokenizer.core.to_str())
    model = saved["model"]
    if model.get("type") != "BPE":
        raise _refused(f"of kind {model.get('type')}")
    names = _names_by_id(saved, n_rows)
    byte_level = _contains(saved, "ByteLevel")
    if not byte_level and not model.get("byte_fallback"):
        raise _refused("neither byte-level nor with byte fallback, so some text has no tokens")
    ids = _special_ids(tokenizer)
    pairs = [m.split(" ", 1) if isinstance(m, str) else m for m in model.get("merges", [])]
    common: dict[str, Any] = {
        "tokens": [names.get(index, f"[PAD{index}]") for index in range(n_rows)],
        "types": _types(saved, names, n_rows, None if byte_level else ids.get("unk")),
        "special_ids": ids,
        "chat_template": plain_template(chat_template or tokenizer.templates.get("default", "")),
        "normalizer": _normalizer(saved),
        "add_bos": bool(tokenizer.first_ids) and tokenizer.first_ids[0] == ids.get("bos"),
    }
    if byte_level:
        # A space inside a token is written as the byte-level alphabet writes it.
        merges = [" ".join(part.replace(" ", "Ġ") for part in pair) for pair in pairs]
        return Vocabulary(model="gpt2", pre_names=_pre_names(saved), merges=merges, **common)
    if not {f"<0x{byte:02X}>" for byte in range(256)} <= set(names.values()):
        raise _refused("without all 256 byte tokens, so some text has no tokens")
    return Vocabulary(
        model="llama",
        pre_names=("default",),
        scores=_scores(common["tokens"], pairs),
        add_space_prefix=_prepends(saved),
        keeps_leading_space=_contains(saved, "Metaspace"),
        **common,
    )


def plain_template(source: str) -> str:
    """The template without training's generation marks, which other programs do not know.

    A mark becomes a condition that holds, so that the white space around it stays as it is.
    """
    source = re.sub(r"(\{%[-+]?\s*)generation(\s*[-+]?%\})", r"\1if true\2", source)
    return re.sub(r"(\{%[-+]?\s*)endgeneration(\s*[-+]?%\})", r"\1endif\2", source)


def add_to(writer: gguf.GGUFWriter, vocabulary: Vocabulary, pre_name: str) -> None:
    """Write `vocabulary` as GGUF metadata."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(pre_name)
    writer.add_token_list(vocabulary.tokens)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.model == "gpt2":
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_add_space_prefix(vocabulary.add_space_prefix)
    for name, token_id in vocabulary.special_ids.items():
        getattr(writer, f"add_{name}_token_id")(token_id)
    if vocabulary.eot_id is not None:
        writer.add_eot_token_id(vocabulary.eot_id)
    marked = (vocabulary.special_ids.get("eos"), vocabulary.eot_id)
    if others := [str(i) for i in vocabulary.stop_ids if i not in marked]:
        writer.add_string(STOP_IDS, ",".join(others))
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(False)
    if vocabulary.chat_template:
        prefix = f"{{{{ '{vocabulary.prompt_prefix}' }}}}" if vocabulary.prompt_prefix else ""
        if "bos" not in vocabulary.special_ids:
            # Without one llama.cpp fills in token 11.
            prefix = "{% set bos_token = '' %}" + prefix
        writer.add_chat_template(prefix + vocabulary.chat_template)


def _refused(what: str) -> ExportError:
    return ExportError(
        f"The tokenizer is {what}; llama.cpp cannot repeat it exactly.",
        "Keep the adapter and use it with transformers, or train on another base model.",
        "export_tokenizer",
    )


def _names_by_id(tokenizer: dict[str, Any], n_rows: int) -> dict[int, str]:
    names = {index: name for name, index in tokenizer["model"]["vocab"].items()}
    names |= {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    if len(set(names.values())) < len(names):
        raise _refused("of two tokens with the same text")
    beyond = sorted(index for index in names if index >= n_rows)
    if beyond:
        raise ExportError(
            f"The tokenizer has {len(beyond)} tokens without a row in the model's embedding: "
            f"'{names[beyond[0]]}' is number {beyond[0]}, the embedding has {n_rows} rows.",
            "Use the tokenizer that belongs to this model, or one without added tokens.",
            "export_added_tokens",
        )
    return names


def _types(
    tokenizer: dict[str, Any], names: dict[int, str], n_rows: int, unk_id: int | None
) -> list[int]:
    types = [
        gguf.TokenType.NORMAL if index in names else gguf.TokenType.UNUSED
        for index in range(n_rows)
    ]
    if tokenizer["model"].get("byte_fallback"):
        for index, name in names.items():
            if _BYTE_TOKEN.fullmatch(name):
                types[index] = gguf.TokenType.BYTE
    for token in tokenizer["added_tokens"]:
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        types[token["id"]] = kind
    if unk_id is not None:
        types[unk_id] = gguf.TokenType.UNKNOWN
    return [int(kind) for kind in types]


def _special_ids(tokenizer: TextTokenizer) -> dict[str, int]:
    """bos, eos, unk and pad where the tokenizer names them.

    Raises: ExportError without an end token: llama.cpp would take number 2 or 11 for it.
    """
    found = {kind: tokenizer.special_id(f"{kind}_token") for kind in _SPECIAL_NAMES}
    if found["eos"] is None:
        raise ExportError(
            "The tokenizer names no end token (eos_token), so a GGUF would never stop.",
            "Name one in tokenizer_config.json, as the model's maker intended it.",
            "export_tokenizer",
        )
    return {kind: token_id for kind, token_id in found.items() if token_id is not None}


def _parts(tokenizer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The steps of a tokenizer.json stage, a Sequence laid open."""
    stage = tokenizer.get(key)
    if not stage:
        return []
    inner = stage.get("pretokenizers") or stage.get("normalizers")
    return list(inner) if stage["type"] == "Sequence" and inner is not None else [stage]


def _contains(tokenizer: dict[str, Any], kind: str) -> bool:
    return any(part["type"] == kind for part in _parts(tokenizer, "pre_tokenizer"))


def _normalizer(tokenizer: dict[str, Any]) -> str:
    """ "NFC" where text is composed first, which llama.cpp does not do; "" for all else."""
    kinds = [part["type"] for part in _parts(tokenizer, "normalizer")]
    return "NFC" if kinds == ["NFC"] else ""


def _prepends(tokenizer: dict[str, Any]) -> bool:
    if any(part["type"] == "Prepend" for part in _parts(tokenizer, "normalizer")):
        return True
    schemes = [part.get("prepend_scheme") for part in _parts(tokenizer, "pre_tokenizer")]
    return "always" in schemes or "first" in schemes


def _pre_names(tokenizer: dict[str, Any]) -> tuple[str, ...]:
    parts = _parts(tokenizer, "pre_tokenizer")
    likely = []
    for part in parts:
        pattern = part.get("pattern", {})
        likely.append(_PRE_BY_REGEX.get(pattern.get("Regex", ""), ""))
        if part["type"] == "Digits" and part.get("individual_digits"):
            likely.append("smollm")
    known = [name for name in likely if name]
    return tuple(dict.fromkeys((*known, *_PRE_NAMES)))


def _scores(tokens: list[str], pairs: list[list[str]]) -> list[float]:
    """SentencePiece merges the pair with the highest score first; BPE the one listed first.

    So a token's score is minus the place of its first merge; tokens that no merge makes come last.
    """
    first: dict[str, int] = {}
    for place, (left, right) in enumerate(pairs):
        first.setdefault(left + right, place)
    return [-float(first.get(token, len(pairs) + 1) + 1) for token in tokens]
