"""Events: one whole JSON object a line, whatever happens to the writer."""

import json

import pytest

from studio.events import EventReader, EventWriter, read_events


def test_reader_gives_each_event_once(tmp_path):
    path = tmp_path / "events.jsonl"
    writer, reader = EventWriter(path), EventReader(path)
    assert reader.read() == []
    writer.write("step", step=1)
    writer.write("step", step=2)
    assert [event["step"] for event in reader.read()] == [1, 2]
    writer.write("step", step=3)
    assert [event["step"] for event in reader.read()] == [3]
    assert reader.read() == []


def test_reader_waits_for_the_rest_of_a_cut_line(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    path.write_bytes(b'{"event": "step", "step": 1}\n{"event": "st')
    assert [event["step"] for event in reader.read()] == [1]
    with path.open("ab") as file:
        file.write(b'ep", "step": 2}\n')
    assert [event["step"] for event in reader.read()] == [2]


def test_writer_cuts_off_what_a_killed_writer_left_unfinished(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "a"}\n{"event": "b", "va')
    EventWriter(path).write("c")
    assert [event["event"] for event in read_events(path)] == ["a", "c"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_becomes_null_also_inside_lists(tmp_path, value):
    path = tmp_path / "events.jsonl"
    EventWriter(path).write("step", loss=value, deep=[{"x": value}])
    line = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert line["loss"] is None
    assert line["deep"] == [{"x": None}]


def test_text_outside_ascii_and_line_breaks_stay_one_line(tmp_path):
    path = tmp_path / "events.jsonl"
    EventWriter(path).write("warning", message="Zeile\nzwei — 日本")
    assert path.read_bytes().count(b"\n") == 1
    assert read_events(path)[0]["message"] == "Zeile\nzwei — 日本"
