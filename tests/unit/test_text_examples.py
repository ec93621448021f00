"""Ids and labels, token for token: the answer and its stop token are trained, nothing else."""

from pathlib import Path

import pytest

from studio.data.messages import Conversation, Message, PlainText, Preference
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, TemplateError
from studio.text.choice import template_choices
from studio.text.examples import IGNORE_INDEX, Encoder, Example, encoder_for
from studio.text.tokenizer import load_tokenizer
from tests.unit.text_folders import UNMARKED_CHATML, byte_level

MARKED_WITHOUT_STOP = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Drops what was thought in earlier turns, as reasoning models' templates do.
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ 'THINK' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TALK = Conversation(
    (
        Message("system", "S"),
        Message("user", "Q"),
        Message("assistant", "yes é"),
        Message("user", "R"),
        Message("assistant", "no"),
    )
)


def encoder(tmp_path: Path, template: str = "", max_length: int = 512, **recipe) -> Encoder:
    folder = byte_level(tmp_path / "m", **({"chat_template": template} if template else {}))
    return encoder_for(folder, DatasetRecipe(**recipe), max_length)


def trained(encoder: Encoder, example: Example) -> list[str]:
    """The text of each unbroken stretch of trained tokens."""
    stretches: list[list[int]] = []
    before = IGNORE_INDEX
    for token_id, label in zip(example.input_ids, example.labels, strict=True):
        assert label in (IGNORE_INDEX, token_id)
        if label != IGNORE_INDEX:
            if before == IGNORE_INDEX:
                stretches.append([])
            stretches[-1].append(label)
        before = label
    return [encoder.tokenizer.decode(ids) for ids in stretches]


@pytest.mark.parametrize(
    ("template", "origin"),
    [
        ("", "'chatml' from the gallery, because the model brings none and knows <|im_start|>"),
        (UNMARKED_CHATML, "the model's own"),
        (MARKED_WITHOUT_STOP, "the model's own"),
    ],
    ids=["gallery", "prefix", "marks"],
)
@pytest.mark.parametrize(
    ("train_on", "expected"),
    [
        ("all_answers", ["yes é<|im_end|>", "no<|im_end|>"]),
        ("last_answer", ["no<|im_end|>"]),
    ],
)
def test_answers_with_their_stop_token_are_trained_by_marks_and_by_prefixes(
    tmp_path: Path, template: str, origin: str, train_on: str, expected: list[str]
):
    made = encoder(tmp_path, template, train_on=train_on)

    example = made.encode_one(TALK)

    assert made.template_origin == origin
    assert trained(made, example) == expected
    assert made.tokenizer.decode(example.input_ids) == made.render(TALK)


def test_chatml_labels_token_for_token(tmp_path: Path):
    made = encoder(tmp_path, UNMARKED_CHATML)
    example = made.encode_one(Conversation((Message("user", "hell"), Message("assistant", "he a"))))

    tokens = [made.tokenizer.token(i) for i in example.input_ids]
    assert tokens == [
        *("<|im_start|>", "u", "s", "e", "r", "Ċ", "hell", "<|im_end|>", "Ċ"),
        *("<|im_start|>", "a", "s", "s", "i", "s", "t", "a", "n", "t", "Ċ"),
        *("he", "Ġa", "<|im_end|>", "Ċ"),
    ]
    kept = example.input_ids[20:23]
    assert example.labels == [*[IGNORE_INDEX] * 20, *kept, IGNORE_INDEX]


CALL = Message(
    "assistant",
    "",
    ({"type": "function", "function": {"name": "f", "arguments": {"x": 1}}},),
)


def test_chatml_trains_tool_calls_and_other_templates_refuse_them(tmp_path: Path):
    talk = Conversation((Message("user", "Q"), CALL))
    made = encoder(tmp_path)
    assert trained(made, made.encode_one(talk)) == [
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>'
    ]

    for template in ("plain", "alpaca"):
        with pytest.raises(TemplateError) as caught:
            encoder(tmp_path, chat_template=template).encode_one(talk)
        assert caught.value.code == "template_tool_calls"


def test_everything_is_trained_when_asked(tmp_path: Path):
    made = encoder(tmp_path, UNMARKED_CHATML, train_on="everything")
    example = made.encode_one(TALK)
    assert example.labels == example.input_ids


def test_the_prompt_of_chat_is_the_beginning_of_the_example(tmp_path: Path):
    for template in ("", UNMARKED_CHATML, MARKED_WITHOUT_STOP):
        made = encoder(tmp_path, template)
        prompt = made.prompt_ids(TALK.messages[:-1])
        example = made.encode_one(TALK)
        assert example.input_ids[: len(prompt)] == prompt
        assert example.labels[len(prompt)] == example.input_ids[len(prompt)]
        assert example.labels[len(prompt) - 1] == IGNORE_INDEX


def test_a_template_that_rewrites_the_past_is_refused_but_for_the_last_answer(tmp_path: Path):
    with pytest.raises(TemplateError) as caught:
        encoder(tmp_path, FORGETFUL).encode_one(TALK)
    assert caught.value.code == "template_no_prefix"
    assert "Train on the last answer only" in caught.value.fix

    made = encoder(tmp_path, FORGETFUL, train_on="last_answer")
    assert trained(made, made.encode_one(TALK)) == ["THINKno<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "code"), [(UNMARKED_CHATML, "template_no_prefix"), ("", "template_half_token")]
)
def test_an_answer_that_begins_inside_a_token_is_refused(tmp_path: Path, template: str, code: str):
    talk = Conversation((Message("user", "Q"), Message("assistant", "\nA")))
    with pytest.raises(TemplateError) as caught:
        encoder(tmp_path, template).encode_one(talk)
    assert caught.value.code == code


