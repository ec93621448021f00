"""Rows → layout: how a row becomes a conversation, and which column plays which part.

Enters: the first rows. Leaves: a Detection that the screen shows and a person may change. A mapping
names a column for each part; inside nested columns a dotted path goes on ("extra_info.answer",
"instances.0.output"). In the layout "template" it holds a template over the columns instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.data.jinja import check_row_template
from studio.data.spellings import BAD, GOOD, turn_keys, turn_style
from studio.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One part of a layout that a column can play."""

    name: str
    label: str
    required: bool = True


_SYSTEM = Part("system", "System prompt", required=False)
_TOOLS = Part("tools", "Tools", required=False)

PARTS: dict[str, tuple[Part, ...]] = {
    "messages": (Part("messages", "Messages (role, content)"), _TOOLS),
    "sharegpt": (Part("conversations", "Turns (from, value)"), _SYSTEM, _TOOLS),
    "alpaca": (
        Part("instruction", "Instruction"),
        Part("input", "Input", required=False),
        Part("output", "Output"),
        _SYSTEM,
        Part("history", "Earlier turns", required=False),
    ),
    "prompt_completion": (Part("prompt", "Prompt"), Part("completion", "Answer"), _SYSTEM),
    "preference": (
        Part("prompt", "Prompt", required=False),
        Part("input", "Input", required=False),
        Part("chosen", "Better answer"),
        Part("rejected", "Worse answer"),
        _SYSTEM,
        _TOOLS,
    ),
    "kto": (
        Part("messages", "Messages that end with the judged answer", required=False),
        Part("prompt", "Prompt", required=False),
        Part("completion", "Judged answer", required=False),
        Part("label", "Judgement (true or false)"),
        _SYSTEM,
        _TOOLS,
    ),
    "text": (Part("text", "Text"),),
    "template": (
        Part("prompt", "Prompt"),
        Part("completion", "Answer"),
        Part("system", "System prompt", required=False),
    ),
}

_PROMPTS = (
    *("prompt", "instruction", "question", "query", "input", "user", "human", "problem"),
    *("dialogue", "dialog", "document", "article", "source", "context", "text", "sentence"),
    *("review", "content", "message", "title"),
)
_ANSWERS = (
    *("completion", "response", "answer", "output", "target", "assistant", "reply", "solution"),
    *("summary", "continuation", "translation", "label", "labels", "category", "class"),
    *("sentiment", "intent"),
)
_ASKING = ("prompt", "instruction", "question", "query")
_SYSTEMS = ("system", "system_prompt")
_TEXTS = ("text", "content", "document", "article", "sentence", "string")
_BETTER_AND_WORSE = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
)
# Columns that hold a conversation even where its turns are bare texts.
_CONVERSATIONS = (
    "messages",
    "conversations",
    "conversation",
    "dialog",
    "dialogue",
    "chat",
    "turns",
)
_JUDGEMENTS = ("label", "kto_tag", "desirable", "is_desirable", "is_good", "good", "thumbs_up")
_NUMBERING = ("id", "index", "idx", "no", "number", "row", "__index_level_0__", "uuid")


@dataclass(frozen=True)
class Detection:
    """What the rows look like. `mapping` may lack a required part: then a person must choose."""

    layout: str
    mapping: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def detect_layout(rows: Sequence[Row]) -> Detection:
    """The layout of `rows` (some 200 are enough), its mapping, and why, in plain words."""
    values = _values_by_path(rows)
    names = {_plain_name(path): path for path in reversed(list(values))}
    for look in (_preference, _judged, _conversation, _alpaca, _pair, _text):
        if found := look(values, names):
            return found
    return _guess(values)


def mapping_choices(rows: Sequence[Row]) -> list[str]:
    """Every column and nested path that a mapping may name, in order of appearance."""
    return list(_values_by_path(rows))


def check_mapping(layout: str, mapping: Mapping[str, str]) -> None:
    """Raises: DataError when a part is unknown or a required one has no column."""
    if layout not in PARTS:
        raise DataError(
            f"There is no layout '{layout}'.",
            "Choose one of " + ", ".join(PARTS) + ".",
            "unknown_layout",
        )
    known = {part.name: part for part in PARTS[layout]}
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise DataError(
            f"The layout {layout} has no part '{unknown[0]}'.",
            "Its parts are " + ", ".join(known) + ".",
            "bad_mapping",
        )
    for part in PARTS[layout]:
        if part.required and not mapping.get(part.name):
            raise DataError(
                f"No column is chosen for '{part.label}' ({part.name}).",
                f"Choose the column for '{part.label}' on the Data tab.",
                "mapping_incomplete",
            )
    if layout == "kto" and not mapping.get("messages") and not mapping.get("completion"):
        raise DataError(
            "No column is chosen for 'Messages' or for 'Judged answer'.",
            "Choose one of both on the Data tab.",
            "mapping_incomplete",
        )
    if layout == "template":
        for part in PARTS[layout]:
            check_row_template(mapping.get(part.name, ""), f"The template for '{part.label}'")


