"""Tokens → text while they come: only whole characters leave, and the pieces add up to the text.

No torch here: `decode` is the tokenizer's.
"""

from collections.abc import Callable, Sequence

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class IncrementalDecoder:
    """Decodes one token at a time with enough context for spaces and multi-byte characters.

    A tokenizer drops a leading space only at the start of what it decodes, so each piece is the
    difference of two decodings that start at the same earlier token.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0
        self._end = 0

    def add(self, token_id: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        self._ids.append(token_id)
        piece, text = self._piece()
        # Bytes that are no character are held too, until a whole one follows: what was given out
        # is then always the beginning of the whole text.
        if text.endswith(_UNFINISHED):
            return ""
        self._start, self._end = self._end, len(self._ids)
        return piece

    def finish(self) -> str:
        """What is still held, without a character that was cut in the middle."""
        piece, _ = self._piece()
        self._start = self._end = len(self._ids)
        return piece.rstrip(_UNFINISHED)

    def _piece(self) -> tuple[str, str]:
        before = self._decode(self._ids[self._start : self._end])
        text = self._decode(self._ids[self._start :])
        return text[len(before) :], text
