"""Runs, exports and chats in words: what the screen says, and that people's words stay words."""

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from components.chat_pane import pane_value
from components.chat_room import Answers
from components.chat_stream import Board, PaneState, checked_prompt, note_of, with_question
from components.export_table import build_words, fits_words, types_value
from components.exports_list import check_words, exported_file
from components.run_picker import is_usable
from components.runs.actions import offered
from components.runs.card import head_html, parent_words, remarks_html, settings_html
from components.runs.history import COLUMNS, history_row
from components.runs.live import LiveRuns, waiting_words
from components.runs.repeat import files_html, packed
from components.suggestions import suggest
from components.wording import STATES, duration, model_name, number, size
from studio.data.recipe import DatasetRecipe
from studio.environment.llama import LlamaBuild
from studio.errors import ConfigError, JobError
from studio.events import EventWriter
from studio.jobs.chat import ChatPiece, Generation
from studio.jobs.job import ENDED, Job, create_job
from studio.jobs.lock import hold
from studio.models.gguf_sizes import PredictedSize
from studio.models.hardware import Gpu, Hardware
from studio.paths import Workspace
from studio.results.exports import ExportCheck
from studio.results.repeat import Repeat
from studio.results.runs import summarize
from studio.settings import knobs, to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def make_run(workspace: Workspace, name: str = "talker", *, files: tuple[str, ...] = ()) -> Job:
    config = RunConfig(name=name, model="/models/big-one", dataset=DatasetRecipe(files=files))
    return create_job(workspace, "train", name, to_dict(config))


def end(job: Job, event: str, **values: object) -> None:
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    events.write(event, **values)


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0.4, "0s"), (59, "59s"), (60, "1m 00s"), (3599, "59m 59s"), (7500, "2h 05m")],
)
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(None, "–"), (999, "999 B"), (1_500_000, "1.5 MB"), (42e9, "42 GB")]
)
def test_sizes_are_decimal(n_bytes, words):
    assert size(n_bytes) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "–"), (0.0, "0.000"), (1.23456, "1.235"), (0.000042, "4.2e-05")]
)
def test_a_tiny_measure_does_not_read_as_nothing(value, words):
    assert number(value) == words


def test_every_state_has_a_word_and_a_shape_of_its_own():
    assert set(ENDED) < set(STATES)
    assert len({word for word, _ in STATES.values()}) == len(STATES)
    assert len({shape for _, shape in STATES.values()}) == len(STATES)


def test_a_model_folder_is_called_by_its_last_name_and_a_hub_id_whole(tmp_path):
    assert model_name(str(tmp_path / "llama")) == "llama"
    assert [model_name("owner/name"), model_name("starter")] == ["owner/name", "starter"]


# --- runs ---------------------------------------------------------------------------------------


def test_a_history_row_has_a_cell_for_every_column(workspace):
    run = summarize(make_run(workspace))
    row = history_row(run)
    assert len(row["cells"]) == len(COLUMNS)
    assert row["cells"][:3] == ["talker", "Queued", "big-one"]


@pytest.mark.parametrize(
    ("state", "has_adapter", "is_next", "names"),
    [
        ("running", False, False, {"pause", "stop", "duplicate"}),
        ("paused", False, False, {"continue", "stop", "duplicate"}),
        ("stopping", False, False, {"stop", "duplicate"}),
        ("queued", False, True, {"leave", "duplicate"}),
        ("queued", False, False, {"leave", "first", "duplicate"}),
        ("lost", False, False, {"resume", "duplicate", "delete"}),
        (
            *("stopped", True, False),
            {"resume", "compare", "export", "further", "duplicate", "delete"},
        ),
        ("finished", True, False, {"compare", "export", "further", "duplicate", "delete"}),
    ],
)
def test_only_buttons_that_do_something_are_offered(state, has_adapter, is_next, names):
    assert offered(state, has_adapter, is_next) == names


def test_a_waiting_run_says_where_it_stands_and_what_it_waits_for(workspace):
    first, second = make_run(workspace, "first"), make_run(workspace, "second")
    busy = make_run(workspace, "busy")
    EventWriter(busy.events_path).write("started", pid=1)
    first.start_path.write_text("1\n", "utf-8")
    second.start_path.write_text("2\n", "utf-8")
    with hold(busy.lock_path):
        assert waiting_words(workspace, first) == (
            "Next in the queue: it starts by itself when busy has ended."
        )
        assert waiting_words(workspace, second) == (
            "Number 2 in the queue, behind first. It starts by itself."
        )
        before = LiveRuns(workspace).poll({"job": second.id})["signature"]
        first.start_path.unlink()
        assert LiveRuns(workspace).poll({"job": second.id})["signature"] != before
    assert history_row(summarize(second), 2)["word"] == "Queued, number 2"


