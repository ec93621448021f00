"""A checkup's findings as words for findings.js: by kind, the worst first, with the next click.

Enters: the findings of a checkup and how many rows of each kind are left to mend. Leaves: values
that the script draws as text, so that a row can hold anything.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from studio.data.cleaning import RULE_WORDS, clean_row
from studio.data.findings import SEVERITIES, Finding, FindingKind, kind_of
from studio.data.personal_data import personal_items

EXAMPLES = 3
# Severity → the word and the shape that say it.
WORDS = {"bad": ("Mend", "✕"), "look": ("Look", "!"), "note": ("Note", "i")}
_CONTEXT = 48
_LONGEST = 240
_FIRST_STAYS = ("duplicate_row", "near_duplicate", "different_answers")
_SPLIT = ("Open the split", "view:shape")
_TEMPLATE = ("Choose another chat template", "view:reading")
_COLUMNS = ("Check the columns", "view:reading")
# Where a person goes for what no click mends, or to mend it another way: label, place.
PLACES: dict[str, tuple[str, str]] = {
    "missing_column": _COLUMNS,
    "no_messages": _COLUMNS,
    "no_prompt": _COLUMNS,
    "no_answer": _COLUMNS,
    "unknown_role": _COLUMNS,
    "not_text": _COLUMNS,
    "row_template": _COLUMNS,
    "bad_answers": ("Choose another layout", "view:reading"),
    "text_by_line": ("Choose what a row is", "view:reading"),
    "answer_cut": ("Raise the maximum length", "tab:train"),
    "nothing_trained": ("Raise the maximum length", "tab:train"),
    "split_leak": _SPLIT,
    "class_imbalance": ("Balance the rows", "view:shape"),
    "few_rows": ("Add rows", "view:shape"),
    "tools_not_written": _TEMPLATE,
    "reasoning_content_not_written": _TEMPLATE,
    "generation_prompt_differs": _TEMPLATE,
    "no_stop_token": _TEMPLATE,
}


@dataclass(frozen=True)
class Group:
    """All findings of one code: the first ones by row, and how many rows are left to mend."""

    code: str
    findings: tuple[Finding, ...]
    n_rows: int

    @property
    def kind(self) -> FindingKind:
        return kind_of(self.code)


def groups(findings: Sequence[Finding], n_rows: Mapping[str, int]) -> list[Group]:
    """The findings by code, the worst first, then by number of rows; one about all rows counts 0.

    A kind whose rows are all mended (`n_rows` says 0 of it) is left out.
    """
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    found = [
        Group(code, tuple(listed), n_rows.get(code, 0))
        for code, listed in by_code.items()
        if n_rows.get(code, 0) or all(one.row is None for one in listed)
    ]
    return sorted(found, key=lambda g: (SEVERITIES.index(g.kind.severity), -g.n_rows, g.kind.title))


def group_words(group: Group, n_mend: int, n_kept: int) -> dict[str, Any]:
    """One kind of finding as words; `n_mend` rows its click would mend, of `n_kept` in all."""
    kind = group.kind
    word, shape = WORDS[kind.severity]
    by_row = [finding for finding in group.findings if finding.row is not None]
    general = [finding for finding in group.findings if finding.row is None]
    label, place = PLACES.get(group.code, ("", ""))
    return {
        "code": group.code,
        "title": kind.title,
        "why": kind.why,
        "severity": kind.severity,
        "word": word,
        "shape": shape,
        "n_rows": group.n_rows,
        "rows": rows_word(group.n_rows) if group.n_rows else "",
        "said": [] if by_row else [plain(finding.message) for finding in general],
        "examples": [
            {"index": finding.row - 1, "message": plain(finding.message)}
            for finding in by_row[:EXAMPLES]
            if finding.row is not None
        ],
        "fix": plain(group.findings[0].fix),
        "mend": mend_words(group, n_mend, n_kept),
        "place": {"label": label, "to": place} if label else None,
    }


def mend_words(group: Group, n_mend: int, n_kept: int) -> dict[str, str] | None:
    """The button of a kind that a click mends: how it is called and what it will do."""
    mend = group.kind.mend
    rows = rows_word(n_mend)
    if not n_mend or not mend:
        return None
    if mend == "edit":
        first = next(finding.row for finding in group.findings if finding.row is not None)
        return {"by": "edit", "label": f"Edit row {first:,}", "will": "", "row": str(first - 1)}
    if mend == "drop":
        first_stays = " The first of each stays." if group.code in _FIRST_STAYS else ""
        will = f"{n_mend:,} of {rows_word(n_kept)} leave training, {n_kept - n_mend:,} stay."
        return {"by": "drop", "label": f"Remove {rows}", "will": will + first_stays}
    rule = mend.removeprefix("clean:")
    verb = "Redact" if rule == "personal_data" else "Clean"
    done = RULE_WORDS.get(rule, "texts cleaned")
    will = f"{done[:1].upper()}{done[1:]} in {rows}; all other text stays as it is."
    return {"by": "clean", "label": f"{verb} {rows}", "will": will}


def rows_word(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def summary_words(found: Sequence[Group], n_kept: int) -> dict[str, Any]:
    """One line about a whole checkup: kinds to mend, to look at, and notes."""
    counts = {name: sum(g.kind.severity == name for g in found) for name in SEVERITIES}
    rows = rows_word(n_kept)
    if not counts["bad"] and not counts["look"]:
        return {"good": True, "text": f"Nothing to mend in {rows}.", "counts": counts}
    parts = []
    if counts["bad"]:
        parts.append(f"{counts['bad']} to mend")
    if counts["look"]:
        parts.append(f"{counts['look']} to look at")
    return {"good": False, "text": f"{', '.join(parts)} in {rows}.", "counts": counts}


def change_of(row: Mapping[str, Any], rule: str) -> dict[str, Any] | None:
    """Before and after of the first text that a rule changes in a row; None where it changes none.

    Each is pieces of [text, whether it changes], cut around the change. Personal data is never
    written out: before the change stands what tells the item without giving it away.
    """
    pair = _first_pair(dict(row), clean_row(dict(row), rule))
    if pair is None:
        return None
    before, after = pair
    if rule == "personal_data":
        before = masked(before)
    start = _n_shared(before, after)
    end = _n_shared(before[start:][::-1], after[start:][::-1])
    # Whole words on both sides, so that what changes can be read.
    start = len(re.sub(r"\w+$", "", before[:start]))
    end = len(re.sub(r"^\w+", "", before[len(before) - end :]))
    shared = before[:start], before[len(before) - end :]
    pieces = _pieces(before[start : len(before) - end], after[start : len(after) - end])
    return {"before": _framed(shared, pieces[0]), "after": _framed(shared, pieces[1])}


Pieces = list[tuple[str, bool]]


def _pieces(before: str, after: str) -> tuple[Pieces, Pieces]:
    """Both texts in pieces that are the same and pieces that change, word by word."""
    if max(len(before), len(after)) > _LONGEST:
        return [(_shortened(before), True)], [(_shortened(after), True)]
    words = [re.findall(r"\w+|\s+|[^\w\s]", text) for text in (before, after)]
    matcher = SequenceMatcher(None, *words, autojunk=False)
    sides: tuple[Pieces, Pieces] = ([], [])
    for same, *ends in matcher.get_opcodes():
        for side, found, start, end in zip(sides, words, ends[::2], ends[1::2], strict=True):
            if end > start:
                side.append(("".join(found[start:end]), same != "equal"))
    return sides


def _framed(shared: tuple[str, str], pieces: Pieces) -> list[list[Any]]:
    before, behind = shared
    if len(before) > _CONTEXT:
        before = "…" + before[-_CONTEXT:]
    if len(behind) > _CONTEXT:
        behind = behind[:_CONTEXT] + "…"
    framed = [(before, False), *pieces, (behind, False)]
    return [[plain(text), changes] for text, changes in framed if text]


def _shortened(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


def masked(text: str) -> str:
    """The text with personal items as their finding tells them ("j…@example.org")."""
    pieces, end = [], 0
    for item in personal_items(text):
        pieces += [text[end : item.start], item.shown]
        end = item.end
    return "".join([*pieces, text[end:]])


def _first_pair(before: Any, after: Any) -> tuple[str, str] | None:
    if isinstance(before, str):
        return None if before == after else (before, str(after))
    inner: list[tuple[Any, Any]] = []
    if isinstance(before, dict):
        inner = [(value, after[key]) for key, value in before.items()]
    elif isinstance(before, list):
        inner = list(zip(before, after, strict=True))
    found = (_first_pair(one, other) for one, other in inner if one != other)
    return next((pair for pair in found if pair), None)


def _n_shared(one: str, other: str) -> int:
    """Length of the beginning that two texts share."""
    n = min(len(one), len(other))
    return next((i for i in range(n) if one[i] != other[i]), n)


def plain(text: str) -> str:
    """The text with what nobody would see written out: control, zero-width and half characters."""
    return "".join(
        f"‹U+{ord(sign):04X}›"
        if sign not in "\n\t" and unicodedata.category(sign) in _UNSEEN
        else sign
        for sign in text
    )


_UNSEEN = ("Cc", "Cf", "Cs", "Cn", "Co")
