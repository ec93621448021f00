"""A row becomes messages under its layout, or is refused with its number and column."""

from typing import Any

import pytest

from studio.data.messages import (
    Conversation,
    Message,
    PlainText,
    Preference,
    to_sample,
)
from studio.errors import DataError

USER, ANSWER = Message("user", "q"), Message("assistant", "a")
ALPACA = {"instruction": "i", "input": "in", "output": "o", "system": "s", "history": "h"}
PAIR = {"prompt": "p", "completion": "c", "system": "s"}
PREFERENCE = {"prompt": "p", "chosen": "c", "rejected": "r"}


def refusal(row: dict[str, Any], layout: str, mapping: dict[str, str]) -> DataError:
    with pytest.raises(DataError) as caught:
        to_sample(row, layout, mapping, 118)
    assert caught.value.message.startswith("Row 118 ")
    return caught.value


def test_roles_are_the_same_whatever_a_file_calls_them():
    said = ["system", "human", "gpt", "Prompter", "bot", "observation", "model"]
    row = {"c": [{"from": role, "value": role} for role in said]}

    sample = to_sample(row, "sharegpt", {"conversations": "c"}, 1)

    assert isinstance(sample, Conversation)
    assert [m.role for m in sample.messages] == [
        *("system", "user", "assistant", "user", "assistant", "tool", "assistant"),
    ]
    assert [m.content for m in sample.messages] == said


def test_messages_keep_tool_calls_reasoning_and_text_parts():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    row = {
        "m": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call], "thinking": "hm"},
            {"role": "tool", "name": "f", "content": "2"},
        ],
        "t": '[{"name": "f"}]',
    }

    sample = to_sample(row, "messages", {"messages": "m", "tools": "t"}, 1)

    kept = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    assert sample == Conversation(
        (
            Message("user", "ab"),
            Message("assistant", "", (kept,), reasoning="hm"),
            Message("tool", "2", name="f"),
        ),
        ({"name": "f"},),
    )
    assert sample.messages[1].as_dict() == {
        "role": "assistant",
        "content": "",
        "tool_calls": [kept],
        "reasoning_content": "hm",
    }


def test_messages_written_as_json_text_in_a_csv_cell_are_read():
    row = {"m": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'}
    assert to_sample(row, "messages", {"messages": "m"}, 1) == Conversation((USER, ANSWER))


def test_a_system_column_comes_first_unless_the_turns_have_one():
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    mapping = {"conversations": "c", "system": "s"}
    assert to_sample({"c": turns, "s": "S"}, "sharegpt", mapping, 1) == Conversation(
        (Message("system", "S"), USER, ANSWER)
    )
    own = [{"from": "system", "value": "own"}, *turns]
    assert to_sample({"c": own, "s": "S"}, "sharegpt", mapping, 1) == Conversation(
        (Message("system", "own"), USER, ANSWER)
    )


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"i": "Add.", "in": "1 2", "o": "3"}, "Add.\n1 2"),
        ({"i": "Add.", "in": "", "o": "3"}, "Add."),
        ({"i": "Add.", "in": None, "o": "3"}, "Add."),
        ({"i": "Add.", "o": "3"}, "Add."),
    ],
)
def test_alpaca_puts_instruction_and_input_into_one_turn(row: dict[str, Any], asked: str):
    assert to_sample(row, "alpaca", ALPACA, 1) == Conversation(
        (Message("user", asked), Message("assistant", "3"))
    )


def test_alpaca_history_comes_before():
    row = {"i": "q", "o": "a", "s": "S", "h": [["q1", "a1"]]}
    assert to_sample(row, "alpaca", ALPACA, 1) == Conversation(
        (Message("system", "S"), Message("user", "q1"), Message("assistant", "a1"), USER, ANSWER)
    )
    assert refusal({"i": "q", "o": "a", "h": ["q1"]}, "alpaca", ALPACA).code == "bad_history"


