"""A new question or answer goes into a row where its layout keeps it, and comes out again."""

import copy
from typing import Any

import pytest

from studio.data.layouts import detect_layout
from studio.data.messages import Conversation, to_sample
from studio.data.recipe import DatasetRecipe
from studio.data.writing_back import answer_of, asked, question_of, with_answer, with_question
from studio.errors import DataError

Row = dict[str, Any]

TURNS = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "second"},
    {"role": "assistant", "content": "a2"},
]
# (row, layout or "" for the detected one, mapping, where the question and the last answer stand)
ROWS: dict[str, tuple[Row, str, dict[str, str], str, str]] = {
    "messages": ({"messages": TURNS, "id": 7}, "", {}, "first", "a2"),
    "messages as JSON text": (
        {
            "messages": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]',
        },
        "messages",
        {"messages": "messages"},
        "q",
        "a",
    ),
    "sharegpt with a system column": (
        {
            "system": "s",
            "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        },
        "",
        {},
        "q",
        "a",
    ),
    "a key a role": ({"conversation": [{"human": "q", "assistant": "a"}]}, "", {}, "q", "a"),
    "bare texts": ({"dialog": ["q", "a", "q2", "a2"]}, "", {}, "q", "a2"),
    "alpaca": ({"instruction": "Add", "input": "1, 2", "output": "3"}, "", {}, "Add", "3"),
    "question and answer": ({"question": "q", "answer": "a"}, "", {}, "q", "a"),
    "nested": (
        {"qa": {"question": "q", "answer": "a"}},
        "prompt_completion",
        {"prompt": "qa.question", "completion": "qa.answer"},
        "q",
        "a",
    ),
    "a prompt of turns": ({"prompt": TURNS[:2], "completion": "a"}, "", {}, "first", "a"),
    "preference": ({"prompt": "q", "chosen": "x", "rejected": "y"}, "", {}, "q", ""),
    "kto": ({"prompt": "q", "completion": "x", "label": True}, "", {}, "q", ""),
    "kto with messages": ({"messages": TURNS, "label": False}, "kto", {}, "first", ""),
}


def given(name: str) -> tuple[Row, DatasetRecipe, str, str]:
    row, layout, mapping, question, answer = copy.deepcopy(ROWS[name])
    found = detect_layout([row])
    recipe = DatasetRecipe(layout=layout or found.layout, mapping=mapping or found.mapping)
    return row, recipe, question, answer


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_new_question_is_read_from_where_the_old_one_was(name: str):
    row, recipe, question, _ = given(name)
    before = copy.deepcopy(row)
    changed = with_question(row, recipe, "[1] new?", 1)

    assert row == before
    assert set(changed) == set(row)
    assert question_of(row, recipe, 1) == question
    assert question_of(changed, recipe, 1) == "[1] new?"
    old, new = (to_sample(one, recipe.layout, recipe.mapping, 1) for one in (row, changed))
    assert repr(new) == repr(old).replace(f"content='{question}", "content='[1] new?", 1)


@pytest.mark.parametrize("name", [name for name in sorted(ROWS) if ROWS[name][4]])
def test_a_new_answer_is_read_from_where_the_last_one_was(name: str):
    row, recipe, _, answer = given(name)
    changed = with_answer(row, recipe, "new.", 1)

    assert set(changed) == set(row)
    assert answer_of(row, recipe, 1) == answer
    old, new = (to_sample(one, recipe.layout, recipe.mapping, 1) for one in (row, changed))
    assert isinstance(old, Conversation) and isinstance(new, Conversation)
    assert new.messages[:-1] == old.messages[:-1] == asked(row, recipe, 1)
    assert new.messages[-1].content == "new."


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": ""},
        {"question": "q", "answer": None},
        {"messages": [{"role": "user", "content": "q"}]},
        {"conversations": [{"from": "human", "value": "q"}]},
    ],
)
def test_a_row_that_lacks_its_answer_can_get_one(row: Row):
    found = detect_layout([row])
    layout, mapping = found.layout, dict(found.mapping)
    if "answer" in row:
        layout, mapping = "prompt_completion", {"prompt": "question", "completion": "answer"}
    recipe = DatasetRecipe(layout=layout, mapping=mapping)
    assert [message.content for message in asked(row, recipe, 1)] == ["q"]
    assert answer_of(row, recipe, 1) == ""
    assert answer_of(with_answer(row, recipe, "a", 1), recipe, 1) == "a"


def test_added_turns_are_spelled_like_the_others():
    row = {"conversations": [{"from": "human", "value": "q"}, {"from": "bot", "value": "a"}]}
    recipe = DatasetRecipe(layout="sharegpt", mapping={"conversations": "conversations"})
    assert with_answer(row, recipe, "b", 1)["conversations"][1] == {"from": "bot", "value": "b"}


@pytest.mark.parametrize(
    ("layout", "mapping", "code"),
    [
        ("text", {"text": "text"}, "no_place_for_text"),
        ("template", {"prompt": "{{ text }}?", "completion": "x"}, "no_place_for_text"),
        ("preference", {"chosen": "text", "rejected": "text"}, "no_place_for_text"),
    ],
)
def test_a_layout_without_a_place_is_refused(layout: str, mapping: dict[str, str], code: str):
    with pytest.raises(DataError) as caught:
        with_question({"text": "x"}, DatasetRecipe(layout=layout, mapping=mapping), "new", 1)
    assert caught.value.code == code
    assert f"layout '{layout}'" in caught.value.message


@pytest.mark.parametrize(
    "row", [{"prompt": " ", "completion": "a"}, {"completion": "a"}, {"prompt": None}]
)
def test_a_row_without_a_question_is_told_with_its_number(row: Row):
    mapping = {"prompt": "prompt", "completion": "completion"}
    with pytest.raises(DataError) as caught:
        question_of(row, DatasetRecipe(layout="prompt_completion", mapping=mapping), 12)
    assert "Row 12" in caught.value.message
