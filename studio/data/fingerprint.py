"""A file's SHA-256, and whether it is UTF-8 text: both from one reading, remembered while it stays.

What is remembered belongs to a path, a size and a time of change.
"""

import codecs
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from studio.data.reading_bytes import BLOCK_BYTES, damage_refused

_REMEMBERED = 4096
_Key = tuple[str, int, int]
_known: dict[_Key, "Fingerprint"] = {}


@dataclass(frozen=True)
class Fingerprint:
    """`is_utf8`: the bytes as they stand are UTF-8 text without a NUL."""

    sha256: str
    is_utf8: bool


def fingerprint(path: Path) -> Fingerprint:
    """The file's fingerprint. Raises: DataError when there is no such file."""
    key = _key(path)
    if key not in _known:
        digest, check = hashlib.sha256(), Utf8Check()
        with damage_refused(path), path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                check.feed(block)
        _remember(key, Fingerprint(digest.hexdigest(), check.passed()))
    return _known[key]


def remember_copy(path: Path, copy: Path) -> None:
    """`copy` has just been made of `path`: it need not be read to know its fingerprint."""
    _remember(_key(copy), fingerprint(path))


class Utf8Check:
    """Whether bytes fed block by block are UTF-8 text without a NUL."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._failed = False

    def feed(self, block: bytes) -> None:
        """Take the next block; nothing is looked at any more after the first failure."""
        if self._failed:
            return
        try:
            self._decoder.decode(block)
        except UnicodeDecodeError:
            self._failed = True
        self._failed = self._failed or b"\0" in block

    def passed(self) -> bool:
        """Whether all of it was; call it once, at the end."""
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
        return not self._failed


def is_utf8(blocks: Iterable[bytes]) -> bool:
    """Whether the blocks together are UTF-8 text without a NUL."""
    check = Utf8Check()
    for block in blocks:
        check.feed(block)
    return check.passed()


def _key(path: Path) -> _Key:
    with damage_refused(path):
        stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


def _remember(key: _Key, found: Fingerprint) -> None:
    _known[key] = found
    while len(_known) > _REMEMBERED:
        _known.pop(next(iter(_known)), None)
