"""Rows on disk: paged, searched, converted once, never half-written."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.data import conversion
from studio.data.rows import RowStore, file_sha256, open_rows
from studio.errors import DataError


def write_lines(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> RowStore:
    rows: list[object] = [{"text": f"row {i}", "n": i} for i in range(10_000)]
    return open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")


def test_a_page_holds_the_rows_asked_for(store: RowStore):
    assert len(store) == 10_000
    assert store.columns == ("text", "n")
    assert store.page(4095, 3) == [{"text": f"row {i}", "n": i} for i in (4095, 4096, 4097)]
    assert store.page(9_999, 50) == [{"text": "row 9999", "n": 9999}]
    assert store.page(10_000, 50) == []
    assert store.row(0) == {"text": "row 0", "n": 0}
    assert [row["n"] for row in store.iterate()] == list(range(10_000))


@pytest.mark.parametrize("index", [-1, 10_000])
def test_a_row_outside_is_refused_by_its_number_from_one(store: RowStore, index: int):
    with pytest.raises(DataError) as caught:
        store.row(index)
    assert caught.value.code == "row_not_found"
    assert f"no row {index + 1}:" in caught.value.message
    assert "10,000 rows" in caught.value.message


def test_rows_survive_unchanged_however_irregular(tmp_path: Path):
    rows: list[object] = [
        {"a": {"b": [1, 2.5, None, True]}, "é": '日本\u2028\n"q"'},
        {"c": 10**30, "a": "now a text"},
        {},
        {"half": "\ud83d!"},
    ]
    store = open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")

    assert list(store.iterate()) == rows
    assert store.columns == ("a", "é", "c", "half")


def test_search_looks_at_values_in_any_column_and_at_nothing_else(tmp_path: Path):
    rows: list[object] = [
        {"role": "X", "text": 'He said "Ja"\nnew'},
        {"role": None, "text": "ÜBER (a+b)*", "n": 17},
        {"role": "user", "deep": [{"content": ["nullable", True]}]},
        {"text": "C:\\new\\<b>"},
        {"half": "\ud83d tail"},
    ]
    store = open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")

    expected = {
        "he SAID": [0],
        '"ja"': [0],
        "new": [0, 3],
        "\nnew": [0],
        "\\new": [3],
        "über": [1],
        "(A+B)*": [1],
        "17": [1],
        "role": [],
        "content": [],
        "null": [2],
        "true": [2],
        "<b>": [3],
        '","': [],
        "tail": [4],
        "": [0, 1, 2, 3, 4],
    }
    assert {text: store.search(text) for text in expected} == expected


def test_several_files_follow_one_another(tmp_path: Path):
    one = write_lines(tmp_path / "a.jsonl", [{"x": 1}])
    two = tmp_path / "b.csv"
    two.write_text("y\n2\n")

    store = open_rows([one, two], tmp_path / "cache")

    assert list(store.iterate()) == [{"x": 1}, {"y": "2"}]
    assert store.columns == ("x", "y")


def test_files_are_converted_once_and_again_when_they_change(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"x": 1}])
    calls: list[int] = []
    open_rows([path], tmp_path / "cache", calls.append)
    open_rows([path], tmp_path / "cache", calls.append)
    assert calls == [1]

    write_lines(path, [{"x": 1}, {"x": 2}])
    assert len(open_rows([path], tmp_path / "cache", calls.append)) == 2
    assert calls == [1, 2]


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\n{"x": \n')

    for _ in range(2):
        with pytest.raises(DataError):
            open_rows([path], tmp_path / "cache")

    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_a_number_beyond_a_float_is_refused_with_its_row(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\n{"x": 1e999}\n')
    with pytest.raises(DataError) as caught:
        open_rows([path], tmp_path / "cache")
    assert (caught.value.code, "Row 2 " in caught.value.message) == ("bad_number", True)


def test_no_file_and_no_row_are_refused(tmp_path: Path):
    with pytest.raises(DataError) as none:
        open_rows([], tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n")
    with pytest.raises(DataError) as empty:
        open_rows([tmp_path / "a.csv"], tmp_path / "cache")
    with pytest.raises(DataError) as gone:
        file_sha256(tmp_path / "gone.csv")
    codes = [caught.value.code for caught in (none, empty, gone)]
    assert codes == ["no_files", "no_rows", "file_not_found"]


def test_a_text_files_way_of_splitting_is_noted(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")

    store = open_rows([tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "cache")

    assert store.notes == ("a.txt has no blank line: every line is a row.",)


def test_lengths_are_the_characters_of_each_rows_values(tmp_path: Path):
    rows: list[object] = [
        {"a": "äöü", "b": None},
        {"a": [{"x": "12"}, 345, True]},
        {},
        {"a": "😀\n"},
        *({"a": "x" * n} for n in range(5000)),
    ]
    store = open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")

    assert store.lengths[:4].tolist() == [3, 9, 0, 2]
    assert store.lengths[4:].tolist() == list(range(5000))
    assert store.lengths.dtype == "int32"


def test_long_rows_are_written_in_smaller_batches_and_found_by_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conversion, "_BYTES_A_BATCH", 40_000)
    rows: list[object] = [{"n": n, "text": "x" * 1000} for n in range(100)]
    rows += [{"n": n} for n in range(100, 5000)]
    store = open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")

    assert [len(chunk) for chunk in store.table.column("row").chunks][:2] == [40, 40]
    places = [0, 39, 40, 41, 79, 80, 99, 100, 4999]
    assert [store.row(n)["n"] for n in places] == places
    assert [row["n"] for row in store.page(98, 4)] == [98, 99, 100, 101]


class Cancelled(Exception):
    """What a caller raises from the progress callback."""


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json", "txt"])
def test_raising_from_the_progress_callback_ends_the_conversion_and_leaves_nothing(
    tmp_path: Path, ending: str
):
    path = tmp_path / f"a.{ending}"
    if ending == "json":
        path.write_text(json.dumps([{"n": n} for n in range(9000)]))
    elif ending == "jsonl":
        write_lines(path, [{"n": n} for n in range(9000)])
    else:
        path.write_text("n\n" + "1\n" * 9000)
    seen: list[int] = []

    def cancel(n: int) -> None:
        seen.append(n)
        if n > 5000:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_rows([path], tmp_path / "cache", cancel)

    assert seen == [4096, 8192]
    assert [one for one in (tmp_path / "cache").rglob("*") if one.is_file()] == []
    n_rows = 9001 if ending == "txt" else 9000
    assert len(open_rows([path], tmp_path / "cache")) == n_rows


def test_files_opened_at_the_same_time_are_converted_once(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"n": n} for n in range(20_000)])
    written: list[int] = []

    def count(n: int) -> None:
        if n:
            written.append(n)

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_rows([path], tmp_path / "cache", count), range(4)))

    assert [len(store) for store in stores] == [20_000] * 4
    assert written == [4096, 8192, 12288, 16384, 20000]


def test_columns_are_those_of_all_rows_in_order_of_appearance(tmp_path: Path):
    rows: list[object] = [{f"c{n}": n} for n in range(5000)]
    store = open_rows([write_lines(tmp_path / "a.jsonl", rows)], tmp_path / "cache")
    assert store.columns == tuple(f"c{n}" for n in range(5000))


def test_a_note_of_the_reader_is_kept_with_the_rows(tmp_path: Path):
    text = "q\n" + "Le café était fermé; où êtes-vous? Ça va très bien\n" * 9
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    for _ in range(2):
        store = open_rows([tmp_path / "a.csv"], tmp_path / "cache")
        assert store.notes == ("a.csv is read as Windows-1252.",)


def test_files_of_the_same_name_are_named_with_their_folders(tmp_path: Path):
    paths = []
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        paths.append(write_lines(tmp_path / folder / "a.jsonl", [{"x": folder}]))
    store = open_rows(paths, tmp_path / "cache")
    assert store.sources == (("train/a.jsonl", 1), ("test/a.jsonl", 1))
