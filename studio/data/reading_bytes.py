"""A file → its bytes, unpacked: gzip and zstd are told by their first bytes and streamed.

Enters: a path. Leaves: a binary file to read from, or a refusal of what is not data at all (a
Git LFS pointer, a saved web page, an archive), told by the first bytes inside.
"""

import codecs
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa  # type: ignore[import-untyped]

from studio.errors import DataError

TEXT_SUFFIXES = (".txt", ".md")
SUFFIXES = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow"),
    *(*TEXT_SUFFIXES, ".xlsx"),
)
PACKED_SUFFIXES = (".gz", ".zst")
BLOCK_BYTES = 1 << 20
# More than this in one row, line or cell is no training example: refused before it is in memory.
LONGEST_ROW = 1 << 26

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OTHER_PACKERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}


def kind_of(path: Path) -> str:
    """The ending that says what the file is, without .gz or .zst, in lower case."""
    return _unpacked_name(path).suffix.lower()


def stem_of(path: Path) -> str:
    """The file's name without its endings."""
    return _unpacked_name(path).stem


def _unpacked_name(path: Path) -> Path:
    return Path(path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name)


def is_readable(path: Path) -> bool:
    """Whether the file's name is of a kind the studio reads."""
    return kind_of(path) in SUFFIXES


def is_text_file(path: Path) -> bool:
    """Whether the file is running text, whose rows a person may cut as they like."""
    return kind_of(path) in TEXT_SUFFIXES


def packing_of(path: Path) -> str:
    """ "gzip", "zstd", or "" for a file that is not packed, told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(4)
    return "gzip" if start.startswith(_GZIP) else "zstd" if start == _ZSTD else ""


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked as they are read. Use it inside `damage_refused`."""
    packing = packing_of(path)
    if packing == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if packing == "zstd":
        stream = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return cast(BinaryIO, io.BufferedReader(stream, BLOCK_BYTES))
    return path.open("rb")


@contextmanager
def damage_refused(path: Path) -> Iterator[None]:
    """Turn the errors of opening, reading and unpacking `path` into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file '{path}'.", "Check the name, or upload it again.", "file_not_found"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"'{path.name}' is not a whole gzip file: {error}.",
            "Download or compress it again.",
            "bad_gzip",
        ) from error
    except OSError as error:
        if error.errno is None:  # pyarrow's own: the zstd stream breaks off or is damaged
            raise DataError(
                f"'{path.name}' is not a whole zstd file: {error}.",
                "Download or compress it again.",
                "bad_zstd",
            ) from error
        raise DataError(
            f"'{path.name}' cannot be opened: {error.strerror}.",
            "Check that it is a file you may read.",
            "file_unreadable",
        ) from error


def byte_blocks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes, about a megabyte at a time."""
    with damage_refused(path), open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def read_head(path: Path, n_bytes: int = 4096) -> bytes:
    """The first unpacked bytes; of a damaged gzip or zstd file as much as there is."""
    with damage_refused(path):
        try:
            with open_bytes(path) as file:
                return file.read(n_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            return b"?"
        except OSError as error:
            if error.errno is not None:
                raise
            return b"?"


@contextmanager
def seekable(path: Path) -> Iterator[BinaryIO]:
    """The file for readers that jump about in it; a packed one is unpacked to a temporary file.

    Raises: DataError when the disk has no room for it twice over.
    """
    if not packing_of(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as unpacked:
        room = shutil.disk_usage(tempfile.gettempdir()).free // 2
        for block in byte_blocks(path):
            room -= len(block)
            if room < 0:
                raise DataError(
                    f"'{path.name}' does not fit on the disk when unpacked.",
                    "Free some space, or unpack it elsewhere and bring what is inside.",
                    "disk_full",
                )
            unpacked.write(block)
        unpacked.seek(0)
        yield cast(BinaryIO, unpacked)


def check_kind(path: Path) -> str:
    """The ending of a file the studio reads. Raises: DataError (unknown_format)."""
    kind = kind_of(path)
    if kind not in SUFFIXES:
        raise DataError(
            f"'{path.name}' is not a kind of file the studio reads.",
            "Bring a file ending in " + ", ".join(SUFFIXES) + ", or one of these as .gz or .zst.",
            "unknown_format",
        )
    return kind


def refuse_foreign(path: Path, kind: str, head: bytes) -> None:
    """Raise a DataError where the first bytes are those of something that is not data."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:64].lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(
            f"'{path.name}' is a Git LFS pointer: a note where the data should be, "
            f"{path.stat().st_size} bytes long.",
            "Download the file itself ('git lfs pull', or the page's download button).",
            "lfs_pointer",
        )
    if start.startswith((b"<!doctype html", b"<html")) and kind not in TEXT_SUFFIXES:
        raise DataError(
            f"'{path.name}' is a web page saved under a data file's name.",
            "Open the link in a browser and use the page's download button.",
            "html_page",
        )
    if kind == ".parquet" and head != b"?" and not head.startswith(b"PAR1"):
        raise DataError(
            f"'{path.name}' is not a Parquet file: it does not begin with PAR1.",
            "Export it again, or give it the ending of what it is.",
            "bad_parquet",
        )
    _refuse_archive(path, kind, head)
    if not head.strip():
        raise DataError(f"'{path.name}' is empty.", "Bring a file with rows.", "no_rows")


def _refuse_archive(path: Path, kind: str, head: bytes) -> None:
    if kind == ".xlsx" and head.startswith(_OLE):
        raise DataError(
            f"'{path.name}' is an old .xls workbook, or protected by a password.",
            "Open it, save it as .xlsx without a password, and bring that.",
            "bad_xlsx",
        )
    if kind != ".xlsx" and head.startswith(b"PK\x03\x04"):
        raise DataError(
            f"'{path.name}' is a ZIP archive.", "Unpack it and bring the files.", "zip_archive"
        )
    for mark, packer in _OTHER_PACKERS.items():
        if head.startswith(mark):
            raise DataError(
                f"'{path.name}' is packed with {packer}, which the studio does not unpack.",
                "Unpack it and bring what is inside, or pack it as .gz or .zst.",
                "unknown_format",
            )
