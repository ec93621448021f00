"""The layout is told from the rows; the mapping names columns, also inside nested ones."""

from typing import Any

import pytest

from studio.data.layouts import (
    PARTS,
    check_mapping,
    detect_layout,
    mapping_choices,
    value_at,
)
from studio.data.recipe import LAYOUTS
from studio.errors import DataError

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


@pytest.mark.parametrize(
    ("row", "layout", "mapping"),
    [
        ({"messages": TURNS}, "messages", {"messages": "messages"}),
        ({"id": "1", "chat": TURNS}, "messages", {"messages": "chat"}),
        (
            {"conversations": SHARED, "system": "s", "tools": "[]"},
            "sharegpt",
            {"conversations": "conversations", "system": "system", "tools": "tools"},
        ),
        ({"conversations": TURNS}, "messages", {"messages": "conversations"}),
        (
            {"Instruction": "i", "Input": "", "Response": "o"},
            "alpaca",
            {"instruction": "Instruction", "input": "Input", "output": "Response"},
        ),
        (
            {"prompt": "p", "completion": "c", "source": "s"},
            "prompt_completion",
            {"prompt": "prompt", "completion": "completion"},
        ),
        (
            {"index": "0", "label": "l", "text": "t"},
            "prompt_completion",
            {"prompt": "text", "completion": "label"},
        ),
        (
            {"question": "q", "context": "c", "answer": "a"},
            "alpaca",
            {"instruction": "question", "input": "context", "output": "answer"},
        ),
        (
            {"prompt": "p", "chosen": "c", "rejected": "r"},
            "preference",
            {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            {"chosen": TURNS, "rejected": TURNS},
            "preference",
            {"chosen": "chosen", "rejected": "rejected"},
        ),
        ({"text": "t"}, "text", {"text": "text"}),
        ({"id": "7", "content": "t", "n": 3}, "text", {"text": "content"}),
        ({"body": "t"}, "text", {"text": "body"}),
        (
            {"a": "long words here", "b": "short"},
            "prompt_completion",
            {"prompt": "a", "completion": "b"},
        ),
        ({"question": "q", "options": ["x"]}, "prompt_completion", {"prompt": "question"}),
        ({"n": 1, "m": [2]}, "text", {}),
    ],
)
def test_a_layout_is_told_from_its_columns(row: dict[str, Any], layout: str, mapping: dict):
    found = detect_layout([row, row])

    assert (found.layout, found.mapping) == (layout, mapping)
    assert found.reason.endswith((".", ":"))


def test_no_rows_leave_the_choice_open():
    assert detect_layout([]).mapping == {}


def test_a_nested_answer_is_found_by_its_path():
    rows = [{"prompt": TURNS[:1], "extra": {"answer": "42", "split": "train"}}]
    assert detect_layout(rows).mapping == {"prompt": "prompt", "completion": "extra.answer"}


def test_the_choices_are_columns_and_the_paths_inside():
    row = {"a": {"b": 1, "c": {"d": 2}}, "list": [{"x": "1"}], "messages": TURNS, "a.b": "own"}
    assert mapping_choices([row]) == ["a", "list", "messages", "a.b", "a.c", "list.0.x"]


def test_a_path_reads_columns_objects_and_lists():
    row = {"a": {"b": [{"c": 5}]}, "a.b": "own column"}
    assert value_at(row, "a.b.0.c") == 5
    assert value_at(row, "a.b") == "own column"
    for path in ("a.x", "a.b.1.c", "a.b.c", "zzz"):
        with pytest.raises(KeyError):
            value_at(row, path)


def test_every_layout_of_the_recipe_has_parts():
    assert tuple(PARTS) == LAYOUTS
    assert all(any(part.required for part in parts) for parts in PARTS.values())


@pytest.mark.parametrize(
    ("layout", "mapping", "code"),
    [
        ("alpaca", {"instruction": "a"}, "mapping_incomplete"),
        ("text", {}, "mapping_incomplete"),
        ("text", {"text": "a", "title": "b"}, "bad_mapping"),
        ("novel", {"text": "a"}, "unknown_layout"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(layout: str, mapping: dict, code: str):
    with pytest.raises(DataError) as caught:
        check_mapping(layout, mapping)
    assert caught.value.code == code
