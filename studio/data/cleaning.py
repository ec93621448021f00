"""Rules that mend texts: each takes a text and gives the mended one, the same on every machine.

A recipe names the rule and the rows (`Edit` of kind clean); the texts are mended when read. A rule
applied twice changes nothing the second time. A text that is JSON as a whole (turns or tools kept
in a text column) is mended inside, so that it stays JSON.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from studio.data.html_remains import without_html
from studio.data.personal_data import redacted
from studio.errors import DataError

Row = dict[str, Any]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Blanks of no width are how these scripts part words: Thai to Burmese, Khmer.
_PARTED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# Joiners shape letters of these scripts, and build one emoji of several.
_JOINED = (
    "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\u200d\u2600-\u27bf\ufb50-\ufdff\ufe0f"
    "\ufe70-\ufefc\U0001f000-\U0001faff"
)
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u2060-\u2064\u206a-\u206f\ufeff]"
    f"|(?<![{_PARTED}])\u200b+(?![{_PARTED}])"
    f"|(?<![{_JOINED}])[\u200c\u200d]+"
    # Letters that nobody sees; a flag (U+1F3F4) spells its country in them.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)
_INVISIBLE_OR_DIRECTION = re.compile(f"{_INVISIBLE.pattern}|[{_DIRECTION}]")
_BLANKS = r"[ \t\u00a0\u3000]"
# Begins only at the first of several blanks: else a long run of them takes quadratic time.
_LINE_ENDS = re.compile(rf"(?<!{_BLANKS}){_BLANKS}++(?=\r?\n)")
_BLANK_LINES = re.compile(r"(\r?\n)(?:\r?\n){3,}")


def without_control_characters(text: str) -> str:
    """The text without control characters (tab and line break stay) and half surrogates."""
    return _CONTROL.sub("", text)


def without_mojibake(text: str) -> str:
    """The text read in the right encoding where it was read in a wrong one; nothing else changes.

    Source: ftfy 6.3 (Speer), its steps for encodings alone; quotes, ligatures, widths, line ends
    and normal forms stay.
    """
    if text.isascii():
        return text
    fix, config = _ftfy()
    # Line by line, for ftfy decides by line; twice, for some text was broken twice.
    return "".join(_settled(line, fix, config) for line in text.splitlines(keepends=True))


_PASSES = 4


def _settled(line: str, fix: Callable[..., str], config: object) -> str:
    if line.isascii():
        return line
    for _ in range(_PASSES):
        before, line = line, fix(line, config)
        if line == before:
            break
    return line


@lru_cache(maxsize=1)
def _ftfy() -> tuple[Callable[..., str], object]:
    from ftfy import TextFixerConfig, fix_text_segment  # noqa: PLC0415  (tables: 50 ms)

    return fix_text_segment, TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
    )


def without_invisible(text: str) -> str:
    """The text without zero-width characters and marks that turn its direction.

    What a script needs stays: joiners in Arabic, Indic scripts and emoji, blanks of no width in
    Thai, Khmer and Burmese, direction marks in texts with right-to-left letters.
    """
    if text.isascii():
        return text
    pattern = _INVISIBLE if _RTL.search(text) else _INVISIBLE_OR_DIRECTION
    for _ in range(_PASSES):
        before, text = text, pattern.sub("", text)
        if text == before:
            break
    return text


def without_loose_blanks(text: str) -> str:
    """The text without blanks at its ends and its lines' ends, and at most two blank lines."""
    return _BLANK_LINES.sub(r"\1\1\1", _LINE_ENDS.sub("", text.strip()))


RULES: dict[str, Callable[[str], str]] = {
    "control_characters": without_control_characters,
    "mojibake": without_mojibake,
    "zero_width": without_invisible,
    "html": without_html,
    "personal_data": redacted,
    "whitespace": without_loose_blanks,
}
# What a rule does, for the list of changes: "12 rows mended: <words>".
RULE_WORDS: dict[str, str] = {
    "control_characters": "control characters taken out",
    "mojibake": "broken characters restored",
    "zero_width": "invisible characters taken out",
    "html": "remains of HTML taken out",
    "personal_data": "personal data and keys redacted",
    "whitespace": "blanks at the ends taken out",
}


def clean_row(row: Row, rule: str) -> Row:
    """The row with every text in it mended. Raises: DataError for an unknown rule."""
    if rule not in RULES:
        raise DataError(
            f"The recipe cleans rows by a rule '{rule}' that this version does not know.",
            "Open it with the version that made it, or undo this change on the Data tab.",
            "unknown_rule",
        )
    return {name: _cleaned(value, RULES[rule]) for name, value in row.items()}


def clean_text(text: str, rule: str) -> str:
    """One text mended, as `clean_row` mends it."""
    return str(_cleaned(text, RULES[rule]))


def _cleaned(value: Any, rule: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return _cleaned_json(value, rule) if value[:1] in ("[", "{") else rule(value)
    if isinstance(value, list):
        return [_cleaned(item, rule) for item in value]
    if isinstance(value, dict):
        return {key: _cleaned(item, rule) for key, item in value.items()}
    return value


def _cleaned_json(text: str, rule: Callable[[str], str]) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return rule(text)
    cleaned = _cleaned(value, rule)
    return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)
