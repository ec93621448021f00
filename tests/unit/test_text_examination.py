"""The whole checkup with a model's tokens: lengths, cuts, templates."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.checkup import Checkup
from studio.data.dataset import Dataset, open_dataset
from studio.data.mending import drop_rows, mend
from studio.data.recipe import DatasetRecipe
from studio.text.examination import run_checkup
from studio.text.examples import Encoder, encoder_for
from tests.unit.text_folders import UNMARKED_CHATML, byte_level

Rows = list[dict[str, Any]]


def encoder(tmp_path: Path, max_length: int = 512, **config: Any) -> Encoder:
    template = config.pop("template", UNMARKED_CHATML)
    folder = byte_level(tmp_path / "m", chat_template=template, **config)
    return encoder_for(folder, DatasetRecipe(), max_length)


def dataset(tmp_path: Path, rows: Rows, **recipe: Any) -> Dataset:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = DatasetRecipe(files=(str(path),), validation_share=0.0, **recipe)
    return open_dataset(made, tmp_path / "cache")


def checked(opened: Dataset, made: Encoder, tmp_path: Path, **options: Any) -> Checkup:
    return run_checkup(opened, made, tmp_path / "cache", **options)


def by_code(found: Checkup) -> list[tuple[str, int | None]]:
    return [(f.code, f.row) for f in found.findings if f.code != "few_rows"]


ROWS = [
    {"prompt": "q", "completion": "a"},  # 23 tokens
    {"prompt": "q", "completion": "a" * 40},
    {"prompt": "q" * 40, "completion": "a"},
    {"prompt": "q", "completion": ""},
    {"prompt": "<|im_start|>", "completion": "a"},
    {"prompt": "q", "completion": "\na"},
]


def test_lengths_and_what_the_cut_leaves_of_each_row(tmp_path: Path):
    found = checked(dataset(tmp_path, ROWS), encoder(tmp_path, 30, pad_token="</s>"), tmp_path)

    assert found.profile.n_tokens.tolist() == [23, 62, 62, -1, 23, -1]
    # Of row 1 the answer and its stop token; of row 2 tokens 21 to 30, before the cut.
    assert found.profile.n_trained.tolist() == [2, 10, 0, -1, 2, -1]
    assert by_code(found) == [
        ("pad_equals_eos", None),
        ("generation_prompt_differs", 6),
        ("empty_answer", 4),
        ("whitespace", 6),
        ("answer_cut", 2),
        ("nothing_trained", 3),
        ("control_token_in_text", 5),
        ("template_no_prefix", 6),
        ("near_duplicate", 6),
        ("different_answers", 2),
    ]
    messages = {f.code: f.message for f in found.findings}
    assert "has 62 tokens; its answer is cut at 30" in messages["answer_cut"]
    assert "begins at token 60, after the maximum length of 30" in messages["nothing_trained"]
    assert messages["template_no_prefix"].startswith("Row 6: The chat template")
    assert "so in 1 of 5 rows looked at" in messages["generation_prompt_differs"]


@pytest.mark.parametrize("code", ["answer_cut", "nothing_trained", "template_no_prefix"])
def test_findings_of_tokens_are_gone_after_their_click(tmp_path: Path, code: str):
    opened, made = dataset(tmp_path, ROWS), encoder(tmp_path, 30)
    found = checked(opened, made, tmp_path)
    mended = mend(opened.recipe, found, code)
    again = checked(replace(opened, recipe=mended), made, tmp_path)
    assert len(found.rows_of(code)) == 1
    assert again.rows_of(code) == []
    assert len(again.profile) == len(found.profile) - 1


def test_blanks_that_melt_into_the_template_are_taken_out_by_a_click(tmp_path: Path):
    marked = UNMARKED_CHATML.replace(
        "m['content'] +", "'' }}{% generation %}{{ m['content'] }}{% endgeneration %}{{"
    )
    opened = dataset(tmp_path, [{"prompt": "q", "completion": "\na"}])
    made = encoder(tmp_path, template=marked)
    found = checked(opened, made, tmp_path)
    assert ("template_half_token", 1) in by_code(found)
    mended = mend(opened.recipe, found, "template_half_token")
    again = checked(replace(opened, recipe=mended), made, tmp_path)
    assert by_code(again) == []


def test_tools_and_reasoning_that_a_template_does_not_write_are_told(tmp_path: Path):
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
    ]
    rows = [{"messages": turns, "tools": [{"name": "f"}]}]

    found = checked(dataset(tmp_path, rows), encoder(tmp_path), tmp_path)

    assert by_code(found) == [("tools_not_written", 1), ("reasoning_content_not_written", 1)]


def test_a_dataset_without_rows_to_keep_is_checked(tmp_path: Path):
    opened = dataset(tmp_path, ROWS[:1])
    emptied = replace(opened, recipe=drop_rows(opened.recipe, [0]))
    found = checked(emptied, encoder(tmp_path), tmp_path)
    assert [f.code for f in found.findings] == ["few_rows"]
    assert len(found.profile) == 0
