"""The Export tab over a real run of the starter model: sizes, files, checks, llama.cpp."""

import hashlib
from pathlib import Path

from playwright.sync_api import expect

from studio.paths import Workspace
from studio.results.exports import list_exports
from tests.browser.conftest import OpenPage, Studio
from tests.browser.trained import FINISHED, finished_run


def test_a_run_becomes_a_checked_file_that_answers_in_llama_cpp(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run.id}")
    expect(page.get_by_label("Q8_0", exact=True)).to_be_checked()
    rows = page.locator(".export-table tbody tr")
    expect(rows).to_have_count(21)
    expect(rows.filter(visible=True)).to_have_count(8)
    page.get_by_role("button", name="Show 13 more types").click()
    expect(rows.filter(visible=True)).to_have_count(21)
    page.get_by_role("button", name="Show the usual types alone").click()
    expect(rows.filter(visible=True)).to_have_count(8)
    page.get_by_role("button", name="Export", exact=True).click()
    item = page.locator(".export-item")
    expect(item.locator(".state")).to_contain_text("Finished", timeout=300_000)
    expect(item.locator(".export-file .s-tag")).to_have_text(["✓ checks passed"])
    expect(item.locator(".export-check b")).to_have_text(
        ["✓ passed"] * item.locator(".export-check").count()
    )
    (file,) = list_exports(Workspace(studio.workspace), run.id)[0].files
    expect(item).to_contain_text(file.sha256)
    with page.expect_download() as download:
        item.get_by_role("link", name="Download").click()
    got = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(got).hexdigest() == file.sha256
    assert download.value.suggested_filename == f"{FINISHED.replace(' ', '-')}-Q8_0.gguf"
    item.get_by_role("button", name="Chat with").click()
    page.get_by_role("button", name="Sampling settings").last.click()
    page.locator("#export-max_new_tokens input[type=number]").fill("12")
    page.keyboard.press("Tab")
    page.locator("#export-prompt textarea").fill("question 1")
    page.keyboard.press("Enter")
    pane = page.locator("#chat-file")
    expect(pane.locator(".turn-user .turn-text")).to_have_text(["question 1"])
    expect(pane.locator(".pane-note")).to_contain_text("tokens/s")
    expect(page.locator("#export-send")).to_be_enabled()
    expect(pane.locator(".turn-assistant")).to_have_count(1)


def test_an_adapter_leaves_alone_where_no_type_is_ticked(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run.id}")
    page.get_by_label("Q8_0", exact=True).uncheck()
    page.get_by_label("Adapter alone (PEFT)").check()
    before = len(list_exports(Workspace(studio.workspace), run.id))
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator(".export-item")).to_have_count(before + 1)
    item = page.locator(".export-item").first
    expect(item.locator(".state")).to_contain_text("Finished", timeout=300_000)
    expect(item.locator(".export-file .s-tag")).to_have_text(["✓ checks passed"])
    (file,) = list_exports(Workspace(studio.workspace), run.id)[0].files
    assert sorted(path.name for path in file.path.iterdir())[:2] == [
        "README.md",
        "adapter_config.json",
    ]


def test_nothing_ticked_is_told_with_what_to_choose(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run.id}")
    page.get_by_label("Q8_0", exact=True).uncheck()
    expect(page.locator(".export-sum")).to_have_text("Tick at least one type.")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("No type was chosen.")).to_be_visible()
    expect(page.locator("#export-start")).to_be_enabled()