def test_the_head_names_the_method_and_what_the_run_went_on_from(workspace):
    parent = make_run(workspace, "talker")
    assert parent_words([parent], f"{parent.id}@120") == "talker, step 120"
    assert parent_words([parent], "/adapters/of a friend") == "of a friend"
    head = head_html(summarize(make_run(workspace)), "talker, step 120")
    assert "Answers (SFT)" in head
    assert "goes on from talker, step 120" in head


def test_a_runs_name_is_text_whatever_it_holds(workspace):
    html = head_html(summarize(make_run(workspace, "<img src=x onerror=alert(1)>")))
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_a_failed_run_says_what_happened_and_what_to_do(workspace):
    job = make_run(workspace)
    end(job, "failed", message="Out of memory.", fix="Lower the batch size.", code="memory")
    html = remarks_html(job, summarize(job), [])
    assert "<b>Failed:</b> Out of memory.<p>Lower the batch size.</p>" in html


def test_a_lost_run_is_explained_with_the_end_of_its_log(workspace):
    job = make_run(workspace)
    end(job, "phase", name="training")
    job.log_path.write_text("one\nKilled <by> someone\n", "utf-8")
    html = remarks_html(job, summarize(job), [])
    assert "<b>Lost:</b>" in html
    assert "Resume the run" in html
    assert "Killed &lt;by&gt; someone" in html


def test_a_warning_that_came_often_is_said_once_as_it_was_last(workspace):
    job = make_run(workspace)
    end(job, "finished")
    warnings = [{"code": "diverged", "message": f"At step {n}.", "fix": "Stop."} for n in (1, 2)]
    html = remarks_html(job, summarize(job), warnings)
    assert html.count("<li") == 1
    assert "At step 2." in html


def test_what_a_run_has_settled_by_itself_is_a_note(workspace):
    job = make_run(workspace)
    end(job, "finished")
    settled = {"code": "memory_halved", "message": "Memory was full.", "fix": "Nothing to do."}
    other = {"code": "start_other_base", "message": "Another base.", "fix": "Stop the run."}
    html = remarks_html(job, summarize(job), [settled, other])
    assert "<b>Note:</b> Memory was full." in html
    assert "<b>Warning:</b> Another base." in html


def test_a_run_that_went_well_has_no_remarks(workspace):
    job = make_run(workspace)
    end(job, "finished")
    assert remarks_html(job, summarize(job), []) == ""


def test_the_settings_name_every_knob_of_the_run(workspace):
    html = settings_html(make_run(workspace).config())
    for cls in (DatasetRecipe, AdapterSettings, TrainSettings):
        for knob in knobs(cls):
            assert f"{knob.label.replace('&', '&amp;')} <code>{knob.name}</code>" in html


def test_settings_of_preferences_are_told_for_preference_runs_alone(workspace):
    config = to_dict(RunConfig())
    assert "Preference strength" not in settings_html(config)
    assert "Preference strength" in settings_html({**config, "method": "dpo"})
    assert "Answers per prompt" in settings_html({**config, "method": "grpo"})


def test_only_an_ended_run_with_an_adapter_can_be_compared_or_exported(workspace):
    job = make_run(workspace)
    end(job, "finished")
    assert is_usable(summarize(job)) is False
    (job.folder / "adapter").mkdir()
    (job.folder / "adapter" / "adapter_config.json").write_text("{}", "utf-8")
    assert is_usable(summarize(job)) is False
    (job.folder / "adapter" / "adapter_model.safetensors").write_text("{}", "utf-8")
    assert is_usable(summarize(job)) is True


def test_suggestions_are_the_questions_of_validation_rows_with_their_system_message(
    workspace, tmp_path
):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            '{"messages": [{"role": "system", "content": "Be short."}, {"role": "user", '
            f'"content": "question {n}"}}, {{"role": "assistant", "content": "answer {n}"}}]}}\n'
            for n in range(20)
        ),
        "utf-8",
    )
    prompts, system = suggest(workspace, make_run(workspace, files=(str(path),)).id)
    assert system == "Be short."
    assert len(prompts) == 1 and prompts[0].startswith("question ")


def test_without_its_files_a_run_has_no_suggestions(workspace):
    assert suggest(workspace, make_run(workspace, files=("/gone.jsonl",)).id) == ([], "")


# --- exports ------------------------------------------------------------------------------------


def test_the_types_table_starts_with_one_tick_and_real_bits():
    sizes = [
        PredictedSize(
            type="Q8_0",
            size_bytes=1500,
            bits_per_weight=8.504,
            advice="Good.",
            memory_bytes=2_000_000,
        ),
        PredictedSize(
            type="Q5_0", size_bytes=1000, bits_per_weight=5.5, advice="Old.", memory_bytes=1 << 60
        ),
    ]
    value = types_value(sizes)
    assert value["chosen"] == ["Q8_0"]
    row = {"type": "Q8_0", "bytes": 1500, "size": "1.5 KB", "bits": "8.50", "advice": "Good."}
    row |= {"memory": "2 MB", "fits": "Yes"}
    assert value["rows"][0] == {**row, "usual": True}
    assert value["rows"][1]["fits"] == "No"
    assert [row["usual"] for row in value["rows"]] == [True, False]
    assert types_value([]) == {"rows": [], "chosen": [], "note": ""}
    assert types_value(sizes, "About right.")["note"] == "About right."


