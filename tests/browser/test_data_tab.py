"""The Data tab as a person uses it: from a file to the tokens that are trained on."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage


@pytest.fixture
def page(open_page: OpenPage, model_folder: Path) -> Page:
    return open_page(f"?model={quote(str(model_folder))}")


def _bring(page: Page, path: Path) -> None:
    page.set_input_files("#bring-files input[type=file]", path)
    expect(page.locator(".s-table tbody tr").first).to_be_visible()
    expect(page.locator("#inspector .s-token").first).to_be_visible()


def _view(page: Page, name: str) -> None:
    page.locator("#data-views").get_by_role("tab", name=name, exact=True).click()


def _trained(page: Page) -> str:
    return "".join(page.locator("#inspector .s-tokens .s-token.trained").all_text_contents())


def test_an_empty_studio_says_what_to_do_next(page: Page) -> None:
    expect(page.locator("#data-empty")).to_contain_text("Bring a file above")
    expect(page.locator("#data-body")).to_be_hidden()


def test_an_uploaded_file_shows_its_rows_and_the_tokens_trained_on(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    expect(page.locator(".s-table-foot")).to_contain_text("30 rows")
    expect(page.locator(".s-table-foot")).to_contain_text("page 1 of 3")
    expect(page.locator("#inspector .s-bubble.trained .s-role").first).to_have_text(
        "assistant · trained on"
    )
    assert _trained(page) == "FIRST·1<|im_end|>ANSWER·1<|im_end|>"
    # n trained = 7 + 1 + 8 + 1 tokens of one byte or one control token each
    expect(page.locator(".s-counts .s-violet")).to_have_text("17")
    _view(page, "Reading")
    expect(page.locator("#reading-reason")).to_contain_text("Read as Messages")


def test_a_clicked_row_is_shown_and_its_choice_can_be_seen(page: Page, chat_file: Path) -> None:
    _bring(page, chat_file)
    page.locator(".s-table tbody tr").nth(4).click()
    expect(page.locator("#inspector .s-row-name")).to_have_text("Row 5")
    assert _trained(page) == "FIRST·5<|im_end|>ANSWER·5<|im_end|>"
    chosen = page.locator('.s-table tbody tr[aria-selected="true"]')
    expect(chosen.locator("td").first).to_have_text("5")


def test_a_change_of_what_is_trained_on_is_kept(page: Page, chat_file: Path) -> None:
    _bring(page, chat_file)
    _view(page, "Reading")
    page.get_by_label("Last answer").check()
    _view(page, "Rows")
    expect(page.locator("#inspector .s-bubble.trained")).to_have_count(1)
    assert _trained(page) == "ANSWER·1<|im_end|>"
    page.reload()
    _view(page, "Reading")
    expect(page.get_by_label("Last answer")).to_be_checked()


def test_what_a_row_says_is_shown_as_text_and_never_run(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "sly.jsonl"
    sly = "<img src=x onerror=document.title='taken'> ${1+1} {{value}}"
    path.write_text(json.dumps({"prompt": sly, "completion": sly}), "utf-8")
    _bring(page, path)
    expect(page.locator(".s-table tbody td").nth(1)).to_have_text(sly)
    expect(page.locator("#inspector .s-bubble div").first).to_have_text(sly)
    assert page.title() == "LoRA Studio"


def test_a_broken_file_is_refused_with_its_line_and_nothing_is_kept(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "broken.jsonl"
    good = '{"prompt": "a", "completion": "b"}'
    path.write_text(f'{good}\n{{"prompt": "c", "completion": }}\n{good}\n', "utf-8")
    page.set_input_files("#bring-files input[type=file]", path)
    refused = page.locator("#intake .s-finding.bad")
    expect(refused).to_contain_text("line 2")
    assert "Traceback" not in refused.inner_text()
    page.reload()
    expect(page.locator("#data-empty")).to_be_visible()


def test_a_path_on_this_computer_brings_the_file_too(page: Page, chat_file: Path) -> None:
    page.get_by_label("Or a file, a folder, or a dataset of the hub").fill(str(chat_file))
    page.keyboard.press("Enter")
    expect(page.locator(".s-table-foot")).to_contain_text("30 rows")


def test_a_wrong_path_says_so(page: Page) -> None:
    page.get_by_label("Or a file, a folder, or a dataset of the hub").fill("/no/such/file.jsonl")
    page.keyboard.press("Enter")
    expect(page.locator("#intake .s-finding.bad")).to_contain_text("There is no file")