def test_a_long_example_is_cut_at_the_maximum_length(tmp_path: Path):
    whole = encoder(tmp_path).encode_one(TALK)
    cut = encoder(tmp_path, max_length=30).encode_one(TALK)
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:30], whole.labels[:30])
    assert (whole.truncated, cut.truncated) == (False, True)


@pytest.mark.parametrize("adds_bos", [True, False])
def test_plain_text_is_trained_whole_and_ends_with_eos(tmp_path: Path, adds_bos: bool):
    folder = byte_level(tmp_path / "m", adds_bos=adds_bos)
    made = encoder_for(folder, DatasetRecipe(), 512)

    example = made.encode_one(PlainText("he"))

    tokens = [made.tokenizer.token(i) for i in example.input_ids]
    assert tokens == (["<s>"] if adds_bos else []) + ["he", "</s>"]
    assert example.labels == example.input_ids


def test_a_preference_has_one_prompt_and_two_stopped_answers(tmp_path: Path):
    for template in ("", UNMARKED_CHATML):
        made = encoder(tmp_path, template)
        user = Message("user", "Q")
        pair = made.encode_preference(
            Preference((user,), (Message("assistant", "yes"),), (Message("assistant", "n"),))
        )
        assert pair.prompt_ids == made.prompt_ids((user,))
        decoded = [made.tokenizer.decode(ids) for ids in (pair.chosen_ids, pair.rejected_ids)]
        assert decoded == ["yes<|im_end|>", "n<|im_end|>"]
        assert trained(made, pair.chosen) == ["yes<|im_end|>"]
        assert pair.rejected.input_ids == pair.prompt_ids + pair.rejected_ids


def test_a_preference_is_cut_at_the_maximum_length(tmp_path: Path):
    made = encoder(tmp_path, max_length=22)
    pair = made.encode_preference(
        Preference(
            (Message("user", "Q"),), (Message("assistant", "yes"),), (Message("assistant", "n"),)
        )
    )
    assert len(pair.prompt_ids) + len(pair.chosen_ids) == 22
    assert pair.truncated


def test_stop_tokens_are_eos_the_models_own_and_the_end_of_a_turn(tmp_path: Path):
    folder = byte_level(tmp_path / "m", chat_template=UNMARKED_CHATML)
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    (folder / "config.json").write_text('{"eos_token_id": 8}')

    made = encoder_for(folder, DatasetRecipe(), 512)

    assert made.stop_ids == {7, 8, made.tokenizer.id_of("</s>"), made.tokenizer.id_of("<|im_end|>")}


def test_a_model_without_chatmls_tokens_gets_the_plain_template_and_says_so(tmp_path: Path):
    folder = byte_level(tmp_path / "m", specials=("<s>", "</s>"))
    made = encoder_for(folder, DatasetRecipe(), 512)

    assert made.template_origin == "'plain' from the gallery, because the model brings none"
    assert trained(made, made.encode_one(TALK)) == ["yes é</s>", "no</s>"]
    assert template_choices(load_tokenizer(folder)) == [
        *("llama-2", "zephyr", "alpaca", "vicuna", "plain"),
    ]


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (("<|im_start|>", "<|im_end|>"), "chatml"),
        (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "llama-3"),
        (("<start_of_turn>", "<end_of_turn>"), "gemma"),
        (("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"), "deepseek"),
        (("<|user|>", "<|assistant|>", "<|end|>"), "phi"),
        (("[INST]", "[/INST]"), "mistral"),
    ],
)
def test_a_model_without_a_template_gets_the_one_whose_tokens_it_knows(
    tmp_path: Path, tokens: tuple[str, ...], name: str
):
    folder = byte_level(tmp_path / "m", specials=("<s>", "</s>", *tokens))
    made = encoder_for(folder, DatasetRecipe(), 512)
    assert made.template_origin == (
        f"'{name}' from the gallery, because the model brings none and knows {tokens[0]}"
    )
    [first, second] = trained(made, made.encode_one(TALK))
    assert ("yes é" in first, "no" in second) == (True, True)


def test_the_recipes_template_wins(tmp_path: Path):
    named = encoder(tmp_path, UNMARKED_CHATML, chat_template="plain")
    own = encoder(tmp_path, UNMARKED_CHATML, chat_template="{{ messages[0].content }}")
    assert named.template_origin == "'plain' from the gallery"
    assert own.template_origin == "written in the recipe"
    assert own.render(TALK) == "S"


@pytest.mark.parametrize(
    ("wanted", "error", "code", "hint"),
    [
        ("chatmi", ConfigError, "unknown_template", "Did you mean chatml?"),
        ("llama-3", TemplateError, "template_tokens", "chatml, qwen, llama-2"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(
    tmp_path: Path, wanted: str, error: type, code: str, hint: str
):
    with pytest.raises(error) as caught:
        encoder(tmp_path, chat_template=wanted)
    assert (caught.value.code, hint in caught.value.fix) == (code, True)


def test_templates_without_a_default_ask_for_a_choice(tmp_path: Path):
    given = [{"name": "rag", "template": "R"}]
    folder = byte_level(tmp_path / "m", chat_template=given)
    with pytest.raises(TemplateError) as caught:
        encoder_for(folder, DatasetRecipe(), 512)
    assert caught.value.code == "template_no_default"
