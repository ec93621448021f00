"""How files spell a turn: the keys for who speaks and for what is said, the names of roles, and
the words for good and bad."""

import json
from collections.abc import Sequence
from typing import Any

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "claude": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
CALLING_ROLES = ("function_call", "tool_call")

# How a column says that an answer is good, or bad; true/false and numbers as their text.
GOOD = frozenset(
    ("true", "1", "1.0", "yes", "good", "desirable", "chosen", "preferred", "positive")
    + ("thumbs_up", "up", "like", "👍")
)
BAD = frozenset(
    ("false", "0", "0.0", "-1", "-1.0", "no", "bad", "undesirable", "rejected", "negative")
    + ("thumbs_down", "down", "dislike", "👎")
)

# Every pair of these may spell a turn: {"from": "human", "value": "…"}.
ROLE_KEYS = ("role", "from", "speaker", "author", "sender", "user")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance")
# These two pairs mean turns whatever the roles are called.
_SURE = (("role", "content"), ("from", "value"))


def parsed_json(text: str) -> Any:
    """The value of a JSON text, the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def role_of(said: Any) -> str | None:
    """The role that a file calls `said`, None when it is unknown."""
    return ROLES.get(plain_role(said))


def plain_role(said: Any) -> str:
    """A role's name as `ROLES` lists it: "Human:" is "human"."""
    return said.strip().lower().rstrip(":").rstrip() if isinstance(said, str) else ""


def turn_keys(turn: dict[str, Any]) -> tuple[str, str] | None:
    """The keys for role and content of a turn, None when it is not written that way. Content may
    be missing beside tool calls."""
    for role in ROLE_KEYS:
        if role not in turn:
            continue
        for content in CONTENT_KEYS:
            if content in turn:
                return role, content
        if role in ("role", "from"):
            return role, "content"
    return None


def sides(turn: dict[str, Any]) -> list[tuple[str, Any]]:
    """(role as written, text) of a turn that has one key a role: {"human": "…", "gpt": "…"}.

    The question comes before its answer, whatever the order of the keys.
    """
    order = ("system", "user", "assistant", "tool")
    given = [(key, text) for key, text in turn.items() if role_of(key) and text is not None]
    return sorted(given, key=lambda side: order.index(ROLES[plain_role(side[0])]))


def turn_style(values: Sequence[Any]) -> str:
    """'messages' for lists of role/content, 'sharegpt' for lists of turns spelled otherwise, else
    ''. Lists may stand as JSON text in a cell."""
    values = [
        parsed_json(value) if isinstance(value, str) and value.lstrip()[:1] == "[" else value
        for value in values
    ]
    lists = [value for value in values if isinstance(value, list) and value]
    turns = [turn for value in lists[:50] for turn in value]
    if not lists or len(lists) < len(values) / 2 or not all(isinstance(t, dict) for t in turns):
        return ""
    if all("role" in turn and _has_messages_content(turn) for turn in turns):
        return "messages"
    return "sharegpt" if _is_spelled(turns) or _is_sided(turns) else ""


def _has_messages_content(turn: dict[str, Any]) -> bool:
    return bool({"content", "tool_calls", "function_call"} & set(turn))


def _is_spelled(turns: list[dict[str, Any]]) -> bool:
    found = {turn_keys(turn) for turn in turns}
    if None in found:
        return False
    if all(keys in _SURE for keys in found):
        return all("from" not in turn or "value" in turn for turn in turns)
    # Less usual keys must come with roles that are known.
    return all(role_of(turn[keys[0]]) for turn in turns if (keys := turn_keys(turn)))


def _is_sided(turns: list[dict[str, Any]]) -> bool:
    roles = {role_of(key) for turn in turns for key in turn} - {None}
    each = all(
        (given := sides(turn)) and all(isinstance(text, str) for _, text in given) for turn in turns
    )
    return each and {"user", "assistant"} <= roles
