"""Checks of one row's texts: what does not belong there, and what should not be learned.

A finding that a cleaning rule mends is found exactly where that rule would change the text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from studio.data.cleaning import clean_text
from studio.data.findings import Finding
from studio.data.html_remains import first_remain, is_about_markup
from studio.data.messages import PlainText, Sample
from studio.data.personal_data import SECRETS, personal_items
from studio.data.refusals import refusal_in
from studio.data.spoken import all_turns, texts_of

# What some row of a dataset may hold: (place in words, text).
Texts = Sequence[tuple[str, str]]

# All control characters but tab and line breaks: what no text needs.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def text_findings(sample: Sample, number: int) -> Iterator[Finding]:
    """What is wrong with the texts of one row, one finding of a kind; `number` counts from 1."""
    texts = texts_of(sample)
    whole = "\n".join(text for _, text in texts)
    if _CONTROL.search(whole):
        yield from _found(texts, number, "control_characters", _control)
    if not whole.isascii():
        yield from _found(texts, number, "mojibake", _mojibake)
        yield from _found(texts, number, "invisible_characters", _invisible)
    if ("<" in whole or "&" in whole) and not is_about_markup(whole):
        yield from _found(texts, number, "html", _html)
    if "{{" in whole:
        yield from _placeholder(texts, number)
    yield from _personal(texts, number)
    if not isinstance(sample, PlainText):
        yield from _answers(sample, number)


_FIXES = {
    "control_characters": "Take them out: nothing else of the text changes.",
    "mojibake": "Restore the characters, or bring the file again in the right encoding.",
    "invisible_characters": "Take them out: what is seen stays the same.",
    "html": "Take tags and entities out; block tags become line breaks.",
}


def _found(texts: Texts, number: int, kind: str, look: Callable[[str], str]) -> Iterator[Finding]:
    """One finding for the first place where `look` says what is wrong."""
    for place, text in texts:
        if problem := look(text):
            yield Finding(kind, number, f"Row {number}: {place} {problem}.", _FIXES[kind])
            return


def _control(text: str) -> str:
    found = _CONTROL.findall(text)
    if not found:
        return ""
    signs = "a control character" if len(found) == 1 else f"{len(found):,} control characters"
    return f"has {signs} (U+{ord(found[0]):04X})"


def _mojibake(text: str) -> str:
    if text.isascii() or (mended := clean_text(text, "mojibake")) == text:
        return ""
    before, after = text.split(), mended.split()
    pairs = zip(before, after, strict=False)
    one, other = next(((a, b) for a, b in pairs if a != b), (text[:20], mended[:20]))
    return f"has broken characters: '{_short(one)}' was '{_short(other)}'"


def _invisible(text: str) -> str:
    if text.isascii() or (mended := clean_text(text, "zero_width")) == text:
        return ""
    lost = (
        sign for sign in text if not sign.isprintable() and text.count(sign) > mended.count(sign)
    )
    sign = next(lost, "")
    name = unicodedata.name(sign, "").lower() if sign else ""
    n = len(text) - len(mended)
    signs = "an invisible character" if n == 1 else f"{n:,} invisible characters"
    return f"has {signs}" + (f" (U+{ord(sign):04X}, {name})" if name else "")


def _html(text: str) -> str:
    if clean_text(text, "html") == text:
        return ""
    remain = first_remain(text)
    return f"has remains of HTML: {_short(remain)}" if remain else "has remains of HTML"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


# {{name}}: two letters and more, for formulas and formats double their braces too.
_PLACEHOLDER = re.compile(r"(?<![\w\\}{])\{\{ ?[A-Za-z_][\w -]{1,30}\}\}(?!\})")
_ABOUT_TEMPLATES = re.compile(
    r"\b(?:jinja|templat|placeholder|handlebars|mustache|liquid|angular|vue|django|ansible|helm|"
    r"yaml|html|workflow|latex|f-?string|go\b)|```|\\\\?(?:frac|text|mathbf)",
    re.IGNORECASE,
)


def _placeholder(texts: Texts, number: int) -> Iterator[Finding]:
    """Names in double braces that somebody meant to fill in."""
    if any(_ABOUT_TEMPLATES.search(text) for _, text in texts):
        return
    for place, text in texts:
        if match := _PLACEHOLDER.search(text):
            yield Finding(
                "placeholder",
                number,
                f"Row {number}: {place} has {match[0]}, which nobody filled in.",
                "Replace it in the file, or edit the row.",
            )
            return


def _personal(texts: Texts, number: int) -> Iterator[Finding]:
    """Personal data, and keys apart from it: what a person must do about them differs."""
    given: dict[str, list[str]] = {}
    for place, text in texts:
        items = personal_items(text)
        if items and clean_text(text, "personal_data") != text:
            for item in items:
                code = "secret" if item.kind in SECRETS else "personal_data"
                given.setdefault(code, []).append(f"{_one(item.kind)} ({item.shown}) in {place}")
    for code, found in given.items():
        more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
        fix = "Redact it: each is replaced by a word such as [EMAIL]."
        if code == "secret":
            fix = "Redact it, and make the key invalid where it was issued."
        yield Finding(code, number, f"Row {number} has {found[0]}{more}.", fix)


def _one(kind: str) -> str:
    return f"an {kind}" if kind[0] in "eI" else f"a {kind}"


def _answers(sample: Sample, number: int) -> Iterator[Finding]:
    refused = loose = False
    for place, message in all_turns(sample):
        if message.role != "assistant" or not message.content.strip():
            continue
        if not refused and place != "the worse answer" and (words := refusal_in(message.content)):
            refused = True
            yield Finding(
                "refusal",
                number,
                f"Row {number}: {place} refuses: '{_short(words)}'.",
                "Remove the row, or write the answer that you want.",
            )
        if not loose and message.content != message.content.strip():
            loose = True
            yield Finding(
                "whitespace",
                number,
                f"Row {number}: {place} begins or ends with blanks or line breaks.",
                "Take them out: the words stay the same.",
            )
