"""Pausing and queueing from the screen, over real runs of the tiny model."""

from pathlib import Path

from playwright.sync_api import expect

from studio.jobs.job import find_job, list_jobs, state_of
from studio.jobs.process import wait_until_ended
from studio.paths import Workspace
from tests.browser.conftest import OpenPage, Studio
from tests.browser.trained import start

LONG = 1_000_000
_POINTS = "(document.querySelector('#run-chart .js-plotly-plot')?.data[0].x.length ?? 0)"


def test_a_run_is_paused_continued_and_followed_by_the_ones_that_wait(
    open_page: OpenPage, studio: Studio, model_folder: Path, chat_file: Path
) -> None:
    workspace = Workspace(studio.workspace)
    first = start(studio.workspace, "first", str(model_folder), chat_file, LONG)
    page = open_page(f"?tab=runs&run={first.id}")
    state = page.locator("#run-head .state")
    page.wait_for_function(f"{_POINTS} > 2")
    page.get_by_role("button", name="Pause").click()
    expect(state).to_contain_text("Paused")
    expect(page.locator("#run-pause")).to_be_hidden()
    expect(page.locator("[data-part=phase]")).to_contain_text("its memory is kept")
    shown = page.evaluate(_POINTS)
    page.get_by_role("button", name="Continue").click()
    expect(state).to_contain_text("Running")
    page.wait_for_function(f"{_POINTS} > {shown}")

    # Two more wait; the last one goes before the other, which is taken back.
    for name in ("second", "third"):
        start(studio.workspace, name, str(model_folder), chat_file, 3)
    second, third = (find_job(workspace, name, "train") for name in ("second", "third"))
    page.locator(f"tr[data-run='{third.id}'] button").click()
    expect(page.locator("[data-part=phase]")).to_contain_text(
        "Number 2 in the queue, behind second"
    )
    page.get_by_role("button", name="Move to the front").click()
    expect(page.locator("[data-part=phase]")).to_contain_text("when first has ended")
    expect(page.locator("#run-first")).to_be_hidden()
    page.locator(f"tr[data-run='{second.id}'] button").click()
    expect(page.locator("#run-head h2")).to_have_text("second")
    page.get_by_role("button", name="Remove from the queue").click()
    expect(page.locator(f"tr[data-run='{second.id}']")).to_have_count(0)
    assert second.id not in [job.id for job in list_jobs(workspace, "train")]

    page.locator(f"tr[data-run='{first.id}'] button").click()
    expect(page.locator("#run-head h2")).to_have_text("first")
    page.get_by_role("button", name="Stop and keep").click()
    expect(state).to_contain_text("Stopped")
    assert wait_until_ended(third, 300) == "finished"
    assert state_of(first) == "stopped"
