"""A folder's tokenizer files become ids, offsets, special tokens and templates."""

import json
from pathlib import Path

import pytest

from studio.errors import ModelError
from studio.text.tokenizer import load_tokenizer
from tests.unit.text_folders import byte_level


def test_ids_offsets_and_text_belong_together(tmp_path: Path):
    tokenizer = load_tokenizer(byte_level(tmp_path / "m"))

    tokens = tokenizer.encode("hell é<|im_end|>")

    assert [tokenizer.token(i) for i in tokens.ids] == ["hell", "Ġ", "Ã", "©", "<|im_end|>"]
    assert tokens.offsets == [(0, 4), (4, 5), (5, 6), (5, 6), (6, 16)]
    assert tokenizer.decode(tokens.ids) == "hell é<|im_end|>"
    assert tokenizer.decode(tokens.ids, skip_special_tokens=True) == "hell é"
    assert [tokens.span(i) for i in range(5)] == tokens.offsets
    batch = tokenizer.encode_batch(["hell é<|im_end|>", ""])
    assert [(one.ids, one.offsets) for one in batch] == [(tokens.ids, tokens.offsets), ([], [])]


def test_the_first_token_from_a_character_on(tmp_path: Path):
    tokens = load_tokenizer(byte_level(tmp_path / "m")).encode("hell é<|im_end|>")
    # hell, blank, two bytes of é, the end of a turn; inside a token the next one counts.
    assert [tokens.first_from(i) for i in (0, 1, 4, 5, 6, 7, 15, 16, 99)] == [
        *(0, 1, 1, 2, 4, 5, 5, 5, 5),
    ]


def test_a_token_put_behind_the_text_stands_at_its_end(tmp_path: Path):
    tokens = load_tokenizer(byte_level(tmp_path / "m")).encode("he").ended(262, 2)
    assert (tokens.ids, tokens.offsets, tokens.span(1)) == ([257, 262], [(0, 2), (2, 2)], (2, 2))


def test_bos_is_added_only_where_the_tokenizer_adds_it(tmp_path: Path):
    with_bos = load_tokenizer(byte_level(tmp_path / "with", adds_bos=True))
    without = load_tokenizer(byte_level(tmp_path / "without"))

    bos = with_bos.id_of("<s>")
    assert (with_bos.first_ids, without.first_ids) == ([bos], [])
    assert with_bos.encode("a", add_special_tokens=True).ids[0] == bos
    assert with_bos.encode("a").ids == without.encode("a", add_special_tokens=True).ids


def test_special_tokens_come_with_their_ids(tmp_path: Path):
    tokenizer = load_tokenizer(byte_level(tmp_path / "m", pad_token={"content": "<s>"}))

    assert tokenizer.special_tokens == {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<s>"}
    assert tokenizer.special_id("pad_token") == tokenizer.id_of("<s>") == 261
    assert tokenizer.special_id("mask_token") is None
    assert tokenizer.special_ids == {261, 262, 263, 264}
    assert tokenizer.n_tokens == 265


def test_tokens_named_only_in_the_configuration_are_added(tmp_path: Path):
    folder = byte_level(tmp_path / "m", pad_token="<pad>", extra_special_tokens=["<|tool|>"])
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("<|tool|><pad>").ids == [266, 265]
    assert {265, 266} <= tokenizer.special_ids


def test_a_special_tokens_map_counts_where_the_configuration_has_no_decoder(tmp_path: Path):
    folder = byte_level(tmp_path / "m")
    (folder / "special_tokens_map.json").write_text('{"eos_token": {"content": "<|im_end|>"}}')
    assert load_tokenizer(folder).special_tokens["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize(
    ("given", "file", "expected"),
    [
        (None, None, {}),
        ("A", None, {"default": "A"}),
        ([{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}], None,
         {"default": "A", "tool_use": "B"}),
        ("A", "F", {"default": "F"}),
    ],
)  # fmt: skip
def test_chat_templates_come_from_file_or_configuration(tmp_path: Path, given, file, expected):
    folder = byte_level(tmp_path / "m", chat_template=given)
    if file:
        (folder / "chat_template.jinja").write_text(file)
    assert load_tokenizer(folder).templates == expected


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path: Path):
    folder = byte_level(tmp_path / "m")
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["truncation"] = {
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    assert len(load_tokenizer(folder).encode("abcdef").ids) == 6


def test_a_changed_file_is_read_again(tmp_path: Path):
    folder = byte_level(tmp_path / "m")
    assert load_tokenizer(folder) is load_tokenizer(folder)
    before = load_tokenizer(folder)
    byte_level(folder, chat_template="X")
    assert before.templates == {}
    assert load_tokenizer(folder).templates == {"default": "X"}


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("tokenizer.model", "x", "tokenizer_missing", "has only tokenizer.model"),
        ("vocab.json", "{}", "tokenizer_missing", "has only vocab.json"),
        ("other.txt", "x", "tokenizer_missing", "has no tokenizer, no tokenizer.json"),
        ("tokenizer.json", '{"model"', "tokenizer_damaged", "not valid JSON"),
        ("tokenizer.json", "{}", "tokenizer_damaged", "no vocabulary"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_refused(
    tmp_path: Path, name: str, content: str, code: str, message: str
):
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError) as caught:
        load_tokenizer(tmp_path)
    assert (caught.value.code, message in caught.value.message) == (code, True)
    assert caught.value.fix
