"""JSON of any size is streamed: the same rows and the same places through a window of any width."""

import json
import math
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.data import reading_json
from studio.data.reading import read_rows
from studio.data.reading_document import read_document
from studio.data.reading_json import read_json_lines
from studio.data.row_text import DEEPEST, pack_row, row_of
from studio.errors import DataError

NAME = Path("a.json")


def in_pieces(text: str, n: int) -> Callable[[], Iterator[str]]:
    return lambda: (text[i : i + n] for i in range(0, len(text), n))


def document(text: str, width: int, notes: list[str] | None = None) -> list[dict[str, Any]]:
    return [row for _, row in read_document(NAME, in_pieces(text, width), notes or [])]


ROWS = [
    {"t": 'é "q" \\ \n 😀', "n": 12345, "x": [1.5e-7, -0.0, True, None, {"k": []}]},
    {"t": "", "n": -1, "x": []},
    {"t": "half \ud83d", "n": 10**25, "x": [{}]},
]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 31, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii", [True, False])
def test_a_list_gives_the_same_rows_through_any_window(width: int, indent: Any, ascii: bool):
    text = json.dumps(ROWS, indent=indent, ensure_ascii=ascii)
    assert document(f" \n{text}\n ", width) == ROWS


@pytest.mark.parametrize("width", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ({"anything": ROWS}, ROWS),
        ({"version": 1, "data": ROWS, "licence": {"name": "MIT", "of": [1, 2]}}, ROWS),
        ({"a": [1, 2], "rows": ROWS, "b": []}, ROWS),
        ({"messages": [{"role": "user"}]}, [{"messages": [{"role": "user"}]}]),
        ({"data": [], "x": 1}, [{"data": [], "x": 1}]),
        ({"data": [{"a": 1}, 2], "x": 1}, [{"data": [{"a": 1}, 2], "x": 1}]),
        ({"other": ROWS, "x": 1}, [{"other": ROWS, "x": 1}]),
        ({}, [{}]),
        (["a", {"b": 1}], [{"text": "a"}, {"b": 1}]),
        ("one", [{"text": "one"}]),
    ],
)
def test_an_object_around_a_list_gives_the_lists_rows(width: int, value: Any, rows: list[Any]):
    assert document(json.dumps(value), width) == rows


def test_lists_beside_the_one_that_is_read_are_told():
    notes: list[str] = []
    text = json.dumps({"train": [{"a": 1}] * 3, "test": [{"a": 2}], "n": [1]})
    rows = [row for _, row in read_document(NAME, in_pieces(text, 9), notes)]
    assert rows == [{"a": 1}] * 3
    assert notes == ["a.json: rows are those of 'train'; other lists are left out (test: 1)."]


@pytest.mark.parametrize("width", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            '[\n {"a": 1},\n {"a" 2}\n]',
            "line 3, column 7: not valid JSON (expecting ':' delimiter)",
        ),
        ('[{"a": 1}\n {"b": 2}]', "line 2, column 2: not valid JSON (expecting ',' delimiter)"),
        ('[{"a": 1},\n\n]', "line 3, column 1: not valid JSON (expecting value)"),
        ('[{"a": 1}', "line 1, column 10: not valid JSON (expecting ',' delimiter)"),
        ('[{"a": tru}]', "line 1, column 8: not valid JSON (expecting value)"),
        ('[{"a": "x\ny"}]', "line 1, column 10: not valid JSON (invalid control character at)"),
        ('[{"a": "\\x"}]', "line 1, column 9: not valid JSON (invalid \\escape)"),
        ('[{"a": "open}]', "line 1, column 8: not valid JSON (unterminated string starting at)"),
        ('{"a": [{"b": 1}], "c"}', "line 1, column 22: not valid JSON (expecting ':' delimiter)"),
        ('{"a": 1, b: 2}', "line 1, column 10: not valid JSON (expecting property name"),
        ("[{}]\n\n x", "line 3, column 2: not valid JSON (extra data)"),
        ("{} {}", "line 1, column 4: not valid JSON (extra data)"),
        ('"a" "b"', "line 1, column 5: not valid JSON (extra data)"),
        ('[{},\n{"a": NaN}]', "line 2: not valid JSON (NaN is not JSON"),
        ("[[" * 100_000, "line 1: not valid JSON (nested too deeply)"),
        ("", "line 1, column 1: not valid JSON (expecting value)"),
    ],
)
def test_what_is_not_json_is_named_by_line_and_column_through_any_window(
    width: int, text: str, place: str
):
    if len(text) > 1000 and width < 1000:
        width = 50_000
    with pytest.raises(DataError) as caught:
        document(text, width)
    assert caught.value.code == "bad_json"
    assert f"'a.json', {place}" in caught.value.message


