"""The Runs tab over real runs: live, reloaded, watched twice, stopped, killed, resumed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.errors import JobError
from studio.jobs.job import Job, find_job, log_tail, state_of
from studio.jobs.lock import hold
from studio.jobs.process import device_lock, request_stop, wait_until_ended
from studio.jobs.trash import delete_run
from studio.paths import Workspace
from tests.browser.conftest import OpenPage, Studio, open_studio
from tests.browser.trained import FINISHED, finished_run, start
from tests.waiting import events_of, wait_for_event

LONG = 1_000_000
_POINTS = "(document.querySelector('#run-chart .js-plotly-plot')?.data[0].x.length ?? 0)"
_RANGE = "document.querySelector('#run-chart .js-plotly-plot').layout.xaxis.range.join()"


@pytest.fixture
def run(studio: Studio, model_folder: Path, chat_file: Path) -> Iterator[Job]:
    """A run of the tiny model that would go on for hours; ended after the test."""
    job = start(studio.workspace, "long run", str(model_folder), chat_file, LONG)
    yield job
    try:
        request_stop(job)
    except JobError:
        return  # the test has ended it
    assert wait_until_ended(job, 60) == "stopped", log_tail(job)


def wait_for_points(page: Page, more_than: int) -> int:
    page.wait_for_function(f"{_POINTS} > {more_than}")
    return int(page.evaluate(_POINTS))


def expect_the_plot_to_fill_its_box(page: Page) -> None:
    """Plotly measures once; a box that grew afterwards would leave the curves squeezed."""
    page.wait_for_function(
        "(() => { const box = document.querySelector('#run-chart .js-plotly-plot');"
        " const height = box.querySelector('.main-svg').getBoundingClientRect().height;"
        " return box.clientHeight >= 500 && Math.abs(height - box.clientHeight) < 2; })()",
        timeout=30_000,
    )


def state(page: Page) -> str:
    return page.locator("#run-head .state").inner_text()


def test_a_curve_grows_by_itself_and_survives_a_reload_and_a_second_window(
    open_page: OpenPage, run: Job
) -> None:
    page = open_page(f"?tab=runs&run={run.id}")
    expect(page.locator("#run-head h2")).to_have_text("long run")
    expect(page.locator("#run-head .state")).to_contain_text("Running")
    shown = wait_for_points(page, 3)
    metrics = page.locator("#run-chart [data-part=metrics]")
    expect(metrics).to_contain_text("of 1,000,000")
    expect(metrics).to_contain_text("at step")
    # Zoomed in, new points come without moving what the person looks at.
    page.evaluate(
        "Plotly.relayout(document.querySelector('#run-chart .js-plotly-plot'),"
        " {'xaxis.range': [1, 3]})"
    )
    shown = wait_for_points(page, shown)
    assert page.evaluate(_RANGE) == "1,3"
    page.reload()
    assert wait_for_points(page, shown - 1) >= shown
    second = open_page("?tab=runs")
    expect(second.locator("#run-head h2")).to_have_text("long run")
    wait_for_points(second, shown - 1)
    for window in (page, second):
        expect_the_plot_to_fill_its_box(window)
    # Stopped in one window, both say so, and what was learned is kept.
    second.get_by_role("button", name="Stop and keep").click()
    for window in (page, second):
        expect(window.locator("#run-head .state")).to_contain_text("Stopped")
        expect(window.locator("#run-stop")).to_be_hidden()
        expect(window.locator("#run-resume")).to_be_visible()
        expect(window.locator("#run-compare")).to_be_enabled()
    assert wait_until_ended(run, 60) == "stopped"
    assert (run.folder / "adapter" / "adapter_config.json").is_file()


def test_a_curve_that_was_empty_when_opened_fills_its_box_with_the_first_steps(
    open_page: OpenPage, studio: Studio, model_folder: Path, chat_file: Path
) -> None:
    # It waits for the device until the page shows its empty chart.
    with hold(device_lock(Workspace(studio.workspace))) as lock:
        assert lock is not None
        job = start(studio.workspace, "waited", str(model_folder), chat_file, 12)
        page = open_page(f"?tab=runs&run={job.id}")
        page.wait_for_selector("#run-chart .chart-plot.no-points", state="attached")
    wait_for_points(page, 2)
    expect_the_plot_to_fill_its_box(page)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)


def test_a_killed_worker_is_lost_with_its_log_and_resumes_where_it_was(
    open_page: OpenPage, run: Job
) -> None:
    page = open_page(f"?tab=runs&run={run.id}")
    page.wait_for_function(f"{_POINTS} > 12")
    os.kill(events_of(run, "started")[-1]["pid"], signal.SIGKILL)
    expect(page.locator("#run-head .state")).to_contain_text("Lost")
    expect(page.locator("#run-remarks")).to_contain_text("it was killed, or the power went")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#run-head .state")).to_contain_text("Running")
    expect(page.locator("#run-remarks .bad")).to_have_count(0)
    resumed = wait_for_event(run, "resumed")
    assert resumed["step"] >= 10
    # The points after the checkpoint were void: each step is drawn once, in order.
    wait_for_points(page, resumed["step"])
    steps = page.evaluate("document.querySelector('#run-chart .js-plotly-plot').data[0].x")
    assert steps == sorted(set(steps))
    assert state_of(run) == "running"


def test_log_settings_and_a_logarithmic_axis_are_one_press_away(
    open_page: OpenPage, run: Job
) -> None:
    page = open_page(f"?tab=runs&run={run.id}")
    wait_for_points(page, 1)
    page.get_by_role("button", name="Log scale").click()
    expect(page.get_by_role("button", name="Log scale")).to_have_attribute("aria-pressed", "true")
    axis = "document.querySelector('#run-chart .js-plotly-plot').layout.yaxis.type"
    assert page.evaluate(axis) == "log"
    page.get_by_role("button", name="All settings of this run").click()
    expect(page.locator("#run-settings")).to_contain_text("Learning rate learning_rate")
    expect(page.locator("#run-settings")).to_contain_text("chat.jsonl")
    page.locator("#run-log-fold").get_by_role("button").first.click()
    expect(page.locator("pre.run-log")).not_to_be_empty()


def test_deleting_asks_first_and_shows_another_run_after(
    open_page: OpenPage, studio: Studio, model_folder: Path, chat_file: Path
) -> None:
    job = start(studio.workspace, "to be deleted", str(model_folder), chat_file, 2)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    page = open_page(f"?tab=runs&run={job.id}")
    expect(page.locator("#run-head h2")).to_have_text("to be deleted")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#run-confirm")).to_contain_text("Delete the run to be deleted?")
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#run-confirm")).to_be_hidden()
    assert job.folder.is_dir()
    delete(page)
    expect(page.locator(f"tr[data-run='{job.id}']")).to_have_count(0)
    with pytest.raises(JobError):
        find_job(Workspace(studio.workspace), job.id)
    choose_deleted(page, "to be deleted")
    page.locator("#run-trash-restore").click()
    expect(page.locator("#run-head h2")).to_have_text("to be deleted")
    assert find_job(Workspace(studio.workspace), job.id).folder == job.folder
    delete(page)
    expect(page.locator(f"tr[data-run='{job.id}']")).to_have_count(0)
    choose_deleted(page, "to be deleted")
    page.locator("#run-trash-remove").click()
    expect(page.get_by_test_id("toast-body").last).to_contain_text("is gone for good")
    assert not list(studio.workspace.glob(f"*/{job.id}"))


def delete(page: Page) -> None:
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete it").click()


def choose_deleted(page: Page, name: str) -> None:
    fold = page.locator("#run-trash-fold")
    if not page.locator("#run-trash input").is_visible():
        fold.get_by_role("button", name="Deleted runs").click()
    page.locator("#run-trash input").click()
    page.get_by_role("option", name=name).click()


def test_a_run_gets_a_name_tags_and_notes_is_found_by_them_and_archived(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=runs&run={run.id}")
    page.get_by_role("button", name="Name, tags and notes").click()
    expect(page.locator("#run-notes-name textarea")).to_have_value(FINISHED)
    page.locator("#run-notes-name textarea").fill("the one that works")
    page.locator("#run-notes-tags textarea").fill("pigs, First try")
    page.locator("#run-notes-text textarea").fill("Rank 16 was enough.")
    page.keyboard.press("Tab")
    page.locator("#run-notes-save").click()
    expect(page.locator("#run-head h2")).to_have_text("the one that works")
    row = page.locator(f"tr[data-run='{run.id}']")
    expect(row.locator(".run-tag")).to_have_text(["pigs", "First try"])
    page.locator("#run-search").fill("FIRST enough")
    expect(page.locator("#run-history tbody tr")).to_have_count(1)
    expect(row).to_be_visible()
    page.locator("#run-search").fill("nothing like it")
    expect(page.locator("#run-history")).to_contain_text("No run holds all of these words")
    page.locator("#run-search").fill("")
    page.get_by_label("Archived", exact=True).check()
    page.locator("#run-notes-save").click()
    expect(row).to_have_count(0)
    page.get_by_label("Archived, too").check()
    expect(row.locator(".run-tag").last).to_have_text("archived")
    page.locator("#run-notes-name textarea").fill("")
    page.keyboard.press("Tab")
    page.get_by_label("Archived", exact=True).uncheck()
    page.locator("#run-notes-save").click()
    expect(page.locator("#run-head h2")).to_have_text(FINISHED)


def test_a_run_is_picked_with_the_keyboard_and_duplicated_to_train(
    open_page: OpenPage, studio: Studio, model_folder: Path, chat_file: Path
) -> None:
    job = start(studio.workspace, "to be copied", str(model_folder), chat_file, 2)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    page = open_page("?tab=runs")
    page.locator(f"tr[data-run='{job.id}'] button").press("Enter")
    expect(page.locator("#run-head h2")).to_have_text("to be copied")
    expect(page.locator(f"tr[data-run='{job.id}'] button")).to_have_attribute(
        "aria-current", "true"
    )
    page.get_by_role("button", name="Duplicate").click()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#knob-max_steps input[type=number]")).to_have_value("2")
    expect(page.locator("#knob-learning_rate input[type=number]")).to_have_value("0.001")


@pytest.mark.parametrize("width", [1440, 390])
def test_without_a_run_each_tab_says_what_to_do_and_nothing_sticks_out(
    open_page: OpenPage, tmp_path: Path, width: int
) -> None:
    empty = open_studio(tmp_path / "workspace")
    size = {"width": width, "height": 844}
    for tab, words in (
        ("runs", "press Start on the Train tab"),
        ("compare", "Nothing to compare yet."),
        ("export", "Nothing to export yet."),
    ):
        page = open_page(f"?tab={tab}", studio=empty, viewport=size)
        expect(page.locator(f"#tab-{tab}").get_by_text(words)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.close()
    assert empty.stop() == 0


def test_ticked_runs_stand_side_by_side_with_what_differs_and_what_came(
    open_page: OpenPage, studio: Studio, model_folder: Path, chat_file: Path
) -> None:
    jobs = []
    for name, steps in (("the shorter", 10), ("the longer", 20)):
        job = start(studio.workspace, name, str(model_folder), chat_file, steps)
        assert wait_until_ended(job, 300) == "finished", log_tail(job)
        jobs.append(job)
    page = open_page("?tab=runs")
    card = page.locator("#run-compare-card")
    page.get_by_label("Compare the shorter").check()
    expect(page.locator(".run-ticks")).to_have_text("Tick another run to compare it with.")
    expect(card).to_be_empty()
    page.get_by_label("Compare the longer").check()
    expect(card.get_by_role("heading", name="Side by side")).to_be_visible()
    results, settings = card.get_by_role("table").nth(0), card.get_by_role("table").nth(1)
    expect(results.locator("tbody tr")).to_have_count(2)
    expect(results.locator("td.best").first).to_contain_text("★")
    expect(settings.locator("tbody tr")).to_have_count(1)
    expect(settings.locator("tbody tr")).to_have_text("Steps1020")
    plots = "[...document.querySelectorAll('.compare-plot')]"
    page.wait_for_function(f"{plots}.every((plot) => plot.data?.length === 2)")
    lengths = f"{plots}.map((plot) => plot.data.map((trace) => trace.x.length))"
    assert page.evaluate(lengths) == [[2, 3], [10, 20]]
    # A name shows its run above; deleted elsewhere, a run leaves the comparison by itself.
    results.get_by_role("button", name="the shorter").click()
    expect(page.locator("#run-head h2")).to_have_text("the shorter")
    delete_run(Workspace(studio.workspace), jobs[0])
    expect(card).to_be_empty()
    expect(page.get_by_label("Compare the longer")).to_be_checked()
    page.get_by_label("Compare the longer").uncheck()
    expect(page.locator(".run-ticks")).to_be_empty()
