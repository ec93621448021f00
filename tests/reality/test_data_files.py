"""Real data files: every one opens as what it is, or is refused with place and reason."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from studio.data.dataset import open_dataset
from studio.data.messages import Conversation, Message, Preference
from studio.data.recipe import DatasetRecipe
from studio.data.rows import open_rows
from studio.data.sources import find_files

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

DATASETS = Path(os.environ["STUDIO_REALDATA"]).resolve() / "datasets"

PAIR = ("prompt", "completion")
# file: (layout, rows, the mapping's columns in the order of the layout's parts)
EXPECTED = {
    "BELLE__zh_seed_tasks.json": (
        "alpaca",
        175,
        {
            "instruction": "instruction",
            "input": "instances.0.input",
            "output": "instances.0.output",
        },
    ),
    "DialogSum__dialogsum.dev.jsonl": (
        "prompt_completion",
        500,
        {"prompt": "dialogue", "completion": "summary"},
    ),
    "FastChat__dummy_conversation.json": (
        "sharegpt",
        500,
        {"conversations": "conversations"},
    ),
    "LLaMA-Factory__alpaca_en_demo.json": (
        "alpaca",
        999,
        {"instruction": "instruction", "input": "input", "output": "output"},
    ),
    "LLaMA-Factory__c4_demo.jsonl": ("text", 300, {"text": "text"}),
    "LLaMA-Factory__dpo_en_demo.json": (
        "preference",
        300,
        {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"},
    ),
    "LLaMA-Factory__glaive_toolcall_en_demo.json": (
        "sharegpt",
        300,
        {"conversations": "conversations", "tools": "tools"},
    ),
    "LLaMA-Factory__identity.json": (
        "alpaca",
        91,
        {"instruction": "instruction", "input": "input", "output": "output"},
    ),
    "LLaMA-Factory__kto_en_demo.json": (
        "kto",
        300,
        {"messages": "messages", "label": "label"},
    ),
    "LLaMA-Factory__wiki_demo.txt": ("text", 30, {"text": "text"}),
    "MTS-Dialog__MTS-Dialog-ValidationSet.csv": (
        "prompt_completion",
        100,
        {"prompt": "dialogue", "completion": "section_text"},
    ),
    "MedicalGPT__en_article_tail500.txt": ("text", 66, {"text": "text"}),
    "MedicalGPT__medical_sft_1K_format.jsonl": (
        "sharegpt",
        1000,
        {"conversations": "conversations"},
    ),
    "Open-Assistant__en_100_text.jsonl": ("text", 100, {"text": "text"}),
    "SmolLM2-customs__train-00000-of-00001.parquet": (
        "prompt_completion",
        48,
        {"prompt": "prompt", "completion": "response", "system": "system_prompt"},
    ),
    "TOS__validation-00000-of-00001.parquet": (
        "prompt_completion",
        415,
        {"prompt": "sentence", "completion": "unfairness_level"},
    ),
    "big-list-of-naughty-strings__blns.json": ("text", 515, {"text": "text"}),
    "cookbook__Symptom2Disease.csv": (
        "prompt_completion",
        1200,
        {"prompt": "text", "completion": "label"},
    ),
    "llm-finetuning__sqlqa.subsample.jsonl": (
        "alpaca",
        64,
        {"instruction": "question", "input": "context", "output": "answer"},
    ),
    "llm-foundry__arc_challenge.jsonl": ("prompt_completion", 1172, {"prompt": "query"}),
    "llm-foundry__copa.jsonl": ("prompt_completion", 100, {"prompt": "query"}),
    "llm-foundry__lambada_openai_small.jsonl": (
        "prompt_completion",
        8,
        {"prompt": "context", "completion": "continuation"},
    ),
    "openai-cheat-sheet__toy_chat_fine_tuning.jsonl": ("messages", 10, {"messages": "messages"}),
    "sentencepiece__botchan.txt": ("text", 4288, {"text": "text"}),
    "stanford_alpaca__seed_tasks.jsonl": (
        "alpaca",
        175,
        {
            "instruction": "instruction",
            "input": "instances.0.input",
            "output": "instances.0.output",
        },
    ),
    "xtuner__gsm8k_train_example_data.jsonl": (
        "prompt_completion",
        200,
        {"prompt": "prompt", "completion": "extra_info.answer"},
    ),
    "xtuner__pretrain_example_data.jsonl": ("messages", 3, {"messages": "messages"}),
}
# Files that hold no conversations: they open, and a person chooses the mapping.
ROW_COUNTS = {
    "LLaMA-Factory__dataset_info.json": 1,
    "cookbook__mocked_data.xlsx": 608,
    "parquet-good/alltypes_plain.parquet": 8,
    "parquet-good/data_index_bloom_encoding_stats.parquet": 14,
    "parquet-good/list_columns.parquet": 3,
    "parquet-good/nested_lists.snappy.parquet": 3,
    "parquet-good/nested_maps.snappy.parquet": 6,
    "parquet-good/nulls.snappy.parquet": 8,
    "csv-spectrum/csvs/newlines.csv": 3,
    "csv-spectrum/csvs/newlines_crlf.csv": 3,
    "csv-spectrum/csvs/simple.csv": 1,
    "csv-spectrum/csvs/simple_crlf.csv": 1,
    "csv-spectrum/json/newlines.json": 3,
    "csv-spectrum/json/newlines_crlf.json": 3,
    "csv-spectrum/json/simple.json": 1,
    "csv-spectrum/json/simple_crlf.json": 1,
}
SUITE = sorted((DATASETS / "JSONTestSuite").glob("y_*.json"))
LFS_POINTER = "lfs-pointer__helpful-base_test.jsonl.gz"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(name: str, cache: Path):
    return open_dataset(DatasetRecipe(files=(str(DATASETS / name),)), cache)


def test_every_real_file_is_named_here():
    here = {path.relative_to(DATASETS).as_posix() for path in DATASETS.rglob("*") if path.is_file()}
    suite = {f"JSONTestSuite/{path.name}" for path in SUITE}

    assert here == {*EXPECTED, *ROW_COUNTS, LFS_POINTER} | suite


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_file_opens_as_what_it_is(name: str, cache: Path):
    layout, n_rows, mapping = EXPECTED[name]

    dataset = opened(name, cache)

    assert (dataset.recipe.layout, len(dataset), dataset.recipe.mapping) == (
        layout,
        n_rows,
        mapping,
    )


@pytest.mark.parametrize("name", ROW_COUNTS)
def test_a_real_file_without_conversations_opens_with_all_its_rows(name: str, cache: Path):
    assert len(open_rows([DATASETS / name], cache)) == ROW_COUNTS[name]


@pytest.mark.parametrize("name", [*EXPECTED, *ROW_COUNTS])
def test_the_first_and_last_row_of_a_real_file_equal_reading_it_plainly(name: str, cache: Path):
    rows = open_rows([DATASETS / name], cache)

    assert rows.page(len(rows) - 1, 5) == [rows.row(len(rows) - 1)]
    assert sum(1 for _ in rows.iterate()) == len(rows)
    if name.endswith(".jsonl"):
        lines = (DATASETS / name).read_text(encoding="utf-8").splitlines()
        plain = [json.loads(line) for line in lines if line.strip()]
        whole = [{"text": row} if isinstance(row, str) else row for row in plain]
        assert list(rows.iterate()) == whole


def test_the_folder_of_real_files_is_found_with_what_is_left_out(cache: Path):
    found = find_files(str(DATASETS), cache)

    names = {path.relative_to(DATASETS).as_posix() for path in found.files}
    texts = {name for name in EXPECTED if name.endswith(".txt")}
    assert names == (
        ({*EXPECTED, *ROW_COUNTS} | {f"JSONTestSuite/{path.name}" for path in SUITE}) - texts
        | {LFS_POINTER}
    )
    assert "3 text files were left out" in " ".join(found.notes)


def test_symptoms_become_prompt_and_answer(cache: Path):
    sample = opened("cookbook__Symptom2Disease.csv", cache).sample(0)

    assert isinstance(sample, Conversation)
    assert [m.role for m in sample.messages] == ["user", "assistant"]
    assert sample.messages[0].content.startswith("I have been experiencing a skin rash")
    assert sample.messages[1].content == "Psoriasis"


def test_glaives_tool_calls_and_results_are_kept(cache: Path):
    dataset = opened("LLaMA-Factory__glaive_toolcall_en_demo.json", cache)

    sample = dataset.sample(0)

    assert isinstance(sample, Conversation)
    assert sample.tools[0]["name"] == "search_recipes"
    call = next(m for m in sample.messages if m.tool_calls)
    assert call.role == "assistant"
    assert call.tool_calls[0]["function"] == {
        "name": "search_recipes",
        "arguments": {"ingredients": ["chicken", "bell peppers", "rice"]},
    }
    turns = Counter(
        "call" if m.tool_calls else m.role
        for _, one in dataset.samples()
        if isinstance(one, Conversation)
        for m in one.messages
    )
    assert turns == {"user": 746, "assistant": 746, "call": 211, "tool": 211}


def test_preferences_keep_prompt_and_both_answers_apart(cache: Path):
    sample = opened("LLaMA-Factory__dpo_en_demo.json", cache).sample(0)

    assert isinstance(sample, Preference)
    assert [m.role for m in sample.prompt] == ["user"]
    assert [m.role for m in (*sample.chosen, *sample.rejected)] == ["assistant", "assistant"]
    assert sample.chosen[0].content.startswith("That sounds like a fun and engaging idea!")
    assert sample.chosen != sample.rejected


def test_search_in_a_real_file_finds_values_and_no_column_names(cache: Path):
    rows = opened("cookbook__Symptom2Disease.csv", cache).rows
    plain = list(rows.iterate())

    for text in ("psoriasis", "LABEL", "text", "skin rash", '"', "1"):
        expected = [
            i
            for i, row in enumerate(plain)
            if any(text.lower() in value.lower() for value in row.values())
        ]
        assert rows.search(text) == expected, text


def test_a_naughty_string_is_found_by_itself(cache: Path):
    rows = opened("big-list-of-naughty-strings__blns.json", cache).rows
    wanted = [row["text"] for row in rows.iterate()]

    for index in range(1, len(rows), 7):
        assert index in rows.search(wanted[index]), wanted[index]


def test_messages_of_a_chinese_file_are_unchanged(cache: Path):
    path = DATASETS / "MedicalGPT__medical_sft_1K_format.jsonl"
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["conversations"]

    sample = opened(path.name, cache).sample(0)

    assert isinstance(sample, Conversation)
    assert sample.messages == (
        Message("user", first[0]["value"]),
        Message("assistant", first[1]["value"]),
    )