def test_a_long_list_is_never_whole_in_memory():
    item = json.dumps({"text": "x" * 1000})

    def chunks() -> Iterator[str]:
        yield "[" + item
        for _ in range(5_000):
            yield "," + item
        yield "]"

    tracemalloc.start()
    n = sum(1 for _ in read_document(NAME, chunks, []))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert n == 5_001
    assert peak < 1 << 19


def test_a_value_longer_than_a_row_may_be_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading_json, "LONGEST_ROW", 1000)
    with pytest.raises(DataError) as caught:
        document('[{"a": 1},\n{"a": "' + "x" * 3000 + '"}]', 100)
    assert (caught.value.code, "line 2:" in caught.value.message) == ("row_too_long", True)


def lines(text: str) -> list[tuple[bytes, dict[str, Any]]]:
    return list(read_json_lines(NAME, iter(text.encode().split(b"\n"))))


def test_a_line_keeps_its_json_as_it_stands_in_the_file():
    text = '{ "a" : 1.50, "b":"\\u00e9é"}'
    (raw, row), *_ = lines(text + "  \r\n\n")
    packed = pack_row(raw, row, 1)
    assert packed.text.decode() == text
    assert row_of(packed.text.decode()) == {"a": 1.5, "b": "éé"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 123456789012345678901234567890}',
        '{"a": -9223372036854775809, "b": [18446744073709551616]}',
        '{"a": 18446744073709551615, "b": -9223372036854775808}',
        '{"a": "\\ud83d alone", "b": "é"}',
        '{"a": 1e22, "b": -0, "c": -0.0, "d": 1E-400, "e": 0.1}',
        '{"a": 1, "a": 2}',
        '{"a": "\\u0000\\u001f\x7f"}',
        "{}",
    ],
)
def test_every_value_is_as_the_json_module_reads_it(text: str):
    (raw, row), *_ = lines(text)
    kept = row_of(pack_row(raw, row, 1).text.decode())
    assert repr(kept) == repr(json.loads(text))


def test_a_row_that_came_from_no_json_is_kept_with_all_its_values():
    row = {"big": 2**70, "half": "\ud83d", "f": 1e300, "é": [None, True, {"k": -(2**63)}]}
    assert row_of(pack_row(b"", row, 1).text.decode()) == row


def test_searched_text_and_length_are_of_the_values_alone():
    packed = pack_row(b"", {"Key": "ÄB", "n": [1, 2.5, True, None], "d": {"x": "C"}}, 1)
    assert packed.searched == "äb\n1\n2.5\ntrue\nc"
    assert packed.n_characters == len("ÄB" + "1" + "2.5" + "true" + "C")
    assert pack_row(b"", {}, 1).n_characters == 0


@pytest.mark.parametrize("n", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_has_no_word_for_is_refused(n: float):
    with pytest.raises(DataError, match="Row 7 holds a number"):
        pack_row(b"", {"a": [n]}, 7)


def test_values_nested_deeper_than_the_bound_are_refused_and_those_at_it_read(tmp_path: Path):
    def nested(n: int) -> str:
        return '{"a": ' + "[" * (n - 1) + "]" * (n - 1) + "}"

    path = tmp_path / "a.jsonl"
    path.write_text(nested(DEEPEST) + "\n")
    assert len(list(read_rows(path))) == 1
    path.write_text("{}\n" + nested(DEEPEST + 1) + "\n")
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert (caught.value.code, "Row 2:" in caught.value.message) == ("bad_json", True)