def test_numbers_and_truth_values_become_text():
    answers = [
        to_sample({"p": 7, "c": value}, "prompt_completion", PAIR, 1) for value in (3, 2.5, True)
    ]
    assert [s.messages[1].content for s in answers if isinstance(s, Conversation)] == [
        *("3", "2.5", "true"),
    ]


def test_a_prompt_of_turns_and_an_answer_of_turns_are_joined():
    row = {"p": [{"role": "user", "content": "q"}], "c": {"role": "assistant", "content": "a"}}
    assert to_sample(row, "prompt_completion", PAIR, 1) == Conversation((USER, ANSWER))


@pytest.mark.parametrize(
    "row",
    [
        {"p": "q", "c": "a", "r": "b"},
        {"p": [{"from": "human", "value": "q"}], "c": {"from": "gpt", "value": "a"}, "r": "b"},
        {
            "c": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            "r": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
        },
        {
            "p": "q",
            "c": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            "r": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
        },
    ],
)
def test_a_preference_is_a_prompt_and_two_answers(row: dict[str, Any]):
    mapping = PREFERENCE if "p" in row else {"chosen": "c", "rejected": "r"}
    assert to_sample(row, "preference", mapping, 1) == Preference(
        (USER,), (ANSWER,), (Message("assistant", "b"),)
    )


def test_text_stays_as_it_is():
    assert to_sample({"t": " x\n"}, "text", {"text": "t"}, 1) == PlainText(" x\n")


IMAGE = {"role": "user", "content": [{"type": "image"}]}
TURN = {"role": "user", "content": "q"}
MESSAGES = {"messages": "m"}


def said(role: str, content: str) -> dict[str, Any]:
    return {"m": [TURN, {"role": role, "content": content}]}


@pytest.mark.parametrize(
    ("row", "layout", "mapping", "code", "part_of_message"),
    [
        ({"p": "q"}, "prompt_completion", PAIR, "missing_column", "no column 'c'"),
        ({"p": "q", "c": " "}, "prompt_completion", PAIR, "empty_answer", "column 'c'"),
        ({"p": "q", "c": None}, "prompt_completion", PAIR, "empty_answer", "column 'c'"),
        (
            {"p": {"x": 1}, "c": "a"},
            "prompt_completion",
            PAIR,
            "not_text",
            "an object in column 'p'",
        ),
        ({"t": ""}, "text", {"text": "t"}, "empty_text", "column 't'"),
        ({"t": "ab\ud83d"}, "text", {"text": "t"}, "half_character", "\\ud83d) at position 3"),
        ({"m": []}, "messages", MESSAGES, "no_messages", "column 'm'"),
        ({"m": "hello"}, "messages", MESSAGES, "no_messages", "column 'm'"),
        ({"m": [TURN]}, "messages", MESSAGES, "no_answer", "column 'm'"),
        (said("assistant", ""), "messages", MESSAGES, "empty_answer", "'m'"),
        (said("narrator", "x"), "messages", MESSAGES, "unknown_role", "'narrator' in turn 2"),
        (
            {"m": [TURN, {"content": "x"}]},
            "messages",
            MESSAGES,
            "unknown_role",
            "no role in turn 2",
        ),
        ({"m": [IMAGE]}, "messages", MESSAGES, "not_text", "turn 1"),
        (said("function_call", "x"), "messages", MESSAGES, "bad_tool_call", "turn 2"),
        ({"p": "q", "c": "a", "r": "a"}, "preference", PREFERENCE, "no_preference", "same text"),
        ({"p": "q", "c": "a", "r": ""}, "preference", PREFERENCE, "empty_answer", "column 'r'"),
        (
            {"c": "a", "r": "b"},
            "preference",
            {"chosen": "c", "rejected": "r"},
            "no_prompt",
            "no prompt",
        ),
    ],
)
def test_a_row_that_does_not_convert_says_where_and_why(
    row: dict[str, Any], layout: str, mapping: dict[str, str], code: str, part_of_message: str
):
    error = refusal(row, layout, mapping)
    assert (error.code, part_of_message in error.message) == (code, True), error.message
    assert error.fix
