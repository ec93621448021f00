"""Text → token ids, with the light `tokenizers` package: the ids transformers' AutoTokenizer gives.

Enters: a model folder with tokenizer.json. Leaves: a TextTokenizer with the special tokens and the
chat templates of tokenizer_config.json and its neighbours. Nothing here imports transformers.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer

from studio.errors import ModelError

NAMED_TOKENS = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
# Model types that transformers 5 loads from tokenizer.json as it stands, whatever the class named.
# Source: transformers 5.23, models/auto/tokenization_auto.py, TOKENIZER_MAPPING_NAMES.
_AS_SAVED = (
    "mistral",
    "mixtral",
    "ministral",
    "ministral3",
    "mistral3",
    "pixtral",
    "phi3",
    "jamba",
)
_AS_SAVED_TOO = ("granite", "stablelm", "internlm2", "internlm3", "minicpm3", "nemotron", "arctic")


class Tokens:
    """Token ids and, for each, the characters [start, end) it stands for.

    Characters are looked up where they are asked for: most of a row's are never needed.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.ids: list[int] = encoding.ids
        self._encoding = encoding
        self._n_encoded = len(self.ids)
        self._end = (0, 0)

    def span(self, place: int) -> tuple[int, int]:
        """The characters of the token at `place`; those of a token that the tokenizer put in
        itself, such as BOS, are (0, 0)."""
        if place >= self._n_encoded:
            return self._end
        found: tuple[int, int] | None = self._encoding.token_to_chars(place)
        return (0, 0) if found is None else found

    def first_from(self, character: int) -> int:
        """The place of the first token that begins at `character` or later; the number of tokens
        where there is none."""
        found: int | None = self._encoding.char_to_token(character)
        if found is None:
            # Behind the text, or a blank that a token beside it swallowed.
            places = range(len(self.ids))
            return bisect_left(places, (character, character), key=self.span)
        while found < self._n_encoded and self.span(found)[0] < character:
            found += 1
        while found and self.span(found - 1) >= (character, character):
            found -= 1
        return found

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """`span` of every token."""
        return self._encoding.offsets + [self._end] * (len(self.ids) - self._n_encoded)

    def ended(self, token_id: int, place: int) -> "Tokens":
        """These tokens with one more, which stands behind the text of `place` characters."""
        self.ids.append(token_id)
        self._end = (place, place)
        return self


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """A folder's tokenizer. `templates` are its chat templates by name; "default" is the one."""

    folder: Path
    core: Tokenizer
    special_tokens: dict[str, str]
    templates: dict[str, str]

    def encode(self, text: str, add_special_tokens: bool = False) -> Tokens:
        """Ids and offsets; with `add_special_tokens` also BOS and EOS where the model adds them."""
        return Tokens(self.core.encode(text, add_special_tokens=add_special_tokens))

    def encode_batch(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[Tokens]:
        """`encode` of each text, on all processor cores."""
        found = self.core.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return [Tokens(one) for one in found]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of `ids`."""
        return self.core.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its text, None when the vocabulary has no such token."""
        return self.core.token_to_id(token)

    def token(self, token_id: int) -> str:
        """A token as the vocabulary writes it."""
        return self.core.id_to_token(token_id) or f"[{token_id}]"

    @cached_property
    def added(self) -> dict[int, AddedToken]:
        """Tokens matched whole before the rest is split, by id."""
        return dict(self.core.get_added_tokens_decoder())

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of control tokens: what a reader should not see as text."""
        named = (self.id_of(token) for token in self.special_tokens.values())
        control = (token_id for token_id, token in self.added.items() if token.special)
        return frozenset([*control, *(token_id for token_id in named if token_id is not None)])

    def special_id(self, name: str) -> int | None:
        """The id of a named special token such as "eos_token"; None when the model has none."""
        token = self.special_tokens.get(name)
        return None if token is None else self.id_of(token)

    @cached_property
    def first_ids(self) -> list[int]:
        """What the tokenizer itself puts before every text: [BOS] or nothing."""
        bare, ids = (self.core.encode("a", add_special_tokens=add).ids for add in (False, True))
        starts = range(len(ids) - len(bare) + 1)
        return ids[: next((i for i in starts if ids[i : i + len(bare)] == bare), 0)]

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary with added tokens."""
        return self.core.get_vocab_size(with_added_tokens=True)


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a model folder; the same object while its files stay the same.

    Raises: ModelError when the folder has no tokenizer.json, or a damaged one.
    """
    stamps = tuple(
        (path.name, path.stat().st_mtime_ns)
        for name in ("tokenizer*.json", "*tokens*.json", "*.jinja", "*/*.jinja", "config.json")
        for path in sorted(folder.glob(name))
    )
    return _load(folder, stamps)


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[tuple[str, int], ...]) -> TextTokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _no_tokenizer(folder)
    saved = _read_json(path)
    if "vocab" not in saved.get("model", {}):
        raise _damaged(path, "it has no vocabulary")
    config = _read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:
        config = {**config, **_read_json(folder / "special_tokens_map.json")}
    if _rebuilt_as_llama(saved, config, _read_json(folder / "config.json")):
        core = Tokenizer.from_str(json.dumps(_as_llama(saved, config)))
    else:
        core = Tokenizer.from_file(str(path))
    core.no_truncation()
    core.no_padding()
    named = {name: _text(config[name]) for name in NAMED_TOKENS if config.get(name)}
    _add_missing(core, config, named)
    return TextTokenizer(folder, core, named, _templates(folder, config))


def _no_tokenizer(folder: Path) -> ModelError:
    has = [n for n in ("tokenizer.model", "vocab.json", "tekken.json") if (folder / n).is_file()]
    what = f"only {has[0]}" if has else "no tokenizer"
    return ModelError(
        f"The model folder '{folder.name}' has {what}, no tokenizer.json.",
        "Add the tokenizer.json of the same model from the hub; most models have one. "
        "Or load the tokenizer in transformers and save it with save_pretrained.",
        "tokenizer_missing",
    )


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path.name} of '{path.parent.name}' is damaged: {reason}.",
        "Download the model's tokenizer files again.",
        "tokenizer_damaged",
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, f"it is not valid JSON ({error})") from error
    return value if isinstance(value, dict) else {}


def _text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _rebuilt_as_llama(
    saved: Mapping[str, Any], config: Mapping[str, Any], model: Mapping[str, Any]
) -> bool:
    """Whether transformers 5 takes only vocabulary and merges from the file (LlamaTokenizer)."""
    named = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "")
    if named.removesuffix("Fast") != "LlamaTokenizer" or "auto_map" in config:
        return False
    if model.get("model_type") in (*_AS_SAVED, *_AS_SAVED_TOO):
        return False
    parts = json.dumps([saved.get("pre_tokenizer"), saved.get("decoder")])
    return "ByteLevel" not in parts and saved["model"].get("type", "BPE") == "BPE"


def _as_llama(saved: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer.json with the parts that transformers' LlamaTokenizer puts in their place.

    Source: transformers 5.23, models/llama/tokenization_llama.py.
    """
    prefix = config.get("add_prefix_space")
    prefix = True if prefix is None else prefix
    scheme = ("always" if config.get("legacy") else "first") if prefix else "never"
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    return {
        **saved,
        "normalizer": None,
        "pre_tokenizer": metaspace,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {**saved["model"], "fuse_unk": True, "byte_fallback": True, "dropout": None},
    }


def _add_missing(core: Tokenizer, config: Mapping[str, Any], named: Mapping[str, str]) -> None:
    """Tokens that the configuration names and the file lacks, in the order transformers adds."""
    known = {token.content for token in core.get_added_tokens_decoder().values()}
    decoder = sorted((config.get("added_tokens_decoder") or {}).items(), key=lambda i: int(i[0]))
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    extra = list(extra.values()) if isinstance(extra, dict) else extra
    wanted = [token for _, token in decoder]
    wanted += [{"content": token, "special": True} for token in named.values()]
    wanted += [{"content": _text(token), "special": True} for token in extra]
    for token in wanted:
        if token["content"] not in known:
            known.add(token["content"])
            flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
            core.add_tokens(
                [AddedToken(token["content"], **{f: token[f] for f in flags if f in token})]
            )


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Chat templates by name; a file beside the configuration wins over its entry."""
    found: dict[str, str] = {}
    given = config.get("chat_template")
    if isinstance(given, str):
        found["default"] = given
    elif isinstance(given, list):
        found.update({str(item["name"]): str(item["template"]) for item in given})
    elif isinstance(given, dict):
        found.update({str(name): str(text) for name, text in given.items()})
    own = folder / "chat_template.jinja"
    files = {"default": own} if own.is_file() else {}
    files |= {
        path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))
    }
    if files:
        found = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    return found
