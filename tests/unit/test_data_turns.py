"""Every common spelling of a turn is read exactly, with its role, calls, reasoning and weight."""

from typing import Any

import pytest

from studio.data.layouts import detect_layout
from studio.data.messages import Conversation, Message, to_sample
from studio.data.spellings import ROLES, turn_style
from studio.errors import DataError

USER, ANSWER = Message("user", "q"), Message("assistant", "a")
CALL = ({"type": "function", "function": {"name": "f", "arguments": {"x": 1}}},)


def read(turns: Any, layout: str = "sharegpt") -> tuple[Message, ...]:
    part = "messages" if layout == "messages" else "conversations"
    sample = to_sample({"c": turns}, layout, {part: "c"}, 118)
    assert isinstance(sample, Conversation)
    return sample.messages


def refused(turns: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(turns, "messages")
    return caught.value


PAIRS = [
    ("role", "content", "messages"),
    ("from", "value", "sharegpt"),
    ("role", "value", "sharegpt"),
    ("from", "content", "sharegpt"),
    ("from", "text", "sharegpt"),
    ("role", "text", "sharegpt"),
    ("role", "message", "sharegpt"),
    ("speaker", "text", "sharegpt"),
    ("speaker", "utterance", "sharegpt"),
    ("speaker", "value", "sharegpt"),
    ("author", "content", "sharegpt"),
    ("sender", "text", "sharegpt"),
    ("user", "text", "sharegpt"),
]


@pytest.mark.parametrize(("who", "what", "layout"), PAIRS)
@pytest.mark.parametrize("column", ["messages", "conversations", "conversation", "dialog", "chat"])
def test_a_pair_of_keys_is_detected_and_read(who: str, what: str, layout: str, column: str):
    rows = [{"id": "7", column: [{who: "user", what: "q"}, {who: "assistant", what: "a"}]}] * 3

    found = detect_layout(rows)

    assert found.layout == layout
    assert list(found.mapping.values()) == [column]
    assert found.reason == f"'{column}' is a list of turns with {who} and {what}."
    sample = to_sample(rows[0], found.layout, found.mapping, 1)
    assert sample == Conversation((USER, ANSWER))


@pytest.mark.parametrize("user", ["user", "human", "prompter", "User", "HUMAN", "Human:", " user "])
@pytest.mark.parametrize(
    "assistant",
    [
        *("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "bard", "bing", "claude"),
        *("Assistant", "GPT", "ChatGPT", "Assistant:"),
    ],
)
def test_roles_of_user_and_assistant(user: str, assistant: str):
    assert read([{"from": user, "value": "q"}, {"from": assistant, "value": "a"}]) == (USER, ANSWER)


@pytest.mark.parametrize(
    ("said", "role"),
    [
        *((name, "system") for name in ("system", "developer", "System")),
        *((name, "tool") for name in ("tool", "function", "observation", "ipython")),
        *((name, "tool") for name in ("function_response", "tool_response", "Observation")),
    ],
)
def test_roles_of_system_and_tool(said: str, role: str):
    turns = [{"role": said, "content": "x"}, {"role": "assistant", "content": "a"}]
    assert read(turns)[0] == Message(role, "x")


def test_every_role_is_one_of_four():
    assert set(ROLES.values()) == {"system", "user", "assistant", "tool"}


@pytest.mark.parametrize(
    ("user", "assistant"),
    [("human", "assistant"), ("human", "gpt"), ("user", "assistant"), ("user", "bot"),
     ("User", "Model")],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_turns_with_a_key_for_each_side(user: str, assistant: str, turned: bool):
    turn = {user: "q", assistant: "a"}
    turn = dict(reversed(turn.items())) if turned else turn
    rows = [{"conversation": [{"system": "S", **turn}, {**turn, "turn": 2}]}] * 2

    found = detect_layout(rows)

    assert (found.layout, found.mapping) == ("sharegpt", {"conversations": "conversation"})
    sample = to_sample(rows[0], found.layout, found.mapping, 1)
    assert sample == Conversation((Message("system", "S"), USER, ANSWER, USER, ANSWER))


def test_turns_of_one_side_each_and_null_for_the_other():
    turns = [{"human": "q", "gpt": None}, {"human": None, "gpt": "a"}]
    assert detect_layout([{"chat": [{"human": "q"}, {"gpt": "a"}]}]).layout == "sharegpt"
    assert read(turns) == read([{"human": "q"}, {"gpt": "a"}]) == (USER, ANSWER)


@pytest.mark.parametrize("column", ["conversation", "conversations", "dialog", "dialogue", "turns"])
@pytest.mark.parametrize("turns", [["q", "a", "q", "a"], [["q", "a"], ["q", "a"]]])
def test_bare_texts_and_pairs_alternate(column: str, turns: list[Any]):
    found = detect_layout([{column: turns}])
    assert (found.layout, found.mapping) == ("sharegpt", {"conversations": column})
    assert read(turns) == (USER, ANSWER, USER, ANSWER)


def test_turns_as_json_text_in_a_cell_are_detected():
    text = '[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]'
    found = detect_layout([{"c": text}])
    assert (found.layout, found.mapping) == ("sharegpt", {"conversations": "c"})
    assert to_sample({"c": text}, found.layout, found.mapping, 1) == Conversation((USER, ANSWER))


@pytest.mark.parametrize(
    "values",
    [
        [[{"speaker": "Anna", "text": "x"}]],
        [[{"input": "x", "output": "y"}]],
        [[{"question": "x", "answer": "y"}]],
        [[{"model": "x", "score": 1}]],
        [["x", {"role": "user", "content": "y"}]],
        [[], None],
        ["[1, 2]"],
        [{"role": "user", "content": "x"}],
    ],
)
def test_other_lists_are_no_turns(values: list[Any]):
    assert turn_style(values) == ""


def test_tool_calls_in_every_form():
    bare = {"name": "f", "arguments": {"x": 1}}
    text = '{"name": "f", "arguments": "{\\"x\\": 1}"}'
    message = Message("assistant", "", CALL)
    for turn in (
        {"role": "assistant", "content": None,
         "tool_calls": [{"type": "function", "function": bare}]},
        {"role": "assistant", "tool_calls": [bare]},
        {"role": "assistant", "tool_calls": '[{"name": "f", "arguments": {"x": 1}}]'},
        {"role": "assistant", "content": None,
         "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"from": "function_call", "value": text},
        {"from": "tool_call", "value": text},
        {"role": "assistant", "tool_calls": [{"name": "f", "parameters": {"x": 1}}]},
    ):  # fmt: skip
        assert read([{"role": "user", "content": "q"}, turn]) == (USER, message), turn


def test_an_openai_fine_tuning_row_is_read_whole():
    row = {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "q", "name": "ada"},
            {"role": "assistant", "content": "no", "weight": 0},
            {"role": "user", "content": "q"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": '{"x": 1}'}},
            {"role": "function", "name": "f", "content": "2"},
            {"role": "assistant", "content": "a", "weight": 1},
        ],
        "functions": [{"name": "f", "parameters": {}}],
    }
    found = detect_layout([row])
    assert (found.layout, found.mapping) == (
        "messages",
        {"messages": "messages", "tools": "functions"},
    )
    assert to_sample(row, found.layout, found.mapping, 1) == Conversation(
        (
            Message("system", "S"),
            Message("user", "q", name="ada"),
            Message("assistant", "no", weight=0.0),
            USER,
            Message("assistant", "", CALL),
            Message("tool", "2", name="f"),
            ANSWER,
        ),
        ({"name": "f", "parameters": {}},),
    )


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_is_kept_apart_and_think_tags_stay_in_the_text(key: str):
    said = {"role": "assistant", "content": "<think>no</think>a", key: "hm"}
    assert read([{"role": "user", "content": "q"}, said])[1] == Message(
        "assistant", "<think>no</think>a", reasoning="hm"
    )


@pytest.mark.parametrize(
    ("given", "weight"),
    [
        ({}, 1.0),
        ({"weight": 0}, 0.0),
        ({"weight": 1}, 1.0),
        ({"weight": 0.25}, 0.25),
        ({"weight": None}, 1.0),
        ({"train": True}, 1.0),
        ({"train": False}, 0.0),
        ({"train": 0}, 0.0),
        ({"loss": False}, 0.0),
        ({"loss": None, "train": None}, 1.0),
        ({"weight": 0.5, "train": False}, 0.5),
    ],
)
def test_a_message_weighs_what_the_file_says(given: dict[str, Any], weight: float):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **given}]
    assert read(turns, "messages")[1].weight == weight


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"weight": 2}, "weight 2"),
        ({"weight": -0.5}, "weight -0.5"),
        ({"weight": "1"}, 'weight "1"'),
        ({"weight": True}, "weight true"),
        ({"weight": float("nan")}, "weight NaN"),
        ({"train": "yes"}, 'train "yes"'),
        ({"loss": 3}, "loss 3"),
    ],
)
def test_another_weight_is_refused_with_its_turn(given: dict[str, Any], shown: str):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **given}]
    error = refused(turns)
    assert error.code == "bad_weight"
    assert error.message == f"Row 118 has {shown} in turn 2 of column 'c'."


@pytest.mark.parametrize(
    ("turns", "code", "part"),
    [
        ([{"role": "user", "content": "q"}, 5], "unknown_role", "no role in turn 2"),
        ([{"x": "q"}], "unknown_role", "no role in turn 1"),
        ([{"role": None, "content": "q"}], "unknown_role", "no role in turn 1"),
        ([{"role": ["a"], "content": "q"}], "unknown_role", "no role in turn 1"),
        ([{"from": "narrator", "value": "q"}], "unknown_role", "'narrator' in turn 1"),
        (["q"], "no_answer", "no answer"),
        ([{"role": "user", "content": {"a": 1}}], "not_text", "turn 1"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": ["f"]}],
         "bad_tool_call", "turn 2"),
        ([{"role": "assistant", "content": "a", "thinking": "\ud83d"}], "half_character", "ud83d"),
    ],
)  # fmt: skip
def test_a_turn_that_cannot_be_read_says_which(turns: list[Any], code: str, part: str):
    error = refused(turns)
    assert (error.code, part in error.message) == (code, True), error.message
