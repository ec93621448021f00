"""Tokens → text while they come: pieces of whole characters that add up."""

from collections.abc import Sequence

import pytest

from studio.engine.chat.decoding import IncrementalDecoder


def decode_bytes(ids: Sequence[int]) -> str:
    """A byte-level tokenizer's decode: every id is a byte."""
    return bytes(ids).decode("utf-8", errors="replace")


WORDS = ["▁the", "▁cat", "s", "▁", "▁sat"]


def decode_words(ids: Sequence[int]) -> str:
    """A SentencePiece-style decode: the leading space of what is decoded is dropped."""
    return "".join(WORDS[i] for i in ids).replace("▁", " ").removeprefix(" ")


def pieces_of(ids: Sequence[int], decoder: IncrementalDecoder) -> list[str]:
    return [*(decoder.add(token_id) for token_id in ids), decoder.finish()]


def test_a_character_of_several_bytes_comes_whole() -> None:
    pieces = pieces_of("né€🦊!".encode(), IncrementalDecoder(decode_bytes))
    assert pieces == ["n", "", "é", "", "", "€", "", "", "", "🦊", "!", ""]


def test_a_character_that_is_cut_at_the_end_is_left_out() -> None:
    assert pieces_of("ab€".encode()[:-1], IncrementalDecoder(decode_bytes)) == [
        "a",
        "b",
        "",
        "",
        "",
    ]


def test_spaces_between_words_stay_and_the_first_is_dropped_as_in_the_whole() -> None:
    pieces = pieces_of([0, 1, 2, 3, 4], IncrementalDecoder(decode_words))
    assert pieces == ["the", " cat", "s", " ", " sat", ""]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_any_bytes_add_up_to_the_whole_text(seed: int) -> None:
    ids = [(seed * 97 + i * i * 31 + i * 7) % 256 for i in range(200)]
    whole = decode_bytes(ids)
    joined = "".join(pieces_of(ids, IncrementalDecoder(decode_bytes)))
    assert joined == whole.rstrip("\N{REPLACEMENT CHARACTER}")
