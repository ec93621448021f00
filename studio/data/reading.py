"""Files → rows: one reader for each format, and a refusal with place and reason for the rest.

Enters: a path. Leaves: rows as dicts, streamed. Places in messages are lines and columns of the
file, counted from 1. What is not the format its name says (a Git LFS pointer, a saved web page,
a Parquet file called .json) is told apart by its first bytes.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from studio.data.reading_json import read_json, read_json_lines, read_json_or_lines
from studio.data.reading_tables import read_delimited, read_parquet, read_workbook
from studio.errors import DataError

Row = dict[str, Any]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".xlsx")
_TEXT_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one file, in order.

    Raises: DataError with the file, the place in it and the reason when it cannot be read.
    """
    suffix = _suffix(path)
    head = _head(path)
    _refuse_foreign(path, suffix, head)
    if head.startswith(b"PAR1"):
        return read_parquet(path)
    if suffix == ".xlsx":
        return read_workbook(path)
    if suffix in (".csv", ".tsv"):
        return read_delimited(path, text_lines(path), "\t" if suffix == ".tsv" else None)
    if suffix in (".txt", ".md"):
        return ({"text": text} for text in read_paragraphs(path))
    return _read_any_json(path, suffix)


def _read_any_json(path: Path, suffix: str) -> Iterator[Row]:
    def lines() -> Iterator[str]:
        return text_lines(path)

    if suffix == ".json":
        return read_json_or_lines(path, lines)
    first = next((line for line in lines() if line.strip()), "").strip()
    if first.startswith("[") or first == "{":
        return read_json(path, "".join(lines()))
    return read_json_lines(path, lines())


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        raise DataError(
            f"'{path.name}' is not a kind of file the studio reads.",
            "Bring a file ending in " + ", ".join(SUFFIXES) + ".",
            "unknown_format",
        )
    return suffix


def _head(path: Path) -> bytes:
    try:
        with _open_bytes(path) as file:
            return file.read(4096)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        with path.open("rb") as raw:
            return raw.read(4096)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file '{path}'.", "Check the name, or upload it again.", "file_not_found"
        ) from error
    except OSError as error:
        raise DataError(
            f"'{path.name}' cannot be opened: {error.strerror}.",
            "Check that it is a file you may read.",
            "file_unreadable",
        ) from error


def _refuse_foreign(path: Path, suffix: str, head: bytes) -> None:
    start = head.lstrip(codecs.BOM_UTF8).lstrip()[:64].lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(
            f"'{path.name}' is a Git LFS pointer: a note where the data should be, "
            f"{path.stat().st_size} bytes long.",
            "Download the file itself ('git lfs pull', or the page's download button).",
            "lfs_pointer",
        )
    if start.startswith((b"<!doctype html", b"<html")) and suffix not in (".txt", ".md"):
        raise DataError(
            f"'{path.name}' is a web page saved under a data file's name.",
            "Open the link in a browser and use the page's download button.",
            "html_page",
        )
    if suffix == ".parquet" and not head.startswith(b"PAR1"):
        raise DataError(
            f"'{path.name}' is not a Parquet file: it does not begin with PAR1.",
            "Export it again, or give it the ending of what it is.",
            "bad_parquet",
        )
    if suffix != ".xlsx" and head.startswith(b"PK\x03\x04"):
        raise DataError(
            f"'{path.name}' is a ZIP archive.", "Unpack it and bring the files.", "zip_archive"
        )
    if not head.strip():
        raise DataError(f"'{path.name}' is empty.", "Bring a file with rows.", "no_rows")


def _open_bytes(path: Path) -> BinaryIO:
    gz = path.suffix.lower() == ".gz"
    return cast(BinaryIO, gzip.open(path, "rb")) if gz else path.open("rb")


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their line ends; UTF-8, or UTF-16/32 with its mark.

    utf-8-sig: Excel writes a byte-order mark that would become part of the first column's name.
    Raises: DataError naming line and column of the first byte that is not UTF-8.
    """
    try:
        with _open_bytes(path) as file:
            encoding = _encoding(file.read(4))
            file.seek(0)
            if encoding == "utf-8-sig":
                yield from _utf8_lines(path, file)
            else:
                yield from io.TextIOWrapper(file, encoding=encoding, newline="\n")
    except UnicodeError as error:
        raise DataError(
            f"'{path.name}' begins like {encoding} text but breaks off: {error}.",
            "Save it as UTF-8 and bring it again.",
            "wrong_encoding",
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"'{path.name}' is not a whole gzip file: {error}.",
            "Download or compress it again.",
            "bad_gzip",
        ) from error


def _encoding(start: bytes) -> str:
    for mark, encoding in _TEXT_BOMS:
        if start.startswith(mark):
            return encoding
    return "utf-8-sig"


def _utf8_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    for number, raw in enumerate(file, 1):
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode("utf-8")) + 1
            guess = raw.decode("cp1252", errors="replace")[max(column - 12, 0) : column + 12]
            raise DataError(
                f"'{path.name}', line {number}, column {column}: byte 0x{raw[error.start]:02X} is "
                f"not UTF-8 text (as Windows-1252 it would read '…{guess.strip()}…').",
                "Save the file as UTF-8 (in Excel: 'CSV UTF-8') and bring it again.",
                "wrong_encoding",
            ) from error


def read_paragraphs(path: Path) -> Iterator[str]:
    """Paragraphs, parted by blank lines; where the file has no blank line, its lines."""
    by_line = splits_by_line(lambda: text_lines(path))
    paragraph: list[str] = []
    for line in text_lines(path):
        if line.strip():
            paragraph.append(line.rstrip("\r\n"))
        if paragraph and (by_line or not line.strip()):
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def splits_by_line(lines: Callable[[], Iterator[str]]) -> bool:
    """Whether a text has no blank line between its first and last written line."""
    written = blank = False
    for line in lines():
        if line.strip() and blank:
            return False
        written = written or bool(line.strip())
        blank = blank or (written and not line.strip())
    return True