def value_at(row: Row, path: str) -> Any:
    """The value of a column, or of a dotted path into a nested one. Raises: KeyError."""
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(path)
    return value


def _values_by_path(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Values that are not null under each column and each path one or two levels into it."""
    values: dict[str, list[Any]] = {}
    nested: dict[str, list[Any]] = {}
    for row in rows:
        for column, value in row.items():
            seen = values.setdefault(column, [])
            if value is not None:
                seen.append(value)
            for path, inner in _inner(column, value):
                nested.setdefault(path, []).append(inner)
    return values | {path: found for path, found in nested.items() if path not in values}


def _inner(column: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if not turn_style([value]):
            yield from ((f"{column}.0.{key}", item) for key, item in value[0].items())
    elif isinstance(value, dict) and not {"role", "from"} & set(value):
        yield from ((f"{column}.{key}", item) for key, item in value.items() if item is not None)


def _plain_name(path: str) -> str:
    return path.rsplit(".", 1)[-1].strip().lower().replace(" ", "_").replace("-", "_")


def _first(names: Mapping[str, str], wanted: Iterable[str], taken: Iterable[str] = ()) -> str:
    return next((names[name] for name in wanted if name in names and names[name] not in taken), "")


def _with(mapping: dict[str, str], **optional: str) -> dict[str, str]:
    return mapping | {name: path for name, path in optional.items() if path}


def _preference(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    pair = next((p for p in _BETTER_AND_WORSE if p[0] in names and p[1] in names), None)
    if pair is None:
        return None
    chosen, rejected = names[pair[0]], names[pair[1]]
    reason = f"It has columns '{chosen}' and '{rejected}'."
    mapping = {"chosen": chosen, "rejected": rejected}
    if "input.messages" in values:
        more = {"prompt": "input.messages"} | {p: f"input.{p}" for p in ("tools",)}
        return Detection(
            "preference", mapping | {k: v for k, v in more.items() if v in values}, reason
        )
    prompts = ("prompt", "instruction", "question", "query", "conversations", "messages", "input")
    prompt = _first(names, prompts)
    mapping = _with(
        mapping,
        prompt=prompt,
        input=names.get("input", "") if _plain_name(prompt) == "instruction" else "",
        system=_first(names, _SYSTEMS),
        tools=names.get("tools", "") if turn_style(values.get(prompt, [])) else "",
    )
    return Detection("preference", mapping, reason)


def _judged(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    label = next((names[n] for n in _JUDGEMENTS if n in names and _says(values[names[n]])), "")
    if not label:
        return None
    turns = [path for path, found in values.items() if turn_style(found)]
    path = next((p for p in ("messages", "conversations") if p in turns), "")
    tools = _first(names, ("tools", "functions"))
    if path:
        reason = f"'{path}' is a list of turns and '{label}' says whether its end is good."
        return Detection("kto", _with({"messages": path, "label": label}, tools=tools), reason)
    prompt, answer = names.get("prompt", ""), names.get("completion", "")
    if not prompt or not answer:
        return None
    mapping = {"prompt": prompt, "completion": answer, "label": label}
    reason = f"'{label}' says whether '{answer}' is a good answer to '{prompt}'."
    return Detection("kto", _with(mapping, system=_first(names, _SYSTEMS), tools=tools), reason)


def _says(values: Sequence[Any]) -> bool:
    """Whether every value says good or bad, as truth values or as words, not as numbers: a column
    of 0 and 1 is as often a class."""
    words = [str(v).strip().lower() for v in values if isinstance(v, bool | str)]
    said = [word.replace(" ", "_").replace("-", "_") for word in words]
    known = all(word in GOOD | BAD and not word.isdigit() for word in said)
    return bool(said) and len(said) == len(values) and known


def _conversation(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    styles = {path: style for path, found in values.items() if (style := turn_style(found))}
    if not styles:
        return _bare_turns(values, names)
    path = next((p for p in ("messages", "conversations") if p in styles), next(iter(styles)))
    answer = _first(names, _ANSWERS)
    if _plain_name(path) == "prompt" and answer:
        mapping = {"prompt": path, "completion": answer}
        return Detection(
            "prompt_completion", mapping, f"'{path}' holds messages and '{answer}' the answer."
        )
    layout = styles[path]
    part = "messages" if layout == "messages" else "conversations"
    mapping = _with({part: path}, tools=_first(names, ("tools", "functions")))
    if layout == "sharegpt":
        mapping = _with(mapping, system=_first(names, _SYSTEMS))
    return Detection(layout, mapping, f"'{path}' is a list of turns with {_spelled(values[path])}.")


def _spelled(values: Sequence[Any]) -> str:
    """The keys of the first turn, in words."""
    lists = (value for value in values if isinstance(value, list) and value)
    first: dict[str, Any] = next(lists, [{}])[0]
    keys = turn_keys(first)
    return " and ".join(keys if keys else map(str, first)) or "roles"


def _bare_turns(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    path = _first(names, _CONVERSATIONS)
    found = values.get(path, [])
    if not found or not all(isinstance(value, list) and len(value) > 1 for value in found):
        return None
    turns = [turn for value in found for turn in value]
    pairs = [turn for turn in turns if isinstance(turn, list) and len(turn) == 2]
    texts = [text for pair in pairs for text in pair] if pairs else turns
    if not all(isinstance(text, str) for text in texts) or len(pairs) not in (0, len(turns)):
        return None
    what = "pairs of question and answer" if pairs else "texts; the user begins"
    mapping = _with({"conversations": path}, system=_first(names, _SYSTEMS))
    return Detection("sharegpt", mapping, f"'{path}' is a list of {what}.")


def _alpaca(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    output = _first(names, ("output", "response", "answer", "completion", "target"))
    if not output:
        return None
    if "instruction" in names:
        instruction, given = names["instruction"], _first(names, ("input", "context"))
        reason = f"It has columns '{instruction}' and '{output}'."
    elif "context" in names and _first(names, ("question", "query")):
        instruction, given = _first(names, ("question", "query")), names["context"]
        reason = f"'{instruction}' is asked about '{given}', '{output}' answers."
    else:
        return None
    mapping = _with(
        {"instruction": instruction, "output": output},
        input=given,
        system=_first(names, _SYSTEMS),
        history=names.get("history", ""),
    )
    return Detection("alpaca", mapping, reason)


def _pair(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    scalar = {n: p for n, p in names.items() if all(isinstance(v, str | int) for v in values[p])}
    texts = {n: p for n, p in scalar.items() if all(isinstance(v, str) for v in values[p])}
    prompt, completion = _first(texts, _PROMPTS), _first(scalar, _ANSWERS)
    if prompt and not completion and (asking := _first(texts, _ASKING)):
        reason = f"'{asking}' reads like a prompt; no column reads like its answer: choose it."
        return Detection("prompt_completion", {"prompt": asking}, reason)
    if not prompt or not completion:
        return None
    mapping = _with({"prompt": prompt, "completion": completion}, system=_first(names, _SYSTEMS))
    return Detection(
        "prompt_completion", mapping, f"'{prompt}' reads like a prompt, '{completion}' answers it."
    )


def _text(values: dict[str, list[Any]], names: dict[str, str]) -> Detection | None:
    path = _first(names, _TEXTS)
    others = [p for p in _text_columns(values) if p != path]
    if not path or others:
        return None
    return Detection("text", {"text": path}, f"'{path}' is the only column with text.")


def _text_columns(values: dict[str, list[Any]]) -> list[str]:
    """Top-level columns of texts that are no numbering, the longest on average first."""
    lengths = {
        path: sum(map(len, found)) / len(found)
        for path, found in values.items()
        if found and all(isinstance(value, str) for value in found)
        if _plain_name(path) not in _NUMBERING and not all(v.isdigit() for v in found)
    }
    return sorted(lengths, key=lambda path: -lengths[path])


def _guess(values: dict[str, list[Any]]) -> Detection:
    texts = _text_columns(values)
    if not texts:
        return Detection("text", {}, "No column holds text: choose the layout and its columns.")
    if len(texts) == 1:
        return Detection("text", {"text": texts[0]}, f"'{texts[0]}' is the only column with text.")
    names = {_plain_name(path): path for path in reversed(texts)}
    prompt = _first(names, _PROMPTS) or texts[0]
    answer = next(path for path in texts if path != prompt)
    return Detection(
        "prompt_completion",
        {"prompt": prompt, "completion": answer},
        f"A guess from the lengths: '{prompt}' as the prompt, '{answer}' as the answer. "
        "Please check it.",
    )
