"""Report cards: every number, every verdict, nothing that a person wrote as markup."""

import json
from pathlib import Path

from studio.events import EventWriter
from studio.jobs.job import create_job
from studio.paths import Workspace
from studio.results.exports import Export, read_export
from studio.results.measured_html import measured_html
from studio.results.report_card import card_path, write_cards
from tests.unit.test_results_quality import Q5_K_M, Q8_0

SLY = "<script>alert(1)</script>"


def an_export(tmp_path: Path, **check: object) -> Export:
    """An export with two measured files, one that was kept aside, and sly questions."""
    workspace = Workspace.open(tmp_path / "ws")
    config = {"run": "20260101-0000-a-run", "types": ["Q8_0", "Q5_K_M", "Q2_K"], "model": ""}
    job = create_job(workspace, "export", "my run", config)
    (job.folder / "files").mkdir()
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    for name in ("Q8_0", "Q5_K_M"):
        path = job.folder / "files" / f"m-{name}.gguf"
        path.write_bytes(b"x" * 100)
        events.write(
            "file",
            type=name,
            path=f"files/{path.name}",
            size_bytes=100,
            bits_per_weight=8.5,
            sha256="ab" * 32,
        )
    values = {"name": "logits", "passed": True, "value": 0.5, "limit": 1.0, "note": "near"}
    events.write("check", **{**values, "type": "Q8_0", **check})
    failed = {**values, "passed": False, "value": 7.0, "type": "Q2_K", "note": f"far {SLY}"}
    events.write("check", **failed)
    events.write("aside", type="Q2_K", path="files/m-Q2_K.failed.gguf")
    for quality in (Q8_0.quality, Q5_K_M.quality):
        events.write("quality", **quality.as_dict())
    answer = {"question": SLY, "reference": "a b", "text": "a b", "stopped": True}
    events.write("answers", type="base", answers=[{**answer, "text": "nothing"}])
    events.write("answers", type="tuned", answers=[answer])
    events.write("answers", type="Q8_0", answers=[{**answer, "text": f"a {SLY}"}])
    events.write("finished")
    events.close()
    return read_export(job)


def test_card_holds_the_checks_quality_and_answers_of_its_file(tmp_path: Path) -> None:
    export = an_export(tmp_path)
    write_cards(export)
    (q8, q5) = export.files
    card = json.loads(card_path(q8.path, "json").read_text())
    assert (card["file"], card["status"], card["sha256"]) == ("m-Q8_0.gguf", "passed", "ab" * 32)
    assert card["checks"] == [
        {
            "name": "logits",
            "passed": True,
            "value": 0.5,
            "limit": 1.0,
            "note": "near",
            "type": "Q8_0",
            "warned": False,
            "status": "passed",
        }
    ]
    assert card["quality"] == Q8_0.quality.as_dict()
    assert card["recommended"] == "Q8_0"
    assert [answers[0]["text"] for answers in card["answers"].values()] == [
        *("nothing", "a b", f"a {SLY}")
    ]
    assert "Q8_0" not in json.loads(card_path(q5.path, "json").read_text())["answers"]


def test_file_kept_aside_has_a_card_with_its_reason(tmp_path: Path) -> None:
    export = an_export(tmp_path)
    write_cards(export)
    path = export.job.folder / "files/m-Q2_K.failed.gguf.card.json"
    card = json.loads(path.read_text())
    assert (card["status"], card["sha256"], card["checks"][0]["value"]) == ("failed", None, 7.0)
    page = path.with_suffix(".html").read_text()
    assert "✕ A check failed" in page and "far &lt;script&gt;" in page


def test_a_warning_is_no_failure_and_no_pass(tmp_path: Path) -> None:
    export = an_export(tmp_path, warned=True)
    assert [file.status for file in export.files] == ["warned", "passed"]
    write_cards(export)
    assert "! Passed, with something to look at" in card_path(
        export.files[0].path, "html"
    ).read_text("utf-8")


def test_what_models_and_people_wrote_is_no_markup(tmp_path: Path) -> None:
    html = measured_html(an_export(tmp_path))
    assert SLY not in html
    assert "<del>b</del><ins>&lt;script&gt;alert(1)&lt;/script&gt;</ins>" in html
    assert html.index("Base model") < html.index("Tuned model") < html.index('scope="row">Q8_0')
    assert ">0 of 1</td><td>67%</td>" not in html and ">0 of 1</td><td>0 of 1</td>" in html


def test_nothing_measured_shows_nothing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    job = create_job(workspace, "export", "x", {"run": "", "types": ["F16"], "model": "m"})
    assert measured_html(read_export(job)) == ""
