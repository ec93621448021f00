"""Rules that mend texts: each takes a text and gives the mended one, the same on every machine.

A recipe names the rule and the rows (`Edit` of kind clean); the texts are mended when read.
"""

import re
from collections.abc import Callable
from typing import Any

from studio.errors import DataError

Row = dict[str, Any]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")


def without_control_characters(text: str) -> str:
    """The text without control characters (tab and line break stay) and half surrogates."""
    return _CONTROL.sub("", text)


RULES: dict[str, Callable[[str], str]] = {"control_characters": without_control_characters}


def clean_row(row: Row, rule: str) -> Row:
    """The row with every text in it mended. Raises: DataError for an unknown rule."""
    if rule not in RULES:
        raise DataError(
            f"The recipe cleans rows by a rule '{rule}' that this version does not know.",
            "Open it with the version that made it, or undo this change on the Data tab.",
            "unknown_rule",
        )
    return {name: _cleaned(value, RULES[rule]) for name, value in row.items()}


def _cleaned(value: Any, rule: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return rule(value)
    if isinstance(value, list):
        return [_cleaned(item, rule) for item in value]
    if isinstance(value, dict):
        return {key: _cleaned(item, rule) for key, item in value.items()}
    return value
