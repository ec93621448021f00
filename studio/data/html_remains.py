"""Remains of web pages in a text: tags that only lay out, and entities; never code samples.

Known layout tags go, `<br>` and block tags become line breaks, entities become their characters.
Text inside ``` fences and `code` stays, so does everything that is no layout tag: generics
(`List<T>`), comparisons (`a < b`), XML of one's own (`<answer>`), control tokens (`<s>`), and
`<sup>`, `<sub>`, whose meaning plain text would lose.
"""

import re
from html import unescape

_BLOCK = (
    "address|article|aside|blockquote|caption|center|dd|div|dl|dt|figcaption|figure|footer|form|h1|"
    "h2|h3|h4|h5|h6|header|hr|li|nav|ol|p|pre|table|tbody|td|tfoot|th|thead|tr|ul"
)
_INLINE = "abbr|acronym|b|big|em|font|i|img|ins|nobr|noscript|small|span|strike|strong|tt|u|wbr"
_ATTRIBUTES = r"(?:\s+[\w:-]+(?:\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+))?)*"
# Names of one or two letters, and those that people use for marks of their own, are tags only
# with an attribute, or where the text also has the closing tag.
_SHORT = frozenset(
    "address article b big caption center dd dl dt em figure footer form header i li ol p pre "
    "small strong table td th tr tt u ul".split()
)
_TAG = re.compile(rf"</?({_BLOCK}|{_INLINE})({_ATTRIBUTES})\s*/?>", re.IGNORECASE)
_LINK = re.compile(r"<a\s[^<>]*>|</a\s*>", re.IGNORECASE)
_LINK_OPENS = re.compile(r"<a\s[^<>]*>", re.IGNORECASE)
_BREAK = re.compile(r"(?<![ \t])[ \t]*+(?:<br\s*/?>(?:[ \t]*\n)?|</br>)", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
_BLANK_LINES = re.compile(r"\n{3,}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ANGLES = frozenset({"<", ">"})
_BLOCK_NAMES = frozenset(_BLOCK.split("|"))
# Nested like <<b>b>: more passes than this is no remains of a page.
_PASSES = 8

# Texts about markup: what looks like remains is their subject.
_ABOUT_MARKUP = re.compile(
    r"\b(?:html5?|xhtml|xml|svg|css|jsx|tsx|markdown|javascript|typescript|react|angular|vue|php|"
    r"web ?pages?|web ?sites?|beautifulsoup|jinja|templates?|tags?)\b"
    r"|<!doctype|<html|<script|<style|<body|<head\b|网页|标签|ウェブ",
    re.IGNORECASE,
)


def without_html(text: str) -> str:
    """The text without layout tags and entities; applying it again changes nothing."""
    if "<" not in text and "&" not in text:
        return text
    parts = _CODE.split(text) if "`" in text or "~~~" in text else [text]
    # Every second part is code.
    parts[::2] = [_plain(part) for part in parts[::2]]
    return "".join(parts)


def is_about_markup(text: str) -> bool:
    """Whether a conversation speaks of web pages or markup, so that tags belong to it."""
    return bool(_ABOUT_MARKUP.search(text))


def first_remain(text: str) -> str:
    """The first tag or entity that `without_html` takes out, "" where it changes nothing."""
    if without_html(text) == text:
        return ""
    outside = " ".join(_CODE.split(text)[::2])
    pairs = _pairs(outside)
    patterns = (_COMMENT, _BREAK, _LINK, _TAG, _ENTITY)
    found = [
        match
        for pattern in patterns
        for match in pattern.finditer(outside)
        if pattern is not _TAG or _is_tag(match, pairs)
    ]
    return min(found, key=lambda match: match.start())[0].strip() if found else ""


def _plain(text: str) -> str:
    stripped = text
    if "<" in text:
        for _ in range(_PASSES):
            before, stripped = stripped, _without_tags(stripped)
            if stripped == before:
                break
    if stripped != text:
        # Only the ends that the text had itself: a page's outer tags leave none.
        start, end = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
        stripped = start + _BLANK_LINES.sub("\n\n", stripped.strip()) + end
    if "&" not in stripped:
        return stripped
    decoded = _decoded(stripped, keep_angles=False)
    if _without_tags(decoded) == decoded:
        return decoded
    # The text shows tags as entities ("use &lt;br&gt;"): decoding would make them real ones.
    decoded = _decoded(stripped, keep_angles=True)
    return decoded if _without_tags(decoded) == decoded else stripped


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _COMMENT.sub("", text)
    text = _BREAK.sub("\n", text)
    if _LINK_OPENS.search(text):
        text = _LINK.sub("", text)
    pairs = _pairs(text)
    return _TAG.sub(
        lambda match: _instead(match, text) if _is_tag(match, pairs) else match[0], text
    )


def _pairs(text: str) -> set[str]:
    """Names of the tags that the text both opens and closes."""
    opened: set[str] = set()
    closed: set[str] = set()
    for match in _TAG.finditer(text):
        (closed if match[0].startswith("</") else opened).add(match[1].lower())
    return opened & closed


def _is_tag(match: re.Match[str], pairs: set[str]) -> bool:
    name = match[1].lower()
    return name not in _SHORT or bool(match[2]) or name in pairs or match[0].lower() == "</p>"


def _instead(match: re.Match[str], text: str) -> str:
    """What stands in a tag's place: a line break for a block, with no second one beside it."""
    name, closes = match[1].lower(), match[0].startswith("</")
    if name not in _BLOCK_NAMES or name in ("td", "th") and closes:
        return ""
    before, after = match.start() - 1, match.end()
    while before >= 0 and text[before] in " \t":
        before -= 1
    while after < len(text) and text[after] in " \t":
        after += 1
    if before < 0 or after == len(text) or "\n" in (text[before], text[after]):
        return ""
    return " " if name in ("td", "th") else "\n"


def _decoded(text: str, keep_angles: bool) -> str:
    def decode(match: re.Match[str]) -> str:
        character = unescape(match[0])
        kept = keep_angles and set(character) & _ANGLES
        # Control characters and halves of characters are no text; NBSP is a blank.
        if kept or not character.isprintable() and character not in "\n\t\u00a0\u00ad":
            return match[0]
        return " " if character == "\u00a0" else character.replace("\u00ad", "")

    for _ in range(_PASSES):
        before, text = text, _ENTITY.sub(decode, text)
        if text == before:
            break
    return text
