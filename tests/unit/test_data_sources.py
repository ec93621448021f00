"""What a person types leads to files: a file, a folder, a dataset saved to disk."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from studio.data.dataset import open_dataset
from studio.data.found_files import Found, is_data_file, source_names, split_of
from studio.data.library import add_dataset, list_datasets, load_recipe
from studio.data.sources import find_all, find_files
from studio.errors import DataError
from studio.paths import Workspace


def write(path: Path, content: str = '{"prompt": "q", "completion": "a"}\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def save_to_disk(folder: Path, split: str, *parts: list[str]) -> None:
    """A folder as `datasets` 5 writes one with Dataset.save_to_disk."""
    folder.mkdir(parents=True)
    names = []
    for number, texts in enumerate(parts):
        names.append(f"data-{number:05d}-of-{len(parts):05d}.arrow")
        table = pa.table({"text": texts})
        with pa.ipc.new_stream(str(folder / names[-1]), table.schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": split}
    write(folder / "state.json", json.dumps(state))
    write(folder / "dataset_info.json", "{}")


def found(text: str, tmp_path: Path) -> Found:
    return find_files(text, tmp_path / "cache")


def names(found: Found) -> list[str]:
    return source_names(found.files)


@pytest.mark.parametrize("around", ["{}", ' "{}" ', "'{}'\n"])
def test_a_path_is_that_file_however_it_was_pasted(tmp_path: Path, around: str):
    path = write(tmp_path / "mes données (1).jsonl")
    assert found(around.format(path), tmp_path) == Found(files=(path,))
    assert found(str(path), tmp_path).suggested_name == "mes données (1)"


@pytest.mark.parametrize("text", ["", "/no/such.jsonl", "no such", "some/where.csv", "a/b/c"])
def test_a_path_to_nothing_is_refused(tmp_path: Path, text: str):
    with pytest.raises(DataError) as caught:
        found(text, tmp_path)
    assert caught.value.code == "file_not_found"
    assert f"There is no file '{text}'." in caught.value.message


def test_a_folder_gives_its_readable_files_in_order_and_says_what_it_leaves_out(tmp_path: Path):
    folder = tmp_path / "my data"
    for name in ("b.jsonl", "a.csv.gz", "deep/er/c.parquet.zst", "deep/ä b.JSON"):
        write(folder / name)
    for name in (".hidden.jsonl", ".git/x.jsonl", "pic.png", "run.py", "deep/movie.mp4"):
        write(folder / name)
    write(folder / "README.md")
    write(folder / "dataset_infos.json")
    write(folder / "LICENSE.txt")
    write(folder / "notes.txt")

    result = found(str(folder), tmp_path)

    assert [path.relative_to(folder).as_posix() for path in result.files] == [
        "a.csv.gz",
        "b.jsonl",
        "deep/ä b.JSON",
        "deep/er/c.parquet.zst",
    ]
    assert result.notes == (
        "3 files of other kinds were left out.",
        "Left out as no data: LICENSE.txt, README.md, dataset_infos.json.",
        "1 text file was left out beside the data files (notes.txt): type a text file's own path "
        "to read it.",
    )
    assert result.suggested_name == "my data"


def test_a_folder_of_texts_gives_them(tmp_path: Path):
    for name in ("b.txt", "a/one.md", "README.md"):
        write(tmp_path / "books" / name, "x\n")
    assert names(found(str(tmp_path / "books"), tmp_path)) == ["b.txt", "one.md"]


def test_a_folder_without_data_is_refused(tmp_path: Path):
    write(tmp_path / "d" / "pic.png")
    with pytest.raises(DataError) as caught:
        found(str(tmp_path / "d"), tmp_path)
    assert caught.value.code == "no_files"
    assert "holds no file the studio can read. 1 file of another kind" in caught.value.message


def test_a_folder_whose_files_name_splits_holds_them_out(tmp_path: Path):
    folder = tmp_path / "d"
    for name in ("train.jsonl", "validation-00000-of-00001.jsonl", "test/x.jsonl", "latest.jsonl"):
        write(folder / name)
    result = found(str(folder), tmp_path)
    assert result.validation_files == ("validation-00000-of-00001.jsonl",)
    assert result.test_files == ("x.jsonl",)
    recipe = result.recipe(layout="text")
    assert (recipe.split_by, recipe.layout) == ("file", "text")


def test_a_folder_with_nothing_but_test_files_holds_none_out(tmp_path: Path):
    write(tmp_path / "d" / "test.jsonl")
    result = found(str(tmp_path / "d"), tmp_path)
    assert (result.test_files, result.recipe().split_by) == ((), "random")


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("val.csv", "val"),
        ("dev/part1.jsonl", "dev"),
        ("my_test_set.json", "test"),
        ("train/test.json", "test"),
        ("contest.json", ""),
        ("trainer.json", ""),
        ("latest/devices.csv", ""),
    ],
)
def test_a_split_is_a_whole_word_of_the_path(place: str, split: str):
    assert split_of(place) == split


def test_files_that_describe_data_are_no_data():
    assert [
        name
        for name in ("readme.md", "License", "dataset_info.json", "state.json", "cache-12ab.arrow")
        if is_data_file(name)
    ] == []
    for name in ("statements.json", "readmes.jsonl", "config.csv", "data.arrow", "package.parquet"):
        assert is_data_file(name), name


def test_a_saved_dataset_gives_its_arrow_files_in_the_order_it_names(tmp_path: Path):
    save_to_disk(tmp_path / "saved", "train", ["a", "b"], ["c"])
    write(tmp_path / "saved" / "cache-0123.arrow", "left over")

    result = found(str(tmp_path / "saved"), tmp_path)
    dataset = open_dataset(result.recipe(), tmp_path / "cache")

    assert names(result) == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert list(dataset.rows.iterate()) == [{"text": "a"}, {"text": "b"}, {"text": "c"}]


def test_a_saved_dataset_dict_holds_its_validation_and_test_splits_out(tmp_path: Path):
    folder = tmp_path / "saved"
    for split, texts in {"train": ["a", "b"], "validation": ["v"], "test": ["t"]}.items():
        save_to_disk(folder / split, split, texts)
    write(folder / "dataset_dict.json", json.dumps({"splits": ["train", "validation", "test"]}))

    result = found(str(folder), tmp_path)
    split = open_dataset(result.recipe(), tmp_path / "cache").split()

    part = "data-00000-of-00001.arrow"
    assert names(result) == [f"train/{part}", f"validation/{part}", f"test/{part}"]
    assert result.validation_files == (f"validation/{part}",)
    assert result.test_files == (f"test/{part}",)
    parts = [list(part) for part in (split.train, split.validation, split.test)]
    assert parts == [[0, 1], [2], [3]]


def test_a_saved_dataset_kept_in_the_workspace_still_knows_its_parts(tmp_path: Path):
    folder = tmp_path / "saved"
    for split, texts in {"train": ["a", "b"], "validation": ["v"]}.items():
        save_to_disk(folder / split, split, texts)
    write(folder / "dataset_dict.json", json.dumps({"splits": ["train", "validation"]}))
    workspace = Workspace.open(tmp_path / "workspace")

    dataset_id = add_dataset(workspace, found(str(folder), tmp_path))

    recipe = load_recipe(workspace, dataset_id)
    split = open_dataset(recipe, workspace.cache_dir).split()
    entry = list_datasets(workspace)[0]
    part = "data-00000-of-00001.arrow"
    assert (dataset_id, entry.files) == ("saved", (f"train/{part}", f"validation/{part}"))
    assert recipe.validation_files == (f"validation/{part}",)
    assert (list(split.train), list(split.validation)) == ([0, 1], [2])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "train" / "state.json").write_text("{"), "its state.json cannot be read"),
        (
            lambda f: (f / "dataset_dict.json").write_text("[]"),
            "its dataset_dict.json is no object",
        ),
        (lambda f: (f / "dataset_dict.json").write_text("{}"), "names no splits"),
        (lambda f: (f / "dataset_dict.json").write_text('{"splits": [".."]}'), "has no folder"),
        (
            lambda f: (f / "train" / "data-00000-of-00001.arrow").unlink(),
            "'data-00000-of-00001.arrow' is missing",
        ),
        (
            lambda f: (f / "train" / "state.json").write_text('{"_indices_files": [1]}'),
            "it is a selection of rows",
        ),
    ],
)
def test_a_damaged_saved_dataset_is_refused_with_what_is_wrong(tmp_path: Path, harm, words: str):
    folder = tmp_path / "saved"
    save_to_disk(folder / "train", "train", ["a"])
    write(folder / "dataset_dict.json", '{"splits": ["train"]}')
    harm(folder)
    with pytest.raises(DataError) as caught:
        found(str(folder), tmp_path)
    assert caught.value.code == "bad_saved_dataset"
    assert words in caught.value.message


def test_several_texts_give_all_their_files_and_keep_what_is_held_out(tmp_path: Path):
    one = write(tmp_path / "one" / "x.jsonl")
    for name in ("train.jsonl", "test.jsonl"):
        write(tmp_path / "two" / name)
    write(tmp_path / "two" / "pic.png")

    result = find_all([str(one), str(tmp_path / "two")], tmp_path / "cache")

    assert names(result) == ["x.jsonl", "train.jsonl", "test.jsonl"]
    assert result.test_files == ("test.jsonl",)
    assert result.notes == ("1 file of another kind was left out.",)


def test_files_of_the_same_name_are_told_apart_by_their_folders():
    files = [Path("/a/x/1.csv"), Path("/a/y/1.csv"), Path("/b/y/1.csv"), Path("/b/2.csv")]
    assert source_names(files) == ["x/1.csv", "a/y/1.csv", "b/y/1.csv", "2.csv"]
    assert source_names([Path("/a/1.csv"), Path("/a/1.csv")]) == ["1.csv", "1.csv"]
