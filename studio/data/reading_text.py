"""A text file → decoded chunks and lines, in its own encoding, streamed.

Old Mac files, whose lines end in a carriage return alone, are read as if they ended in "\\n".
"""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.data.reading_bytes import LONGEST_ROW, byte_blocks
from studio.errors import DataError


def text_chunks(path: Path, codec: str) -> Iterator[str]:
    """The text, about a megabyte at a time, without its byte-order mark.

    Raises: DataError where a UTF-16 or UTF-32 file breaks off.
    """
    decoder = codecs.getincrementaldecoder(codec)()
    old_mac: bool | None = None
    try:
        for block in byte_blocks(path):
            text = decoder.decode(block)
            if old_mac is None:
                old_mac = "\r" in text[:-1] and "\n" not in text
            if text:
                yield text.replace("\r", "\n") if old_mac else text
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise DataError(
            f"'{path.name}' begins like {codec} text but breaks off: {error}.",
            "Save it as UTF-8 and bring it again.",
            "wrong_encoding",
        ) from error


def text_lines(path: Path, codec: str) -> Iterator[str]:
    """The lines with their line ends. Raises: DataError for a line beyond `LONGEST_ROW`."""
    yield from lines_of(text_chunks(path, codec), path)


def lines_of(chunks: Iterable[str], path: Path) -> Iterator[str]:
    """The lines of a text that comes in chunks, with their line ends ("\\n" parts them)."""
    rest, number = "", 1
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line + "\n"
        number += len(lines)
        refuse_longer(len(rest), path, f"line {number}")
    if rest:
        yield rest


def utf8_lines(path: Path, codec: str) -> Iterator[bytes]:
    """The lines as UTF-8 bytes without their line ends, the last one too where it is empty."""
    if codec == "utf-8-sig":
        blocks = byte_blocks(path)
    else:
        blocks = (chunk.encode() for chunk in text_chunks(path, codec))
    rest, number = b"", 1
    old_mac: bool | None = None
    for block in blocks:
        if old_mac is None:
            old_mac = b"\r" in block[:-1] and b"\n" not in block
        if old_mac:
            block = block.replace(b"\r", b"\n")
        *lines, rest = (rest + block).split(b"\n")
        if number == 1 and lines:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        yield from lines
        number += len(lines)
        refuse_longer(len(rest), path, f"line {number}")
    yield rest.removeprefix(codecs.BOM_UTF8) if number == 1 else rest


def refuse_longer(n: int, path: Path, place: str) -> None:
    """Raise a DataError where `n` characters are more than a row may have."""
    if n > LONGEST_ROW:
        raise DataError(
            f"'{path.name}', {place} is longer than {LONGEST_ROW:,} characters, too long for a "
            "row.",
            "Cut it into rows, or for running text choose smaller rows ('chunk').",
            "row_too_long",
        )
