"""Judged answers, preferences in every form, and prompts that a template makes of columns."""

from typing import Any

import pytest

from studio.data.layouts import check_mapping, detect_layout
from studio.data.messages import (
    Conversation,
    Judged,
    Message,
    Preference,
    messages_of,
    to_sample,
)
from studio.errors import DataError

USER, ANSWER = Message("user", "q"), Message("assistant", "a")
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
KTO = {"prompt": "p", "completion": "c", "label": "l"}


def refusal(row: dict[str, Any], layout: str, mapping: dict[str, str]) -> DataError:
    with pytest.raises(DataError) as caught:
        to_sample(row, layout, mapping, 118)
    assert caught.value.message.startswith("Row 118")
    return caught.value


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"messages": TURNS, "label": True}, {"messages": "messages", "label": "label"}),
        ({"conversations": TURNS, "kto_tag": False},
         {"messages": "conversations", "label": "kto_tag"}),
        ({"prompt": "q", "completion": "a", "label": True, "system": "s"},
         {"prompt": "prompt", "completion": "completion", "label": "label", "system": "system"}),
        ({"prompt": TURNS[:1], "completion": TURNS[1:], "label": False},
         {"prompt": "prompt", "completion": "completion", "label": "label"}),
        ({"messages": TURNS, "label": "good", "tools": "[]"},
         {"messages": "messages", "label": "label", "tools": "tools"}),
        ({"messages": TURNS, "label": "undesirable"}, {"messages": "messages", "label": "label"}),
    ],
)  # fmt: skip
def test_judged_answers_are_detected(row: dict[str, Any], mapping: dict[str, str]):
    found = detect_layout([row] * 3)
    assert (found.layout, found.mapping) == ("kto", mapping)
    assert "says whether" in found.reason


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        ({"text": "t", "label": True}, "prompt_completion"),
        ({"text": "t", "label": "good"}, "prompt_completion"),
        ({"messages": TURNS, "label": "sports"}, "messages"),
        ({"messages": TURNS, "label": 1}, "messages"),
        ({"question": "q", "answer": "a", "label": True}, "prompt_completion"),
        ({"prompt": "q", "completion": "a", "label": 3}, "prompt_completion"),
    ],
)
def test_other_labels_are_classes(row: dict[str, Any], layout: str):
    assert detect_layout([row] * 3).layout == layout


@pytest.mark.parametrize(
    ("label", "good"),
    [
        *((label, True) for label in (True, 1, 1.0, "true", "True", "1", "yes", "good", "Good")),
        *((label, True) for label in ("desirable", "chosen", "thumbs_up", "thumbs up", "👍")),
        *((label, False) for label in (False, 0, 0.0, -1, "false", "0", "-1", "no", "bad")),
        *((label, False) for label in ("undesirable", "rejected", "Thumbs-Down", "👎")),
    ],
)
def test_a_judgement_is_read(label: Any, good: bool):
    assert to_sample({"p": "q", "c": "a", "l": label}, "kto", KTO, 1) == Judged(
        (USER,), (ANSWER,), good
    )


def test_of_judged_messages_the_last_answer_is_judged():
    turns = [{"role": "system", "content": "S"}, *TURNS, *TURNS]
    sample = to_sample({"m": turns, "l": True}, "kto", {"messages": "m", "label": "l"}, 1)
    assert sample == Judged((Message("system", "S"), USER, ANSWER, USER), (ANSWER,), True)
    assert messages_of(sample) == (Message("system", "S"), USER, ANSWER, USER, ANSWER)


@pytest.mark.parametrize(
    ("row", "code", "part"),
    [
        ({"p": "q", "c": "a", "l": None}, "bad_label", "has nothing in column 'l'"),
        ({"p": "q", "c": "a", "l": "maybe"}, "bad_label", "has 'maybe' in column 'l'"),
        ({"p": "q", "c": "a", "l": 0.5}, "bad_label", "has '0.5' in column 'l'"),
        ({"p": "q", "c": "a"}, "missing_column", "no column 'l'"),
        ({"p": "q", "c": " ", "l": True}, "empty_answer", "column 'c'"),
    ],
)
def test_a_judged_row_that_cannot_be_read_says_why(row: dict[str, Any], code: str, part: str):
    error = refusal(row, "kto", KTO)
    assert (error.code, part in error.message) == (code, True), error.message


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        (TURNS[:1], "no_answer"),
        ([*TURNS, TURNS[0]], "no_answer"),
        (TURNS[1:], "no_prompt"),
        ([TURNS[0], {"role": "assistant", "content": ""}], "empty_answer"),
        ([], "no_messages"),
    ],
)
def test_judged_messages_must_be_a_question_and_end_with_an_answer(turns: list[Any], code: str):
    mapping = {"messages": "m", "label": "l"}
    assert refusal({"m": turns, "l": True}, "kto", mapping).code == code


