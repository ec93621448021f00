"""Chat with an adapter file on its base file: switched off, on and scaled, in one loaded model."""

from pathlib import Path

from playwright.sync_api import Page, expect

from studio.jobs.export import start_export
from studio.jobs.job import log_tail
from studio.jobs.llama_settings import uses_gpu
from studio.jobs.process import wait_until_ended
from studio.paths import Workspace
from tests.browser.conftest import OpenPage, Studio
from tests.browser.trained import start

QUESTION = "question 1"


def exported_adapter(workspace: Path, file: Path) -> str:
    """A run that learned its rows, with base and adapter as GGUF; the run's id."""
    run = start(workspace, "adapter run", "starter", file, 40)
    assert wait_until_ended(run, 400) == "finished", log_tail(run)
    job = start_export(Workspace(workspace), run.id, [], also=["adapter-gguf"])
    assert wait_until_ended(job, 400) == "finished", log_tail(job)
    return run.id


def open_chat(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    expect(page.locator("#export-chat")).to_be_visible()


def ask(page: Page) -> str:
    """The answer to QUESTION, asked anew: what was said before is cleared."""
    page.locator("#export-clear").click()
    expect(page.locator("#chat-file .turn")).to_have_count(0)
    page.locator("#export-prompt textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    answer = page.locator("#chat-file .turn-assistant .turn-text")
    expect(page.locator("#chat-file .pane-note")).to_contain_text("tokens/s")
    expect(page.locator("#export-send")).to_be_enabled()
    return str(answer.last.text_content())


def test_adapter_is_switched_off_and_on_and_the_pane_says_who_speaks(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = exported_adapter(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run}")
    open_chat(page, "Chat with adapter-run-adapter.gguf")
    title = page.locator("#chat-file .pane-head h2")
    by = page.locator("#chat-file .turn-by")
    switch = page.get_by_label("Adapter on")
    strength = page.locator("#export-adapter-scale input[type=number]")
    expect(title).to_have_text("With adapter ×1")
    page.get_by_role("button", name="Sampling settings").last.click()
    page.locator("#export-max_new_tokens input[type=number]").fill("16")
    page.keyboard.press("Tab")
    page.locator("#export-prompt textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    # From here on the answer is under way, or just written: the switch is for the next one.
    expect(page.locator("#chat-file .pane-note")).not_to_be_empty()
    switch.uncheck()
    expect(title).to_have_text("Base alone")
    expect(page.locator("#chat-file .pane-note")).to_have_text("from the next answer on")
    expect(by).to_have_text(["With adapter ×1"])
    switch.check()
    tuned = ask(page)
    expect(by).to_have_text(["With adapter ×1"])
    switch.uncheck()
    expect(title).to_have_text("Base alone")
    expect(strength).to_be_disabled()
    base = ask(page)
    expect(by).to_have_text(["Base alone"])
    assert base != tuned
    switch.check()
    expect(title).to_have_text("With adapter ×1")
    assert ask(page) == tuned
    strength.fill("0.5")
    page.keyboard.press("Tab")
    expect(title).to_have_text("With adapter ×0.5")
    open_chat(page, "Chat with adapter-run-base-F16.gguf")
    expect(title).to_have_text("Base alone")
    expect(switch).to_be_hidden()
    assert ask(page) == base
    page.get_by_role("button", name="Threads and GPU").click()
    layers = page.get_by_label("GPU layers")
    if uses_gpu():
        expect(layers).to_have_value("-1")
    else:
        expect(layers).to_be_disabled()
        expect(page.locator("#export-llama")).to_contain_text("built without GPU support")
