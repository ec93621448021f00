"""The Data tab's plain parts: what its controls do to a recipe, and the figures it shows."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from components.data.intake import Intakes
from components.data.keep import keep
from components.data.mapping import braced, starting_templates, with_templates
from components.data.mix import part_of, with_mix
from components.data.open import dataset_opener
from components.data.phrasings import phrasing_reader, with_phrasings
from components.data.prepare import figures_of, is_group, leaks, suspects
from components.data.proposals import seconds_left
from components.data.reading import changed
from components.data.shape import reshaped
from components.data.sources import source_meaning
from components.data.synthesis import shown_rows
from components.data.template import check_template, marked_runs, title_of
from studio.data.dataset import open_dataset
from studio.data.library import add_dataset, list_datasets, load_recipe
from studio.data.prepared import prepare
from studio.data.recipe import DatasetRecipe, Edit, MixPart
from studio.errors import DataError, TemplateError
from studio.paths import Workspace
from studio.text.preview import TokenPiece

Write = Callable[..., Path]


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """20 questions of 5 users, 4 each in a row; 16 are easy and 4 are hard."""
    rows = [
        {
            "question": f"question {n}",
            "answer": f"answer {n}",
            "user_id": f"u{n // 4}",
            "level": "hard" if n % 5 == 0 else "easy",
        }
        for n in range(20)
    ]
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


# --- sources ---------------------------------------------------------------------------------


def test_what_is_typed_is_explained_before_anything_is_read(asked: Path) -> None:
    assert source_meaning("") == ""
    assert source_meaning(f'"{asked}"') == f"A file of {asked.stat().st_size / 1000:.3g} KB."
    assert source_meaning(str(asked.parent)).startswith("A folder: the data files")
    assert source_meaning("/no/such/file.jsonl") == (
        "There is no such file or folder on this computer."
    )
    assert source_meaning("owner/name@abc:main/train") == (
        "The dataset 'owner/name' of huggingface.co, at the revision 'abc', configuration 'main', "
        "split 'train': its files are downloaded once; nothing of yours is sent."
    )
    assert "'owner/name' of" in source_meaning("https://huggingface.co/datasets/owner/name")


def _ended(intakes: Intakes, token: str) -> dict[str, object]:
    for thread in intakes.threads:
        thread.join(30)
    return intakes.look({"token": token})


def test_a_file_is_read_aside_and_its_notes_are_told_at_the_end(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\nthree\n", "utf-8")
    intakes = Intakes(workspace)
    answer = _ended(intakes, intakes.take_text(str(path)))
    assert (answer["state"], answer["n_rows"]) == ("done", 3)
    assert answer["notes"] == ["lines.txt has no blank line: every line is a row."]
    assert [entry.name for entry in list_datasets(workspace) if not entry.bundled] == ["lines"]


def test_a_refused_file_keeps_its_reason_and_nothing_of_it_is_kept(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("version https://git-lfs.github.com/spec/v1\n", "utf-8")
    intakes = Intakes(workspace)
    answer = _ended(intakes, intakes.take_files([path]))
    assert answer["state"] == "failed"
    assert str(answer["problem"]).startswith("'data.jsonl' is a Git LFS pointer")
    assert str(answer["fix"]).startswith("Download the file itself")
    assert not list(workspace.datasets_dir.iterdir())


def test_a_cancelled_reading_keeps_nothing(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n' * 50_000, "utf-8")
    intakes = Intakes(workspace)
    token = intakes.take_files([path])
    intakes.cancel({"token": token})
    assert _ended(intakes, token)["state"] == "cancelled"
    assert not list(workspace.datasets_dir.iterdir())


def test_an_unknown_reading_is_said_to_be_unknown(workspace: Workspace) -> None:
    assert Intakes(workspace).look({"token": "x"}) == {"state": "unknown"}


# --- keeping changes -------------------------------------------------------------------------


def test_a_change_of_a_sample_is_kept_in_a_copy(workspace: Workspace) -> None:
    kept, version = keep(
        workspace, "sample:pig-latin", 3, lambda recipe: replace(recipe, split_seed=7)
    )
    assert (kept, version) == ("pig-latin-copy", 4)
    assert load_recipe(workspace, "pig-latin-copy").split_seed == 7


def test_nothing_is_written_where_nothing_changes(workspace: Workspace, asked: Path) -> None:
    dataset = add_dataset(workspace, [asked])
    before = (workspace.datasets_dir / dataset / "recipe.json").stat().st_mtime_ns
    assert keep(workspace, dataset, 1, lambda recipe: recipe) == (gr.skip(), gr.skip())
    assert (workspace.datasets_dir / dataset / "recipe.json").stat().st_mtime_ns == before


# --- reading ---------------------------------------------------------------------------------


def _controls(recipe: DatasetRecipe, **wanted: object) -> tuple[object, ...]:
    given = {
        "layout": recipe.layout,
        "parts": [*recipe.mapping.values(), *[""] * 6][:6],
        "unit": recipe.text_unit,
        "chunk": recipe.chunk_characters,
        "train_on": recipe.train_on,
    } | wanted
    parts = given["parts"]
    assert isinstance(parts, list)
    return given["layout"], *parts, given["unit"], given["chunk"], given["train_on"]


def test_another_layout_empties_the_mapping_and_templates_begin_with_the_columns() -> None:
    recipe = DatasetRecipe(
        layout="prompt_completion", mapping={"prompt": "question", "completion": "the answer"}
    )
    assert changed(recipe, _controls(recipe, layout="messages")).mapping == {}
    assert changed(recipe, _controls(recipe, layout="template")).mapping == {
        "prompt": "{{ question }}",
        "completion": '{{ row["the answer"] }}',
    }


def test_the_text_unit_stays_while_rows_are_changed_by_number() -> None:
    recipe = DatasetRecipe(layout="text", mapping={"text": "text"}, text_unit="line")
    assert changed(recipe, _controls(recipe, unit="chunk", chunk=None)).text_unit == "chunk"
    edited = replace(recipe, edits=(Edit(kind="drop", rows=(2,)),))
    with pytest.raises(DataError) as refused:
        changed(edited, _controls(edited, unit="chunk"))
    assert refused.value.code == "rows_changed"
    assert changed(edited, _controls(edited, train_on="everything")).train_on == "everything"


def test_columns_of_any_name_are_written_as_jinja() -> None:
    assert braced("question") == "{{ question }}"
    assert braced("extra_info.answer") == "{{ extra_info.answer }}"
    assert braced("my column") == '{{ row["my column"] }}'
    assert braced("instances.0.output") == '{{ row["instances"]["0"]["output"] }}'


def test_templates_begin_with_instruction_and_input_together() -> None:
    recipe = DatasetRecipe(
        layout="alpaca", mapping={"instruction": "task", "input": "given", "output": "said"}
    )
    assert starting_templates(recipe) == {
        "prompt": "{{ task }}\n\n{{ given }}",
        "completion": "{{ said }}",
    }


def test_a_template_for_the_answer_must_not_be_empty() -> None:
    with pytest.raises(DataError) as refused:
        with_templates(DatasetRecipe(), {"prompt": "{{ a }}", "completion": " "})
    assert refused.value.code == "mapping_incomplete"
    kept = with_templates(
        DatasetRecipe(), {"prompt": "{{ a }}", "completion": "{{ b }}", "system": ""}
    )
    assert (kept.layout, kept.mapping) == (
        "template",
        {"prompt": "{{ a }}", "completion": "{{ b }}"},
    )


# --- chat template ---------------------------------------------------------------------------


def test_a_template_that_is_no_jinja_is_not_kept_and_its_line_is_named() -> None:
    check_template("")
    check_template("chatml")
    check_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(TemplateError) as broken:
        check_template("{% for m in messages %}\n{{ m.content }\n{% endfor %}")
    assert broken.value.message.startswith("The chat template is not kept, line 2: ")
    with pytest.raises(TemplateError) as silent:
        check_template("just words")
    assert silent.value.message.endswith("line 1: it writes no message: {{ … }} is missing.")


def test_neighbouring_tokens_of_one_kind_are_shown_as_one_text() -> None:
    pieces = [
        TokenPiece("<s>", 1, trained=False, special=True),
        TokenPiece("ques", 2, trained=False, special=False),
        TokenPiece("tion", 3, trained=False, special=False),
        TokenPiece("ans", 4, trained=True, special=False),
        TokenPiece("wer", 5, trained=True, special=False),
        TokenPiece("</s>", 6, trained=True, special=True),
    ]
    runs, left = marked_runs(pieces, 100)
    assert runs == [["<s>", "s"], ["question", ""], ["answer", "t"], ["</s>", "ts"]]
    assert left == 0
    assert marked_runs(pieces, 5) == ([["<s>", "s"], ["ques", ""]], 14)


def test_gallery_names_are_written_as_people_write_them() -> None:
    assert [title_of(name) for name in ("chatml", "llama-3", "deepseek", "zephyr")] == [
        "ChatML",
        "Llama 3",
        "DeepSeek",
        "Zephyr",
    ]


# --- shape -----------------------------------------------------------------------------------


def test_controls_become_a_recipe_of_the_same_types() -> None:
    given = {
        "split_by": "file",
        "split_column": "",
        "validation_files": ["dev.jsonl"],
        "test_files": [],
        "validation_share": 0,
        "test_share": None,
        "n_folds": 0,
        "fold": 1,
        "split_seed": None,
    }
    recipe = reshaped(DatasetRecipe(), given)
    assert recipe == DatasetRecipe(
        split_by="file", validation_files=("dev.jsonl",), validation_share=0.0
    )
    assert type(recipe.validation_share) is float


def test_folds_are_switched_on_with_at_least_two() -> None:
    assert reshaped(DatasetRecipe(), {"n_folds": 1, "fold": 1}).n_folds == 2
    assert reshaped(DatasetRecipe(n_folds=2), {"n_folds": 0, "fold": 1}).n_folds == 0


def test_figures_count_each_part_and_what_balancing_makes(asked: Path, tmp_path: Path) -> None:
    recipe = DatasetRecipe(
        files=(str(asked),),
        validation_share=0.2,
        test_share=0.1,
        edits=(Edit(kind="drop", rows=(1,)),),
    )
    figures = figures_of(prepare(recipe, tmp_path / "cache"))
    assert {k: figures[k] for k in ("train", "validation", "test", "n_rows", "n_removed")} == {
        "train": 13,
        "validation": 4,
        "test": 2,
        "n_rows": 19,
        "n_removed": 1,
    }
    by_level = replace(
        recipe, edits=(), validation_share=0.0, test_share=0.0, balance="oversample",
        balance_column="level",
    )  # fmt: skip
    balanced = figures_of(prepare(by_level, tmp_path / "cache"))
    assert balanced["labels"] == [["easy", 16, 16, 1.0], ["hard", 4, 16, 1.0]]
    assert (balanced["train"], balanced["n_distinct"]) == (32, 20)
    weighted = figures_of(prepare(replace(by_level, balance="weights"), tmp_path / "cache"))
    assert weighted["labels"] == [["easy", 16, 16, 0.625], ["hard", 4, 4, 2.5]]


def test_groups_on_both_sides_are_a_leak_until_the_split_goes_by_group(
    asked: Path, tmp_path: Path
) -> None:
    recipe = DatasetRecipe(files=(str(asked),), validation_share=0.25)
    prepared = prepare(recipe, tmp_path / "cache")
    assert suspects(prepared.parts[0]) == ["question", "user_id"]
    users = {n // 4 for n in range(20) if n not in prepared.validation.indexes}
    shared = sum(n // 4 in users for n in prepared.validation.indexes)
    assert shared > 0
    (leak,) = leaks(prepared)
    assert (leak["column"], leak["n_rows"]) == ("user_id", shared)
    grouped = replace(recipe, split_by="group", split_column="user_id")
    assert leaks(prepare(grouped, tmp_path / "cache")) == []


def test_columns_that_rows_belong_to_are_told_by_their_names() -> None:
    names = ("user_id", "conversationId", "id", "Patient", "topic", "idea", "width", "label")
    assert [name for name in names if is_group(name)] == list(names[:5])


def test_a_mix_grows_changes_and_shrinks_by_action(workspace: Workspace, asked: Path) -> None:
    add_dataset(workspace, [asked], "Other")
    part = part_of(workspace, "other", 0.25)
    assert (part.name, part.share, part.recipe.mapping) == (
        "Other",
        0.25,
        {"prompt": "question", "completion": "answer"},
    )
    recipe = with_mix(DatasetRecipe(), {"action": "add"}, part)
    recipe = with_mix(recipe, {"action": "share", "place": 0, "share": 0.4})
    assert [one.share for one in recipe.mix] == [0.4]
    with pytest.raises(DataError) as refused:
        with_mix(recipe, {"action": "add"}, replace(part, share=0.6))
    assert refused.value.code == "mix_share"
    assert with_mix(recipe, {"action": "remove", "place": 0}).mix == ()


def test_a_mix_inside_a_mix_is_refused(workspace: Workspace, asked: Path) -> None:
    dataset = add_dataset(workspace, [asked], "Other")
    mixed = MixPart(recipe=load_recipe(workspace, "sample:support"), share=0.1)
    keep(workspace, dataset, 1, lambda recipe: replace(recipe, mix=(mixed,)))
    with pytest.raises(DataError) as refused:
        part_of(workspace, dataset, 0.1)
    assert refused.value.code == "mix_nested"


def test_each_phrasing_is_shown_on_the_row_and_the_drawn_one_is_named(
    workspace: Workspace, asked: Path
) -> None:
    dataset = add_dataset(workspace, [asked])
    look = phrasing_reader(dataset_opener(workspace))
    answer = look(
        {
            "dataset": dataset,
            "index": 2,
            "phrasings": ["Please: {{ prompt }}", "", "{{ level }}!\n{{ nothing }}"],
        }
    )
    assert answer["shown"][:2] == [{"text": "Please: question 2"}, {"text": ""}]
    assert answer["shown"][2] == {"wrong": {"line": 2, "message": "'nothing' is undefined."}}
    assert answer["drawn"] in (0, 2)
    assert with_phrasings(DatasetRecipe(), ["a {{ prompt }}", " "]).phrasings == ("a {{ prompt }}",)


def test_rows_shown_by_the_table_are_named_without_removed_ones(
    workspace: Workspace, asked: Path
) -> None:
    dataset = add_dataset(workspace, [asked])
    drop = Edit(kind="drop", rows=(12,))
    keep(workspace, dataset, 1, lambda recipe: replace(recipe, edits=(drop,)))
    opener = dataset_opener(workspace)
    nothing_known = {"model": "", "max_length": 0, "filters": {}, "order": "row"}
    found = shown_rows(opener, dataset, {**nothing_known, "query": "question 1"})
    assert found == (2, 11, 13, 14, 15, 16, 17, 18, 19, 20)
    with pytest.raises(DataError) as refused:
        shown_rows(opener, dataset, {**nothing_known, "query": "no such text"})
    assert refused.value.code == "too_many_rows"


def test_time_left_of_a_synthesis_is_told_from_its_speed() -> None:
    steps = [
        {"event": "progress", "time": 10.0, "done": 1, "n": 11},
        {"event": "progress", "time": 14.0, "done": 3, "n": 11},
    ]
    assert seconds_left(steps) == 16.0
    assert seconds_left(steps[:1]) is None


def test_a_dataset_opens_with_what_was_kept(workspace: Workspace, asked: Path) -> None:
    dataset = add_dataset(workspace, [asked])
    keep(
        workspace,
        dataset,
        1,
        lambda recipe: replace(recipe, split_by="group", split_column="user_id"),
    )
    split = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir).split()
    assert (len(split.train), len(split.validation)) == (16, 4)