def test_whether_a_file_fits_is_told_for_memory_as_it_is_now():
    hardware = Hardware(
        n_cores=4,
        ram_total_bytes=1000,
        ram_used_bytes=400,
        cpu_percent=0.0,
        cpu_bf16=False,
        gpu=None,
    )
    words = [fits_words(n_bytes, hardware) for n_bytes in (600, 601, 900, 901)]
    assert words == ["Yes", "If other programs are closed", "If other programs are closed", "No"]
    gpu = Gpu(name="g", driver="d", total_bytes=800, free_bytes=700, capability=(9, 0))
    assert fits_words(650, replace(hardware, gpu=gpu)) == "Yes, on the GPU"
    assert fits_words(750, replace(hardware, gpu=gpu)) == "If other programs are closed"


def test_the_build_of_llama_cpp_shows_its_share_only_once_it_is_known():
    assert build_words(LlamaBuild("building", 35, 140, "Compiling."))["share"] == 0.25
    assert build_words(LlamaBuild("building", message="It begins."))["share"] is None


def test_a_check_is_told_with_value_and_limit():
    check = ExportCheck(
        name="logits", passed=False, value=0.01234, limit=0.001, note="Mean KL.", type="F16"
    )
    words = check_words(check)
    assert (words["status"], words["word"], words["numbers"], words["type"]) == (
        "failed",
        "✕ failed",
        "0.0123 (limit 0.001)",
        "F16",
    )


def export_job(workspace: Workspace) -> tuple[Job, EventWriter]:
    job = create_job(workspace, "export", "talker", {"run": "r", "model": "", "types": ["F16"]})
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    events.write("phase", name="merge")
    return job, events


def test_a_file_that_an_export_does_not_have_cannot_be_opened(workspace):
    with pytest.raises(JobError) as caught:
        exported_file(workspace, export_job(workspace)[0].id, "../../secret")
    assert caught.value.code == "export_file_missing"


# --- chats --------------------------------------------------------------------------------------


def test_a_question_after_an_unanswered_one_takes_its_place():
    turns = with_question([], "first")
    assert with_question(turns, "second") == [{"role": "user", "content": "second"}]


def test_an_empty_message_is_refused_with_the_next_step():
    with pytest.raises(ConfigError) as caught:
        checked_prompt(" \n ")
    assert caught.value.code == "prompt_empty"


def test_the_note_says_speed_length_and_why_an_answer_was_cut():
    piece = ChatPiece(
        text="x", delta="x", n_tokens=256, tokens_per_second=12.34, done=True, stop_reason="length"
    )
    assert note_of(piece) == "12.3 tokens/s · 256 tokens · cut at the longest answer"


def test_the_board_gives_what_is_new_by_characters_and_says_when_it_has_ended():
    board = Board()
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "naïve 🦊 fox"}]
    board.open("t", PaneState(turns, "note"))
    assert board.look({"token": "t", "n_chars": 6}) == {
        "text": "🦊 fox",
        "note": "note",
        "ended": False,
    }
    board.close("t")
    assert board.look({"token": "t", "n_chars": 0})["ended"] is True
    assert pane_value("m", turns, "n", "t")["token"] == "t"


def test_one_window_asks_one_thing_at_a_time_and_stops_only_its_own_answers():
    answers, cancelled = Answers(), []
    answers.begin("window 1", ("base", "tuned"))
    answers.begin("window 2", ("base",))
    with pytest.raises(JobError, match="still being written"):
        answers.begin("window 1", ("base",))
    answers.writing("window 1", "base", Generation(1, cancelled.append))
    answers.writing("window 2", "base", Generation(2, cancelled.append))
    answers.stop("window 1")
    assert cancelled == [1]
    # The other pane was still loading: it is cancelled as soon as it begins to write.
    answers.writing("window 1", "tuned", Generation(3, cancelled.append))
    assert cancelled == [1, 3]
    answers.end("window 1", "base")
    assert answers.busy("window 1") is True
    answers.end("window 1", "tuned")
    assert answers.busy("window 1") is False


def test_the_files_that_repeat_a_run_are_one_archive_and_a_missing_script_is_explained(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").write_text("method: kto\n", "utf-8")
    repeat = Repeat(
        folder=tmp_path / "run", files=("run.yaml",), notice="train.py is left out: KTO."
    )
    archive = packed(repeat)
    with ZipFile(archive) as opened:
        assert opened.read("run.yaml") == b"method: kto\n"
    html = files_html(repeat, archive, "a <run>")
    assert 'download="a &lt;run&gt;.zip"' in html and "<run>" not in html
    assert "train.py is left out: KTO." in html