def test_the_layout_kto_needs_messages_or_an_answer():
    for mapping in ({"label": "l"}, {"label": "l", "prompt": "p"}):
        with pytest.raises(DataError) as caught:
            check_mapping("kto", mapping)
        assert caught.value.code == "mapping_incomplete"


WORSE = Message("assistant", "b")


@pytest.mark.parametrize(
    ("row", "mapping", "prompt"),
    [
        (
            {"instruction": "q", "input": "in", "chosen": "a", "rejected": "b", "system": "S"},
            {"chosen": "chosen", "rejected": "rejected", "prompt": "instruction",
             "input": "input", "system": "system"},
            (Message("system", "S"), Message("user", "q\nin")),
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}],
             "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}},
            {"chosen": "chosen", "rejected": "rejected", "prompt": "conversations"},
            (USER,),
        ),
        (
            {"input": {"messages": TURNS[:1], "tools": []},
             "preferred_output": TURNS[1:],
             "non_preferred_output": [{"role": "assistant", "content": "b"}]},
            {"chosen": "preferred_output", "rejected": "non_preferred_output",
             "prompt": "input.messages", "tools": "input.tools"},
            (USER,),
        ),
        (
            {"question": "q", "chosen_response": "a", "rejected_response": "b"},
            {"chosen": "chosen_response", "rejected": "rejected_response", "prompt": "question"},
            (USER,),
        ),
        (
            {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "b"}]},
            {"chosen": "chosen", "rejected": "rejected"},
            (USER,),
        ),
    ],
    ids=["llama-factory alpaca", "llama-factory sharegpt", "openai", "text", "whole messages"],
)  # fmt: skip
def test_preferences_in_every_form(row: dict[str, Any], mapping: dict[str, str], prompt):
    found = detect_layout([row] * 2)
    assert (found.layout, found.mapping) == ("preference", mapping)
    assert to_sample(row, "preference", mapping, 1) == Preference(prompt, (ANSWER,), (WORSE,))


def test_a_preference_keeps_its_tools():
    row = {
        "input": {"messages": TURNS[:1], "tools": [{"name": "f"}]},
        "preferred_output": TURNS[1:],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    }
    sample = to_sample(row, "preference", detect_layout([row]).mapping, 1)
    assert isinstance(sample, Preference)
    assert sample.tools == ({"name": "f"},)


TEMPLATE = {"prompt": "{{ title }}: {{ body }}", "completion": "{{ meta.label }}"}


def test_a_template_makes_prompt_answer_and_system_prompt_of_columns():
    row = {"title": "T", "body": "B", "meta": {"label": 7}, "a b": "x", "list": ["é"], "none": None}
    mapping = {**TEMPLATE, "system": "{{ row['a b'] }}{{ none }} {{ list }} {{ true }}"}

    sample = to_sample(row, "template", mapping, 1)

    assert sample == Conversation(
        (Message("system", 'x ["é"] true'), Message("user", "T: B"), Message("assistant", "7"))
    )


@pytest.mark.parametrize(
    ("mapping", "code", "part", "fix"),
    [
        (
            {**TEMPLATE, "prompt": "{{ title }}\n{{ bodi }}"},
            "row_template",
            "Row 118: the template for 'Prompt', line 2, does not take this row: "
            "'bodi' is undefined.",
            "The columns are: title, body, meta.",
        ),
        ({**TEMPLATE, "completion": "{{ meta.x }}"}, "row_template", "no attribute 'x'", "columns"),
        (
            {**TEMPLATE, "completion": "{% if not body %}x{% endif %}"},
            "empty_answer",
            "Row 118 has no text in the template for 'Answer'.",
            "Fill it in",
        ),
        (
            {**TEMPLATE, "prompt": "{% for i in range(99999) %}{% for j in range(99999) %}"
             "{% endfor %}{% endfor %}"},
            "row_template",
            "takes longer than 2 seconds",
            "Correct the template",
        ),
    ],
)  # fmt: skip
def test_a_template_that_does_not_take_a_row_names_it(
    mapping: dict[str, str], code: str, part: str, fix: str
):
    error = refusal({"title": "T", "body": "B", "meta": {"label": "l"}}, "template", mapping)
    assert (error.code, part in error.message, fix in error.fix) == (code, True, True), str(error)


def test_a_template_that_is_no_jinja_is_refused_before_any_row():
    with pytest.raises(DataError) as caught:
        check_mapping("template", {"prompt": "a\n{{ ", "completion": "x"})
    assert caught.value.code == "row_template_syntax"
    assert "The template for 'Prompt' is not valid Jinja, line 2" in caught.value.message
