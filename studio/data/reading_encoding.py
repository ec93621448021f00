"""Which encoding a text file is in: UTF-8, what its byte-order mark says, or one older encoding.

A file is read in an older encoding only when all of it decodes so, its lines with letters beyond
ASCII read like a language, and none of them is UTF-8 already; everything else is refused with
line and column. What was decided is a note for the person.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.data.fingerprint import fingerprint, is_utf8
from studio.data.reading_bytes import LONGEST_ROW, byte_blocks, packing_of, read_head
from studio.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python's codec: the name people know. Tried in this order where two fit equally well.
_OLDER = {
    "cp1252": "Windows-1252",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp1253": "Windows-1253",
    "cp1254": "Windows-1254",
    "cp1255": "Windows-1255",
    "cp1256": "Windows-1256",
    "cp1257": "Windows-1257",
    "cp874": "Windows-874",
    "iso8859_2": "ISO 8859-2",
    "koi8_r": "KOI8-R",
    "gb18030": "GB 18030",
    "big5": "Big5",
    "cp932": "Shift-JIS",
    "euc_jp": "EUC-JP",
    "cp949": "EUC-KR",
    "mac_roman": "Mac Roman",
    "cp850": "DOS 850",
    "cp866": "DOS 866",
}
_TWO_BYTE = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
# In these, two letters never look like one UTF-8 character in real text.
_WESTERN = ("cp1252", "mac_roman", "cp850")
# Letters and signs of Western European text; õ only beside ã, or it is Hungarian.
_WESTERN_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôöøùúûüÿŒœ")
_WESTERN_SIGNS = frozenset("\xa0‘’“”–—…•€£¥¢©®™°±«»‹›¿¡§¶†·×½¼¾´²³µ")
# Signs within words are letters of another encoding (Polish ł is ³ in Windows-1252).
_SIGN_IN_WORD = re.compile(r"[^\W\d_][¿¡±¶¼¾½£¥§³²][^\W\d_]|[£¥²³][^\W\d_]")
_SAMPLE_BYTES = 1 << 18
# One line in so many may look like UTF-8 by chance where the older encoding is not Western.
_CHANCE_LINES = 20
_UTF8_CHARACTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


@dataclass(frozen=True)
class Encoding:
    """Python's codec name, and a note in words where the file is not plain Unicode."""

    codec: str
    note: str = ""


@dataclass
class _Survey:
    """What a look at every line beyond ASCII found; `first_*` is the first that is not UTF-8."""

    first_number: int = 0
    first_line: bytes = b""
    n_utf8: int = 0
    n_other: int = 0
    n_mixed: int = 0
    breaks_off: bool = False
    sample: bytearray = field(default_factory=bytearray)


def text_encoding(path: Path) -> Encoding:
    """The encoding of a text file.

    Raises: DataError with line and column where it has none, or two, or holds NUL bytes.
    """
    start = read_head(path, 4)
    for mark, codec in _MARKS:
        if start.startswith(mark) and codec != "utf-8-sig":
            return Encoding(codec)
    plain = is_utf8(byte_blocks(path)) if packing_of(path) else fingerprint(path).is_utf8
    if plain:
        return Encoding("utf-8-sig")
    survey = _survey(path)
    for codec in _candidates(survey):
        if _all_decodes(path, codec):
            return Encoding(codec, f"{path.name} is read as {_OLDER[codec]}.")
    raise _refusal(path, survey)


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for block in byte_blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_ROW:  # a document in one line: look at it in pieces
            yield rest
            rest = b""
    yield rest


def _survey(path: Path) -> _Survey:
    survey = _Survey()
    for number, line in enumerate(_lines(path), 1):
        survey.breaks_off = False
        if b"\0" in line:
            raise _nul(path, number, line)
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            survey.n_other += 1
            survey.n_mixed += bool(_UTF8_CHARACTER.search(line))
            survey.breaks_off = error.reason == "unexpected end of data"
            if not survey.first_number:
                survey.first_number, survey.first_line = number, line
            if len(survey.sample) < _SAMPLE_BYTES:
                survey.sample += line[:4096] + b"\n"
        else:
            survey.n_utf8 += 1
    return survey


def _candidates(survey: _Survey) -> list[str]:
    """Encodings that the lines which are not UTF-8 read like, the likeliest first."""
    if survey.n_other == 1 and survey.breaks_off:
        return []  # a UTF-8 file cut within its last character
    sample = bytes(survey.sample)
    if survey.n_utf8 or survey.n_mixed:
        if survey.n_utf8 * _CHANCE_LINES > survey.n_other:
            return []
        return [codec for codec in _guesses(sample) if codec not in _WESTERN]
    return ["cp1252"] if _is_western(sample) else _guesses(sample)


def _is_western(sample: bytes) -> bool:
    """Whether the sample reads as Western European words in Windows-1252.

    A word or two are enough for that; every other encoding needs more text to be told.
    """
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = {c for c in text if ord(c) > 127}
    letters = _WESTERN_LETTERS | (set("õÕ") if beyond & set("ãÃ") else set())
    words = "".join(word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii())
    n_beyond = sum(ord(c) > 127 for c in words)
    return (
        beyond <= letters | _WESTERN_SIGNS
        and 2 * n_beyond <= len(words)
        and not _SIGN_IN_WORD.search(text)
    )


def _guesses(sample: bytes) -> list[str]:
    """What charset-normalizer makes of the sample; nothing where it cannot tell."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  (only for files not in UTF-8)

    matches = from_bytes(sample, cp_isolation=list(_OLDER), preemptive_behaviour=False)
    best = matches.best()
    if best is None:
        return []
    equal = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    codecs_of = {codec for match in equal for codec in match.could_be_from_charset}
    if len(equal) > 1 and not best.coherence:
        readings = {str(match) for match in equal}
        strong = [m for m in equal if _reads_in_pairs(sample, m.encoding)]
        if not strong and len(readings) > 1:
            return []
        codecs_of = {strong[0].encoding} if strong else codecs_of
    return [codec for codec in _OLDER if codec in codecs_of]


def _reads_in_pairs(sample: bytes, codec: str) -> bool:
    """Whether a two-byte encoding takes nearly all bytes beyond ASCII in pairs."""
    if codec not in _TWO_BYTE:
        return False
    beyond = sample.translate(None, bytes(range(128)))
    characters = sum(ord(c) > 127 for c in sample.decode(codec, "replace"))
    return len(beyond) >= 16 and characters < 0.65 * len(beyond)


def _all_decodes(path: Path, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for block in byte_blocks(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _nul(path: Path, number: int, line: bytes) -> DataError:
    column = len(line[: line.index(b"\0")].decode("utf-8", "replace")) + 1
    return DataError(
        f"'{path.name}', line {number}, column {column}: a NUL byte, which no text has; the file "
        "is damaged, not text, or UTF-16 without its mark.",
        "Download it again, or save it as UTF-8.",
        "wrong_encoding",
    )


def _refusal(path: Path, survey: _Survey) -> DataError:
    line = survey.first_line
    start = 0
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    column = len(line[:start].decode("utf-8")) + 1
    guess = line.decode("cp1252", errors="replace")[max(start - 12, 0) : start + 12]
    mixed = " Other lines are UTF-8: two encodings are mixed." if survey.n_utf8 else ""
    return DataError(
        f"'{path.name}', line {survey.first_number}, column {column}: byte 0x{line[start]:02X} is "
        f"not UTF-8 text (as Windows-1252 it would read '…{guess.strip()}…').{mixed}",
        "Save the file as UTF-8 (in Excel: 'CSV UTF-8') and bring it again.",
        "wrong_encoding",
    )
