"""The row inspector's server function: one row from the file to its tokens and chat's prompt."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.data.open import dataset_opener
from components.data.row import row_reader
from studio.data.library import add_dataset, load_recipe, save_recipe
from studio.data.messages import Conversation, Message
from studio.data.recipe import Edit
from studio.paths import Workspace
from studio.text.examples import IGNORE_INDEX

Show = Callable[..., dict[str, Any]]
TWO_TURNS = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "one"},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "two"},
]


@pytest.fixture
def show(workspace: Workspace, model: str, tmp_path: Path) -> Show:
    """Brings rows as a file and answers for one of them; keywords go to the recipe or the page."""

    def shown(rows: list[Any], index: int = 0, **options: Any) -> dict[str, Any]:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        dataset = add_dataset(workspace, [path])
        asked = {"max_length": 512, "whole": False}
        asked |= {name: options.pop(name) for name in list(options) if name in asked}
        recipe = replace(load_recipe(workspace, dataset), **options)
        save_recipe(workspace, dataset, recipe)
        reader = row_reader(dataset_opener(workspace))
        return reader({"dataset": dataset, "index": index, "model": model, **asked})

    return shown


def _text(tokens: list[Any], mark: str) -> str:
    return "".join(text for text, _, marks in tokens if mark in marks)


def _words(side: dict[str, Any]) -> list[tuple[str, bool, str]]:
    return [(m["role"], m["trained"], m["word"]) for m in side["messages"]]


def test_tokens_and_trained_marks_are_those_of_training(
    show: Show, workspace: Workspace, model: str
) -> None:
    data = show([{"messages": TWO_TURNS}])
    opened = dataset_opener(workspace)("rows")
    example = opened.encoder(model, 512).encode_one(
        Conversation(tuple(Message(turn["role"], turn["content"]) for turn in TWO_TURNS))
    )
    (side,) = data["sides"]
    assert [token_id for _, token_id, _ in side["tokens"]] == example.input_ids
    labels = [i if "t" in marks else IGNORE_INDEX for _, i, marks in side["tokens"]]
    assert labels == example.labels
    assert _text(side["tokens"], "t") == "one<|im_end|>two<|im_end|>"
    assert _text(side["tokens"], "s") == "<|im_start|><|im_end|>" * 4
    n = len(example.input_ids)
    assert (side["n_tokens"], side["n_read"], side["n_trained"]) == (n, n, 8)


def test_control_tokens_stand_apart_in_the_text_the_model_reads(show: Show) -> None:
    data = show([{"prompt": "q", "completion": "a"}])
    assert data["sides"][0]["text"]["runs"] == [
        *("", "<|im_start|>", "user\nq", "<|im_end|>", "\n"),
        *("<|im_start|>", "assistant\na", "<|im_end|>", "\n"),
    ]
    whole = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    assert data["sides"][0]["n_characters"] == len(whole)
    assert json.loads(data["raw"]["text"]) == {"prompt": "q", "completion": "a"}
    assert (data["number"], data["source"], data["state"]) == (1, "rows.jsonl", "")


def test_each_message_says_whether_it_is_trained_on_and_how_much(show: Show) -> None:
    data = show([{"messages": TWO_TURNS}])
    assert _words(data["sides"][0]) == [
        ("user", False, ""),
        ("assistant", True, "trained on"),
        ("user", False, ""),
        ("assistant", True, "trained on"),
    ]
    weighed = [dict(turn) for turn in TWO_TURNS]
    weighed[1]["weight"], weighed[3]["weight"] = 0, 0.5
    data = show([{"messages": weighed}])
    assert [word for _, _, word in _words(data["sides"][0])] == [
        *("", "not trained on, weight 0", "", "trained on, weight 0.5"),
    ]
    assert _text(data["sides"][0]["tokens"], "t") == "two<|im_end|>"


def test_of_the_last_answer_alone_the_others_are_said_not_to_be_trained_on(show: Show) -> None:
    data = show([{"messages": TWO_TURNS}], train_on="last_answer")
    assert [word for _, _, word in _words(data["sides"][0])] == [
        *("", "not trained on", "", "trained on"),
    ]
    assert _text(data["sides"][0]["tokens"], "t") == "two<|im_end|>"


def test_what_lies_behind_the_maximum_length_is_shown_as_cut(show: Show) -> None:
    data = show([{"prompt": "q", "completion": "abcdef"}], max_length=22)
    (side,) = data["sides"]
    assert (side["n_tokens"], side["n_read"]) == (28, 22)
    assert _text(side["tokens"], "c") == "cdef<|im_end|>\n"
    assert _text(side["tokens"], "t") == "ab"


def test_the_chat_prompt_ends_where_the_last_answer_begins_and_agrees(show: Show) -> None:
    prompt = show([{"messages": TWO_TURNS}])["prompt"]
    assert "".join(prompt["text"]["runs"]) == (
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n"
        "<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt["agrees"] is True


def test_a_prompt_that_training_does_not_read_is_said_to_differ(show: Show) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\nThink: {% endif %}"
    )
    template = template.replace(
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>"
        "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}",
    )
    prompt = show([{"prompt": "q", "completion": "yes"}], chat_template=template)["prompt"]
    assert prompt["agrees"] is False
    assert prompt["word"].startswith("Before turn 2 chat sends “")
    assert "Think: " in prompt["word"]


def test_both_answers_of_a_preference_are_shown_with_their_own_tokens(show: Show) -> None:
    data = show([{"prompt": "q", "chosen": "good", "rejected": "bad"}])
    better, worse = data["sides"]
    assert (better["name"], worse["name"]) == ("better answer", "worse answer")
    assert _text(better["tokens"], "t") == "good<|im_end|>"
    assert _text(worse["tokens"], "t") == "bad<|im_end|>"
    assert worse["messages"][-1]["content"]["text"] == "bad"
    assert data["label"] is None


@pytest.mark.parametrize(
    ("label", "word"),
    [(True, "Judged good: made more likely."), (False, "Judged bad: made less likely.")],
)
def test_a_judged_answer_shows_its_label(show: Show, label: bool, word: str) -> None:
    row = {"prompt": "q", "completion": "a", "label": label}
    other = {**row, "label": not label}
    data = show([row, other], layout="kto", mapping={n: n for n in row})
    assert data["label"] == {"good": label, "word": word}
    assert _text(data["sides"][0]["tokens"], "t") == "a<|im_end|>"


def test_plain_text_has_tokens_but_neither_messages_nor_a_prompt(show: Show) -> None:
    data = show([{"text": "hello"}])
    assert data["sides"][0]["messages"] == []
    assert data["prompt"] is None
    assert _text(data["sides"][0]["tokens"], "t") == "hello</s>"


def test_a_row_that_does_not_convert_shows_its_raw_value_and_the_fix(show: Show) -> None:
    data = show([{"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": ""}], index=1)
    assert data["problem"]["message"] == "Row 2 has no text in column 'completion'."
    assert data["problem"]["fix"] != ""
    assert json.loads(data["raw"]["text"]) == {"prompt": "q", "completion": ""}
    assert "sides" not in data


def test_a_row_that_the_template_refuses_still_shows_its_messages(show: Show) -> None:
    template = "{{ raise_exception('No system prompts here.') }}"
    data = show([{"prompt": "q", "completion": "a"}], chat_template=template)
    assert "No system prompts here." in data["problem"]["message"]
    assert [m["content"]["text"] for m in data["sides"][0]["messages"]] == ["q", "a"]
    assert "tokens" not in data["sides"][0]


def test_a_removed_row_can_be_looked_at_and_says_so(show: Show) -> None:
    data = show([{"prompt": "q", "completion": "a"}] * 2, edits=(Edit(kind="drop", rows=(1,)),))
    assert data["state"] == "removed"
    assert _text(data["sides"][0]["tokens"], "t") == "a<|im_end|>"


def test_a_long_row_is_cut_for_the_page_and_whole_on_demand(show: Show) -> None:
    rows = [{"prompt": "q", "completion": "x" * 30_000}]
    data = show(rows, max_length=100_000)
    (side,) = data["sides"]
    assert len(side["tokens"]) == 3_000
    assert side["n_tokens"] == 30_022
    assert side["messages"][1]["content"] == {"text": "x" * 24_000, "left": 6_000}
    whole = show(rows, max_length=100_000, whole=True)["sides"][0]
    assert len(whole["tokens"]) == 30_022
    assert whole["messages"][1]["content"]["left"] == 0


def test_a_row_that_is_not_there_is_answered_with_a_fix(show: Show) -> None:
    data = show([{"prompt": "q", "completion": "a"}], index=5)
    assert data["error"] == "There is no row 6: the dataset has 1 rows."
