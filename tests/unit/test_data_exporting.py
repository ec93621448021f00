"""Prepared sets as files: they open as the same samples, and are the same bytes everywhere."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from studio.data.exporting import WrittenSet, write_set
from studio.data.messages import Conversation, Sample
from studio.data.prepared import Draws, Prepared, prepare
from studio.data.recipe import DatasetRecipe, Edit, MixPart
from studio.errors import DataError
from studio.paths import PROJECT_DIR
from studio.settings import from_dict, to_dict

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Łódź", "days": [1, 2], "deep": {}}},
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ROWS: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Weather?\r\n\u2028 \x00 \u00e9 e\u0301 😀"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "7 °C", "name": "weather"},
                {"role": "assistant", "content": "Cold.", "reasoning_content": "7 is low"},
            ],
            "tools": [TOOL],
        },
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "weight": 0},
                {"role": "user", "content": "q2"},
                {"role": "assistant", "content": "a2", "weight": 0.25},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "q3"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"name": "weather", "arguments": "not JSON"}],
                },
            ]
        },
    ],
    "sharegpt": [
        {
            "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
            "system": "Be brief.",
        }
    ],
    "alpaca": [
        {"instruction": "Add", "input": "1, 2", "output": "3", "history": [["Hi", "Hello"]]}
    ],
    "prompt_completion": [{"prompt": "q", "completion": "a", "system": "s"}],
    "preference": [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "yes"}],
            "rejected": [{"role": "assistant", "content": "no"}],
        },
    ],
    "kto": [
        {"prompt": "q", "completion": "good", "label": True},
        {"prompt": "q", "completion": "bad", "label": False},
    ],
    "text": [{"text": "Once upon a time.\n\nThe end. "}],
    "template": [{"city": "Rome", "land": "Italy"}],
}
MAPPINGS = {"template": {"prompt": "Where is {{ city }}?", "completion": "In {{ land }}."}}


def recipe_of(folder: Path, rows: list[dict[str, Any]], name: str = "own", **settings: Any):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DatasetRecipe(files=(str(path),), **{"validation_share": 0.0, **settings})


def pairs(n: int, **columns: str) -> list[dict[str, Any]]:
    return [{"prompt": f"q{i}", "completion": f"a{i}", **columns} for i in range(n)]


def read(prepared: Prepared, draws: Draws) -> list[Sample]:
    return [sample for _, sample in prepared.samples(draws)]


def reopened(written: WrittenSet, cache: Path) -> Prepared:
    values = json.loads((written.folder / "recipe.json").read_text(encoding="utf-8"))
    recipe = from_dict(DatasetRecipe, values, "recipe.json").resolved(written.folder)
    return prepare(recipe, cache)


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
@pytest.mark.parametrize("layout", sorted(ROWS))
def test_every_layout_opens_again_as_the_same_samples(
    tmp_path: Path, layout: str, file_format: str
):
    mapping = MAPPINGS.get(layout, {})
    recipe = recipe_of(tmp_path, ROWS[layout], layout=layout, mapping=mapping)
    prepared = prepare(recipe, tmp_path / "cache")
    samples = read(prepared, prepared.train)
    assert len(samples) == len(ROWS[layout])

    written = write_set(prepared, tmp_path / "out", file_format)
    again = reopened(written, tmp_path / "cache")

    assert read(again, again.train) == samples


def test_the_written_file_is_detected_as_what_it_is(tmp_path: Path):
    for layout in ("messages", "preference", "kto", "text"):
        prepared = prepare(recipe_of(tmp_path, ROWS[layout], layout=layout), tmp_path / "cache")
        written = write_set(prepared, tmp_path / layout, "parquet")
        opened = prepare(DatasetRecipe(files=(str(written.files[0].path),)), tmp_path / "cache")
        assert opened.recipe.layout == layout


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_parts_become_files_and_open_as_the_same_parts(tmp_path: Path, file_format: str):
    recipe = recipe_of(tmp_path, pairs(40), validation_share=0.1, test_share=0.2)
    prepared = prepare(recipe, tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out", file_format)
    assert [(file.path.name, file.part, file.n_rows) for file in written.files] == [
        (f"train.{file_format}", "train", 28),
        (f"validation.{file_format}", "validation", 4),
        (f"test.{file_format}", "test", 8),
    ]
    again = reopened(written, tmp_path / "cache")
    for part in ("train", "validation", "test"):
        assert read(again, getattr(again, part)) == read(prepared, getattr(prepared, part))


def test_one_file_names_the_part_of_each_row(tmp_path: Path):
    recipe = recipe_of(tmp_path, pairs(10), validation_share=0.2, test_share=0.1)
    prepared = prepare(recipe, tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out", "parquet", one_file=True)
    assert [file.path.name for file in written.files] == ["all.parquet"]
    table = pq.read_table(written.files[0].path)
    assert table.column("part").to_pylist() == ["train"] * 7 + ["validation"] * 2 + ["test"]
    again = reopened(written, tmp_path / "cache")
    assert len(again.train) == 10


def test_a_line_holds_messages_and_nothing_else(tmp_path: Path):
    prepared = prepare(recipe_of(tmp_path, pairs(1)), tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out")
    assert written.files[0].path.read_bytes() == (
        b'{"messages": [{"role": "user", "content": "q0"}, '
        b'{"role": "assistant", "content": "a0"}]}\n'
    )


def test_plain_text_in_a_mix_gets_a_file_of_its_own(tmp_path: Path):
    prose = recipe_of(tmp_path, [{"text": "Once."}, {"text": "Twice."}], "prose")
    mix = (MixPart(recipe=prose, share=0.4),)
    prepared = prepare(recipe_of(tmp_path, pairs(3), mix=mix), tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out")
    assert [(file.path.name, file.n_rows) for file in written.files] == [
        ("train.jsonl", 3),
        ("train-text.jsonl", 2),
    ]
    again = reopened(written, tmp_path / "cache")
    assert read(again, again.train) == read(prepared, prepared.train)


def test_class_weights_become_weights_of_answers_with_the_largest_one(tmp_path: Path):
    rows = [*pairs(9, topic="tea"), *pairs(3, topic="coffee")]
    recipe = recipe_of(
        tmp_path,
        rows,
        balance="weights",
        balance_column="topic",
        split_by="stratified",
        split_column="topic",
        validation_share=1 / 3,
    )
    prepared = prepare(recipe, tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out")
    train, validation = (
        [json.loads(line)["messages"] for line in file.path.read_text().splitlines()]
        for file in written.files
    )
    # 6 rows about tea and 2 about coffee: 8 / (2 * 6) over 8 / (2 * 2)
    assert [answer.get("weight", 1) for _, answer in train] == pytest.approx([1 / 3] * 6 + [1] * 2)
    assert len(validation) == 4
    unweighted = [question for question, _ in train] + [m for turns in validation for m in turns]
    assert not any("weight" in message for message in unweighted)
    assert written.notes == (
        "Class weights are the weights of the answers; the largest is written as 1.",
    )
    again = reopened(written, tmp_path / "cache")
    weights = [
        s.messages[1].weight for s in read(again, again.train) if isinstance(s, Conversation)
    ]
    assert weights == pytest.approx([1 / 3] * 6 + [1] * 2)


def test_rows_that_do_not_convert_are_counted_and_named(tmp_path: Path):
    rows = [*pairs(2), {"prompt": "q", "completion": ""}]
    prepared = prepare(recipe_of(tmp_path, rows), tmp_path / "cache")
    written = write_set(prepared, tmp_path / "out")
    assert (written.n_rows, written.n_left_out) == (2, 1)
    assert written.failures == ("Row 3 has no text in column 'completion'.",)


def test_a_set_without_a_row_is_refused_and_leaves_nothing(tmp_path: Path):
    prepared = prepare(recipe_of(tmp_path, [{"prompt": "q", "completion": ""}]), tmp_path / "cache")
    with pytest.raises(DataError) as caught:
        write_set(prepared, tmp_path / "out")
    assert caught.value.code == "nothing_to_write"
    assert "Row 1 has no text in column 'completion'." in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "own.jsonl"]


def test_an_export_that_is_cut_short_leaves_nothing(tmp_path: Path):
    prepared = prepare(recipe_of(tmp_path, pairs(1500)), tmp_path / "cache")

    def interrupt(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_set(prepared, tmp_path / "out", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "own.jsonl"]


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, taken: str):
    prepared = prepare(recipe_of(tmp_path, pairs(1)), tmp_path / "cache")
    target = tmp_path / "out"
    if taken == "folder":
        (target / "inside").mkdir(parents=True)
    else:
        target.write_text("mine")
    with pytest.raises(DataError) as caught:
        write_set(prepared, target)
    assert caught.value.code == "folder_not_empty"


def test_an_empty_folder_may_be_written_into(tmp_path: Path):
    prepared = prepare(recipe_of(tmp_path, pairs(1)), tmp_path / "cache")
    (tmp_path / "out").mkdir()
    write_set(prepared, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "recipe.json",
        "train.jsonl",
    ]


def everything(folder: Path) -> DatasetRecipe:
    """Edits, a three-way split, a mix, balance and phrasings, all at once."""
    folder.mkdir()
    topics = ["tea"] * 30 + ["coffee"] * 10 + ["water"] * 5
    rows = [
        {"prompt": f"q{i} \x01ü", "completion": f"a{i}", "topic": topic}
        for i, topic in enumerate(topics)
    ]
    general = recipe_of(
        folder,
        [{"prompt": f"g{i}", "completion": f"h{i}"} for i in range(4)],
        "general",
        phrasings=("General: {{ prompt }}", "{{ prompt }}!"),
    )
    prose = recipe_of(folder, [{"text": f"Once {i}."} for i in range(50)], "prose")
    return recipe_of(
        folder,
        rows,
        validation_share=0.1,
        test_share=0.1,
        split_by="stratified",
        split_column="topic",
        balance="oversample",
        balance_column="topic",
        phrasings=("{{ prompt }} ({{ topic }})", "About {{ topic }}: {{ prompt }}"),
        edits=(
            Edit(kind="drop", rows=(3, 17)),
            Edit(kind="set", rows=(5,), path="completion", value="better"),
            Edit(kind="clean", rows=tuple(range(1, 46)), rule="control_characters"),
            Edit(
                kind="add", rows=(4,), value={**rows[3], "prompt": "again", "source": "synthetic"}
            ),
        ),
        mix=(MixPart(recipe=general, share=0.2), MixPart(recipe=prose, share=0.1)),
    )


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_the_same_recipe_gives_the_same_bytes_in_another_folder_and_process(tmp_path: Path):
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from studio.data.exporting import write_set\n"
        "from studio.data.prepared import prepare\n"
        "from studio.data.recipe import DatasetRecipe\n"
        "from studio.settings import from_dict\n"
        "folder = Path(sys.argv[1])\n"
        "values = json.loads((folder / 'asked.json').read_text())\n"
        "recipe = from_dict(DatasetRecipe, values, 'asked.json').resolved(folder)\n"
        "write_set(prepare(recipe, folder / 'cache'), folder / 'out')\n"
    )
    found = []
    for name, seed in (("one", "1"), ("a longer name", "2")):
        folder = tmp_path / name
        recipe = everything(folder)
        plain = replace(
            recipe,
            files=("own.jsonl",),
            mix=tuple(
                replace(part, recipe=replace(part.recipe, files=(f"{stem}.jsonl",)))
                for part, stem in zip(recipe.mix, ("general", "prose"), strict=True)
            ),
        )
        (folder / "asked.json").write_text(json.dumps(to_dict(plain)))
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            cwd=PROJECT_DIR,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(hashes(folder / "out"))
    assert sorted(found[0]) == [
        *("recipe.json", "test.jsonl", "train-text.jsonl", "train.jsonl", "validation.jsonl"),
    ]
    assert found[0] == found[1]
    assert found[0]["train.jsonl"] == TRAIN_SHA256


# Of the training file of `everything`: on every platform and Python.
TRAIN_SHA256 = "b41b982927b7d23e24c7e7db768ad7c453775e7170ef53738c1eed442c5886d8"
