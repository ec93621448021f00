"""What the screen shows of tokens: pieces, lengths, and the findings that need them."""

from pathlib import Path
from typing import Any

from studio.data.messages import Conversation, Message, PlainText, Preference
from studio.data.recipe import DatasetRecipe
from studio.text.examples import Encoder, encoder_for
from studio.text.preview import TokenPiece, TokenStatistics, preview, token_statistics
from tests.unit.text_folders import UNMARKED_CHATML, byte_level


def encoder(tmp_path: Path, max_length: int = 512, **config: Any) -> Encoder:
    folder = byte_level(tmp_path / "m", chat_template=UNMARKED_CHATML, **config)
    return encoder_for(folder, DatasetRecipe(), max_length)


def test_pieces_add_up_to_the_text_and_carry_the_labels(tmp_path: Path):
    made = encoder(tmp_path)
    talk = Conversation((Message("user", "hell"), Message("assistant", "é")))

    shown = preview(talk, made)

    assert "".join(piece.text for piece in shown.tokens) == shown.text == made.render(talk)
    assert shown.tokens[6:8] == [
        TokenPiece("hell", 259, False, False),
        TokenPiece("<|im_end|>", 264, False, True),
    ]
    assert [piece.text for piece in shown.tokens if piece.trained] == ["é", "", "<|im_end|>"]
    example = made.encode_one(talk)
    assert (shown.input_ids, shown.labels) == (example.input_ids, example.labels)
    assert (shown.n_trained, shown.truncated) == (3, False)
    assert shown.messages == list(talk.messages)


def test_a_cut_row_shows_only_what_is_trained_on(tmp_path: Path):
    shown = preview(PlainText("hello hell"), encoder(tmp_path, max_length=2))
    assert [piece.text for piece in shown.tokens] == ["hell", "o"]
    # Nothing predicts the first token.
    assert (shown.n_trained, shown.truncated) == (1, True)


def test_an_end_token_that_is_not_in_the_text_is_shown_by_its_name(tmp_path: Path):
    shown = preview(PlainText("hell"), encoder(tmp_path))
    assert shown.tokens[-1] == TokenPiece("</s>", 262, True, True)


def test_a_preference_shows_its_better_answer(tmp_path: Path):
    pair = Preference(
        (Message("user", "Q"),), (Message("assistant", "yes"),), (Message("assistant", "no"),)
    )
    shown = preview(pair, encoder(tmp_path))
    assert "".join(piece.text for piece in shown.tokens if piece.trained) == "yes<|im_end|>"


def test_statistics_are_nearest_ranks():
    assert token_statistics(range(1, 101), 90) == TokenStatistics(50, 95, 99, 100, 10, 100)
    assert token_statistics([7], 7) == TokenStatistics(7, 7, 7, 7, 0, 1)
    assert token_statistics([], 7) == TokenStatistics()
