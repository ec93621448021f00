"""A person's whole way, from a file to a GGUF that answers, with the windows they have open."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from studio.jobs.job import find_job, state_of
from studio.paths import Workspace
from tests.browser.conftest import OpenPage, Studio

COLOURS = "red blue green black white brown grey pink".split()
THINGS = "stone river cloud tiger lemon paper candle window garden silver".split()


def _write_shouts(path: Path) -> None:
    """80 rows of a task the starter does not know: say it with SHOUT in front."""
    rows = [
        {"prompt": f"Shout: {colour} {thing}", "completion": f"SHOUT {colour} {thing}!"}
        for colour in COLOURS
        for thing in THINGS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _set(page: Page, knob: str, value: str) -> None:
    page.locator(f"#knob-{knob} input").fill(value)
    page.keyboard.press("Tab")


def _steps_drawn(page: Page) -> int:
    return int(
        page.evaluate(
            "() => { const plot = document.querySelector('.js-plotly-plot');"
            " return plot && plot.data.length ? plot.data[0].x.length : 0; }"
        )
    )


def _bring(page: Page, file: Path) -> None:
    """Data: what will be trained on."""
    page.set_input_files("#bring-files input[type=file]", file)
    expect(page.locator(".s-project")).to_have_text("shouts")
    expect(page.locator(".s-table-foot")).to_contain_text("80 rows")
    trained = page.locator("#inspector .s-tokens .s-token.trained")
    expect(trained.first).to_be_visible()
    assert "".join(trained.all_text_contents()) == "SHOUT·red·stone!<|im_end|>"


def _train(page: Page) -> str:
    """Train: a run of the starter in the background; gives its id."""
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#plan")).to_contain_text("Optimizer steps")
    _set(page, "max_steps", "120")
    _set(page, "learning_rate", "0.002")
    _set(page, "per_device_train_batch_size", "8")
    _set(page, "max_length", "128")
    expect(page.locator("#problems")).to_contain_text("No problems found.")
    page.locator("#start").click()
    expect(page.locator("#run-head")).to_contain_text("starter")
    page.wait_for_function("() => document.querySelector('.js-plotly-plot')?.data?.[0]?.x?.length")
    return parse_qs(urlsplit(page.url).query)["run"][0]


def _compare(page: Page) -> None:
    """Compare: the tuned model has learned it, the base has not."""
    page.locator("#run-compare").click()
    page.locator("#compare-prompt textarea").fill("Shout: green garden")
    page.keyboard.press("Enter")
    tuned = page.locator("#chat-tuned .turn-assistant .turn-text")
    expect(tuned).to_have_text("SHOUT green garden!")
    expect(page.locator("#compare-send")).to_be_enabled()
    base = page.locator("#chat-base .turn-assistant .turn-text")
    assert base.inner_text() != "SHOUT green garden!"


def _export(page: Page) -> None:
    """Export: a checked file that gives the same answer in llama.cpp."""
    page.get_by_role("tab", name="Export").click()
    expect(page.get_by_label("Q8_0", exact=True)).to_be_checked()
    page.get_by_role("button", name="Export", exact=True).click()
    item = page.locator(".export-item").first
    expect(item.locator(".export-file .s-tag")).to_have_text(["✓ checks passed"], timeout=300_000)
    item.get_by_role("button", name="Chat with").click()
    page.locator("#export-prompt textarea").fill("Shout: green garden")
    page.keyboard.press("Enter")
    answer = page.locator("#chat-file .turn-assistant .turn-text")
    expect(answer).to_have_text("SHOUT green garden!")
    expect(page.locator("#export-send")).to_be_enabled()


def test_from_a_file_to_a_gguf_that_answers(
    open_page: OpenPage, studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "shouts.jsonl"
    _write_shouts(file)
    page = open_page()
    _bring(page, file)
    run_id = _train(page)

    # A reload and a second window in the middle show the same run, still going.
    before = _steps_drawn(page)
    page.reload()
    second = open_page(f"?tab=runs&run={run_id}")
    for window in (page, second):
        window.wait_for_function(
            "n => (document.querySelector('.js-plotly-plot')?.data?.[0]?.x?.length ?? 0) > n",
            arg=before,
        )
        expect(window.locator("#run-head .state")).to_have_text("✓Finished", timeout=300_000)
    job = find_job(Workspace(studio.workspace), run_id)
    assert state_of(job) == "finished"

    _compare(page)
    _export(page)
