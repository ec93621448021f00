"""What the screen shows of tokens: pieces, lengths, and the findings that need them."""

import json
from pathlib import Path
from typing import Any

from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Conversation, Message, PlainText, Preference
from studio.data.recipe import DatasetRecipe
from studio.text.examples import Encoder, encoder_for
from studio.text.preview import TokenPiece, TokenStatistics, examine, preview, token_statistics
from tests.unit.text_folders import UNMARKED_CHATML, byte_level


def encoder(tmp_path: Path, max_length: int = 512, **config: Any) -> Encoder:
    folder = byte_level(tmp_path / "m", chat_template=UNMARKED_CHATML, **config)
    return encoder_for(folder, DatasetRecipe(), max_length)


def dataset(tmp_path: Path, rows: list[dict[str, Any]]) -> Dataset:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_dataset(DatasetRecipe(files=(str(path),)), tmp_path / "cache")


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


def test_lengths_and_token_findings_of_a_dataset(tmp_path: Path):
    rows = [
        {"prompt": "q", "completion": "a"},  # 23 tokens
        {"prompt": "q", "completion": "a" * 40},
        {"prompt": "q" * 40, "completion": "a"},
        {"prompt": "q", "completion": ""},
        {"prompt": "<|im_start|>", "completion": "a"},
        {"prompt": "q", "completion": "\na"},
    ]

    found = examine(dataset(tmp_path, rows), encoder(tmp_path, max_length=30, pad_token="</s>"))

    assert found.lengths == [23, 62, 62, 23]
    assert found.statistics == TokenStatistics(23, 62, 62, 62, 2, 4)
    assert [(f.code, f.row) for f in found.findings] == [
        ("pad_equals_eos", None),
        ("answer_cut", 2),
        ("nothing_trained", 3),
        ("control_token_in_text", 5),
        ("template_no_prefix", 6),
    ]
    assert "has 62 tokens; its answer is cut at 30" in found.findings[1].message
    assert "begins at token 60, after the maximum length of 30" in found.findings[2].message
    assert found.findings[4].message.startswith("Row 6: The chat template")


def test_tools_and_reasoning_that_a_template_does_not_write_are_told(tmp_path: Path):
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
    ]
    rows = [{"messages": turns, "tools": [{"name": "f"}]}]

    found = examine(dataset(tmp_path, rows), encoder(tmp_path))

    assert [(f.code, f.row) for f in found.findings] == [
        ("tools_not_written", 1),
        ("reasoning_content_not_written", 1),
    ]


def test_many_rows_are_sampled_evenly_and_that_is_said(tmp_path: Path):
    rows = [{"text": "a" * i} for i in range(1, 101)]

    found = examine(dataset(tmp_path, rows), encoder(tmp_path), n_rows=4)

    assert found.lengths == [2, 27, 52, 77]
    assert found.statistics.sampled
    assert [f.code for f in found.findings] == ["sampled"]
    assert "4 of 100 rows" in found.findings[0].message
