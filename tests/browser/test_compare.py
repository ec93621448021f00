"""The Compare tab over a real run of the starter model: both panes, stop, history, memory."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Studio
from tests.browser.trained import FINISHED, finished_run


@pytest.fixture
def page(open_page: OpenPage, studio: Studio, chat_file: Path) -> Page:
    """The Compare tab with the finished run; no model is loaded."""
    run = finished_run(studio.workspace, chat_file)
    opened = open_page(f"?tab=compare&run={run.id}")
    expect(opened.locator("#pane-tuned .pane-model")).to_have_text(FINISHED)
    expect(opened.locator("#compare-status")).not_to_be_empty()
    if opened.locator("#compare-unload").is_visible():
        opened.locator("#compare-unload").click()
    expect(opened.locator("#compare-status")).to_contain_text("Not loaded")
    return opened


def panes(page: Page) -> list[Locator]:
    return [page.locator(f"#chat-{kind}") for kind in ("base", "tuned")]


def ask(page: Page, text: str) -> None:
    page.locator("#compare-prompt textarea").fill(text)
    page.keyboard.press("Enter")


def set_longest(page: Page, n_tokens: int) -> None:
    page.get_by_role("button", name="Sampling settings").click()
    page.locator("#compare-max_new_tokens input[type=number]").fill(str(n_tokens))
    page.keyboard.press("Tab")


def test_both_models_answer_one_message_and_remember_it(page: Page) -> None:
    set_longest(page, 24)
    ask(page, "question 1")
    for pane in panes(page):
        expect(pane.locator(".turn-user")).to_have_text(["You:question 1"])
        expect(pane.locator(".pane-note")).to_contain_text("tokens/s")
    expect(page.locator("#compare-send")).to_be_enabled()
    expect(page.locator("#compare-status")).to_have_text("Loaded and ready.")
    ask(page, "and?")
    for pane in panes(page):
        expect(pane.locator(".turn-user")).to_have_count(2)
        expect(pane.locator(".turn-assistant")).to_have_count(2)
    expect(page.locator("#compare-send")).to_be_enabled()
    page.get_by_role("button", name="Clear").click()
    for pane in panes(page):
        expect(pane.locator(".turn")).to_have_count(0)
    page.get_by_role("button", name="Unload").click()
    expect(page.locator("#compare-status")).to_contain_text("Not loaded")


def test_stop_ends_both_answers_even_while_the_model_loads(page: Page) -> None:
    set_longest(page, 8)
    ask(page, "question 2")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#compare-send")).to_be_enabled()
    expect(page.locator("#compare-stop")).to_be_disabled()
    for pane in panes(page):
        expect(pane.locator(".pane-note")).to_contain_text("stopped")
    # The question without an answer is replaced by the next one.
    ask(page, "question 3")
    for pane in panes(page):
        expect(pane.locator(".turn-user .turn-text")).to_have_text(["question 3"])
        expect(pane.locator(".pane-note")).to_contain_text("tokens/s")
    expect(page.locator("#compare-send")).to_be_enabled()


def test_a_suggestion_from_the_validation_rows_is_sent_with_one_press(page: Page) -> None:
    set_longest(page, 8)
    suggestion = page.locator(".suggestion").first
    text = suggestion.inner_text()
    assert text.startswith("question ")
    suggestion.click()
    for pane in panes(page):
        expect(pane.locator(".turn-user .turn-text")).to_have_text([text])
        expect(pane.locator(".turn-assistant")).to_have_count(1)
    expect(page.locator("#compare-send")).to_be_enabled()


def test_mistakes_are_told_with_their_fix_and_the_next_message_still_works(page: Page) -> None:
    page.locator("#compare-send").click()
    expect(page.get_by_text("The message is empty.")).to_be_visible()
    set_longest(page, 4)
    seed = page.locator("#compare-seed input")
    seed.fill("")
    ask(page, "question 3")
    expect(page.get_by_text("Seed is empty.").first).to_be_visible()
    expect(page.locator("#compare-send")).to_be_enabled()
    seed.fill("7")
    page.keyboard.press("Tab")
    ask(page, "question 4")
    for pane in panes(page):
        expect(pane.locator(".turn-user .turn-text")).to_have_text(["question 4"])
        expect(pane.locator(".turn-assistant")).to_have_count(1)
    expect(page.locator("#compare-send")).to_be_enabled()
