"""Running text → rows: lines, paragraphs, Markdown sections, chunks of a size, or the whole file.

Enters: lines with their ends. Leaves: texts, none of them blank, line ends trimmed. Line and
paragraph keep every word in order; a chunk is never longer than its size.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from studio.data.reading_text import refuse_longer

Lines = Callable[[], Iterator[str]]

_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
# The end of a sentence and the blanks behind it; Chinese and Japanese write none.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*")


def cut_text(
    lines: Lines, path: Path, unit: str, chunk_characters: int, notes: list[str]
) -> Iterator[str]:
    """The texts of a file, cut into units; `unit` is one of the recipe's choices."""
    if unit == "document":
        return _document(lines(), path)
    if unit == "section":
        return _sections(lines(), path)
    if unit == "line":
        return _single_lines(lines())
    by_line = splits_by_line(lines)
    if unit == "chunk":
        pieces = _single_lines(lines()) if by_line else _paragraphs(lines(), path)
        return _chunks(pieces, "\n" if by_line else "\n\n", chunk_characters)
    if unit == "auto" and by_line:
        notes.append(f"{path.name} has no blank line: every line is a row.")
        return _single_lines(lines())
    return _paragraphs(lines(), path)


def splits_by_line(lines: Lines) -> bool:
    """Whether a text has no blank line between its first and last written line."""
    written = blank = False
    for line in lines():
        if line.strip() and blank:
            return False
        written = written or bool(line.strip())
        blank = blank or (written and not line.strip())
    return True


def _single_lines(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.strip():
            yield line.rstrip("\r\n")


def _paragraphs(lines: Iterable[str], path: Path) -> Iterator[str]:
    """What stands between blank lines."""
    for paragraph in _groups(lines, lambda line: not line.strip(), path):
        yield "\n".join(line.rstrip("\r\n") for line in paragraph if line.strip())


def _groups(lines: Iterable[str], parts: Callable[[str], bool], path: Path) -> Iterator[list[str]]:
    """Runs of lines, each parted from the next where `parts` says so of a line."""
    group: list[str] = []
    n = 0
    for line in lines:
        if parts(line) and any(one.strip() for one in group):
            yield group
            group, n = [], 0
        group.append(line)
        n += len(line)
        refuse_longer(n, path, "a paragraph")
    if any(one.strip() for one in group):
        yield group


def _document(lines: Iterable[str], path: Path) -> Iterator[str]:
    for whole in _groups(lines, lambda line: False, path):
        yield _text(whole)


def _text(lines: list[str]) -> str:
    """The lines as one text, without blank lines around it."""
    text = "".join(lines).replace("\r\n", "\n")
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def _sections(lines: Iterable[str], path: Path) -> Iterator[str]:
    """A heading with its text; a heading alone goes with the section below it."""
    section: list[str] = []
    only_headings = True
    n = 0
    for line, is_heading in _with_headings(lines):
        if is_heading and not only_headings:
            yield _text(section)
            section, only_headings, n = [], True, 0
        only_headings = only_headings and (is_heading or not line.strip())
        section.append(line)
        n += len(line)
        refuse_longer(n, path, "a section")
    if any(line.strip() for line in section):
        yield _text(section)


def _with_headings(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether a heading stands in it; an underlined heading comes as one piece.

    Code fences and the block of settings between "---" at a file's start hold no heading.
    Source: CommonMark 0.31, sections 4.2, 4.3 and 4.5.
    """
    fence = ""
    settings = False
    held = ""  # a line that an underline may make a heading
    for number, line in enumerate(lines):
        bare = line.rstrip("\r\n")
        opens = _FENCE.match(bare)
        if held and _UNDERLINE.match(bare):
            yield held + line, True
            held = ""
            continue
        if held:
            yield held, False
            held = ""
        if settings:
            settings = bare not in ("", "---", "...")
        elif fence:
            if opens and opens[1].startswith(fence) and not opens[2].strip():
                fence = ""
        elif number == 0 and bare == "---":
            settings = True
        elif opens and not (opens[1][0] == "`" and "`" in opens[2]):
            fence = opens[1]
        elif _HEADING.match(bare):
            yield line, True
            continue
        elif bare.strip() and _may_be_title(bare):
            held = line
            continue
        yield line, False
    if held:
        yield held, False


def _may_be_title(line: str) -> bool:
    """Whether an underline below `line` makes it a heading: no list, quote, table or code."""
    return not re.match(r"(?: {4}|\t| {0,3}(?:[-+*>|]|\d+[.)][ \t]))", line)


def _chunks(pieces: Iterable[str], joint: str, size: int) -> Iterator[str]:
    """Pieces joined as long as they fit; a longer one is cut at sentence ends, else at blanks."""
    chunk = ""
    for piece in pieces:
        for part in _cut(piece, size):
            if chunk and len(chunk) + len(joint) + len(part) <= size:
                chunk += joint + part
            else:
                if chunk:
                    yield chunk
                chunk = part
    if chunk:
        yield chunk


def _cut(text: str, size: int) -> Iterator[str]:
    if len(text) > size:
        text = text.strip()
    start = 0
    while len(text) - start > size:
        # One character more: a blank right behind a piece of full length is an end, too.
        window = text[start : start + size + 1]
        ends = [found.end() for found in _SENTENCE_END.finditer(window)]
        ends = [end for end in ends if len(window[:end].rstrip()) <= size]
        end = ends[-1] if ends else _last_blank(window) or size
        yield text[start : start + end].rstrip()
        start += end
        while start < len(text) and text[start].isspace():
            start += 1
    if start < len(text):
        yield text[start:]


def _last_blank(window: str) -> int:
    """Where the last blank of the window ends; 0 where it has none but at its start."""
    for place in range(len(window) - 1, 0, -1):
        if window[place].isspace():
            return place
    return 0
