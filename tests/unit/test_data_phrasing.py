"""Phrasings: one drawn for each row, the same in preview, training and chat."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Conversation, PlainText, Preference
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

THREE = ("Q: {{ prompt }}", "{{ prompt }} Please answer.", "Tell me: {{ prompt }}")


def opened(folder: Path, rows: list[dict[str, Any]], **recipe: Any) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return open_dataset(DatasetRecipe(files=(str(path),), **recipe), folder / "cache")


def pairs(n: int) -> list[dict[str, Any]]:
    return [{"question": f"q{i}", "answer": f"a{i}"} for i in range(n)]


def asked(dataset: Dataset, index: int) -> list[str]:
    sample = dataset.sample(index)
    assert isinstance(sample, Conversation)
    return [message.content for message in sample.messages if message.role == "user"]


def test_each_row_draws_the_phrasing_that_its_hash_names(tmp_path: Path):
    dataset = opened(tmp_path, pairs(6), phrasings=THREE)
    # printf 42:phrasing:0 | sha256sum: the first 16 digits modulo 3, then 1, 2, ...
    assert [asked(dataset, index)[0] for index in range(6)] == [
        "Q: q0",
        "Tell me: q1",
        "Tell me: q2",
        "Q: q3",
        "q4 Please answer.",
        "Q: q5",
    ]


def test_drawing_is_fair(tmp_path: Path):
    dataset = opened(tmp_path, pairs(3000), phrasings=THREE)
    starts = Counter(asked(dataset, index)[0][0] for index in range(3000))
    assert set(starts) == {"Q", "q", "T"}
    assert all(900 < n < 1100 for n in starts.values())


def test_another_seed_draws_otherwise(tmp_path: Path):
    texts = [
        [
            asked(opened(tmp_path, pairs(20), phrasings=THREE, split_seed=seed), index)[0]
            for index in range(20)
        ]
        for seed in (1, 2)
    ]
    assert texts[0] != texts[1]


def test_one_row_and_all_rows_read_the_same(tmp_path: Path):
    dataset = opened(tmp_path, pairs(10), phrasings=THREE)
    assert [sample for _, sample in dataset.samples()] == [dataset.sample(i) for i in range(10)]


def test_the_answer_stays_and_columns_can_be_named(tmp_path: Path):
    rows = [{"question": "Is it good?", "answer": "yes", "Star rating": 5, "title": "Tea"}]
    source = "{{ title }} ({{ row['Star rating'] }}): {{ prompt }}"
    sample = opened(
        tmp_path,
        rows,
        layout="prompt_completion",
        mapping={"prompt": "question", "completion": "answer"},
        phrasings=(source,),
    ).sample(0)
    assert isinstance(sample, Conversation)
    assert [message.content for message in sample.messages] == ["Tea (5): Is it good?", "yes"]


def test_a_column_that_this_row_lacks_is_no_text(tmp_path: Path):
    rows = [*pairs(1), {"question": "q1", "answer": "a1", "hint": "h"}]
    source = "{% if hint %}{{ hint }}: {% endif %}{{ prompt }}"
    dataset = opened(tmp_path, rows, phrasings=(source,))
    assert [asked(dataset, 0), asked(dataset, 1)] == [["q0"], ["h: q1"]]


def test_the_question_before_the_first_answer_is_phrased_and_no_other(tmp_path: Path):
    turns = [
        ("system", "s"),
        ("user", "u1"),
        ("user", "u2"),
        ("assistant", "a1"),
        ("user", "u3"),
        ("assistant", "a2"),
    ]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]}]
    dataset = opened(tmp_path, rows, phrasings=("<{{ prompt }}>",))
    assert asked(dataset, 0) == ["u1", "<u2>", "u3"]


def test_a_preference_is_phrased_in_its_prompt(tmp_path: Path):
    rows = [{"prompt": "q", "chosen": "good", "rejected": "bad"}]
    sample = opened(tmp_path, rows, phrasings=("<{{ prompt }}>",)).sample(0)
    assert isinstance(sample, Preference)
    assert [message.content for message in sample.prompt] == ["<q>"]
    assert sample.chosen[0].content == "good"


def test_a_conversation_that_the_assistant_begins_stays_as_it_is(tmp_path: Path):
    turns = [("assistant", "Hello!"), ("user", "u"), ("assistant", "a")]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]}]
    assert asked(opened(tmp_path, rows, phrasings=("<{{ prompt }}>",)), 0) == ["u"]


def error_of(folder: Path, rows: list[dict[str, Any]], **recipe: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        list(opened(folder, rows, **recipe).samples())
    return caught.value


def test_plain_text_takes_no_phrasing(tmp_path: Path):
    error = error_of(tmp_path, [{"text": "Once."}], phrasings=("{{ prompt }}",))
    assert error.code == "phrasing_without_prompt"
    assert isinstance(opened(tmp_path, [{"text": "Once."}]).sample(0), PlainText)


def test_a_phrasing_that_is_no_jinja_is_named_before_any_row(tmp_path: Path):
    phrasings = ("{{ prompt }}", "a\n{% if %}")
    error = error_of(tmp_path, pairs(2), phrasings=phrasings)
    assert error.code == "row_template_syntax"
    assert error.message.startswith("Phrasing 2 is not valid Jinja, line 2")


def test_a_column_that_does_not_exist_is_named(tmp_path: Path):
    error = error_of(tmp_path, pairs(1), phrasings=("{{ questoin }}",))
    assert error.code == "row_template"
    assert error.message.startswith("Row 1: Phrasing 1, line 1, does not take this row")
    assert "questoin" in error.message


def test_a_phrasing_that_leaves_no_text_is_told_with_the_row(tmp_path: Path):
    error = error_of(tmp_path, pairs(1), phrasings=("{% if false %}{{ prompt }}{% endif %} ",))
    assert (error.code, error.message) == (
        "phrasing_empty",
        "Row 1: Phrasing 1 leaves no text.",
    )
