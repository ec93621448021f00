"""Where datasets come from: files, folders, paths; what is refused, and what a row of text is."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

PATH = "Or a file, a folder, or a dataset of the hub"


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


def _view(page: Page, name: str) -> None:
    page.locator("#data-views").get_by_role("tab", name=name).click()


def _rows(path: Path, n: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"prompt": "hello", "completion": "good day"}
    path.write_text("".join(json.dumps({**row, "n": i}) + "\n" for i in range(n)), "utf-8")
    return path


def test_junk_is_refused_with_a_reason_that_stays_readable(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "download.jsonl"
    path.write_text("<!DOCTYPE html><html><body>Not found</body></html>", "utf-8")
    page.set_input_files("#bring-files input[type=file]", path)
    refused = page.locator("#intake .s-finding.bad")
    expect(refused).to_contain_text("'download.jsonl' is a web page saved under a data file's name")
    expect(refused).to_contain_text("use the page's download button")
    page.wait_for_timeout(13_000)  # longer than a toast lives
    expect(refused).to_be_visible()
    page.get_by_role("button", name="Close this note").click()
    expect(refused).to_be_hidden()


def test_several_files_become_one_dataset_and_the_notes_of_the_readers_are_shown(
    page: Page, tmp_path: Path
) -> None:
    poems, tales = tmp_path / "poems.txt", tmp_path / "tales.txt"
    poems.write_text("one\ntwo\n", "utf-8")
    tales.write_text("Once upon a time.\n\nThe end.\n", "utf-8")
    page.set_input_files("#bring-files input[type=file]", [poems, tales])
    done = page.locator("#intake .s-finding.good")
    expect(done).to_contain_text("poems.txt and 1 more is read: 4 rows")
    expect(done).to_contain_text("poems.txt has no blank line: every line is a row.")
    expect(page.locator("#data-table .s-table-foot")).to_contain_text("4 rows")


def test_a_folder_is_read_with_its_sub_folders_and_says_first_that_it_is_one(
    page: Page, tmp_path: Path
) -> None:
    _rows(tmp_path / "set" / "a.jsonl", 3)
    _rows(tmp_path / "set" / "deep" / "b.jsonl", 2)
    (tmp_path / "set" / "picture.png").write_bytes(b"\x89PNG")
    page.get_by_label(PATH).fill(str(tmp_path / "set"))
    expect(page.locator("#bring-meaning")).to_contain_text("A folder: the data files in it")
    page.keyboard.press("Enter")
    expect(page.locator("#intake .s-finding.good")).to_contain_text("is read: 5 rows")
    expect(page.locator("#intake .s-finding.good")).to_contain_text("left out")
    expect(page.get_by_label(PATH)).to_have_value("")


def test_a_name_of_the_hub_is_explained_before_anything_is_fetched(page: Page) -> None:
    page.get_by_label(PATH).fill("owner/name:main/train")
    meaning = page.locator("#bring-meaning")
    expect(meaning).to_contain_text("The dataset 'owner/name' of huggingface.co")
    expect(meaning).to_contain_text("configuration 'main', split 'train'")


def test_what_a_row_of_a_text_is_can_be_chosen_and_the_count_follows(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# One\n\nFirst words.\n\nSecond words.\n\n# Two\n\nLast words.\n", "utf-8")
    page.set_input_files("#bring-files input[type=file]", path)
    expect(page.locator("#intake .s-finding.good")).to_contain_text("is read: 5 rows")
    _view(page, "Reading")
    reason = page.locator("#reading-reason")
    expect(reason).to_contain_text("5 rows")
    for unit, n in (("Section", "2 rows"), ("Document", "1 row")):
        page.locator("#knob-text_unit input").click()
        page.get_by_role("option", name=unit).click()
        expect(reason).to_contain_text(n)
    page.reload()
    _view(page, "Reading")
    expect(reason).to_contain_text("1 row")


def test_a_long_reading_is_cancelled_and_another_window_works_meanwhile(
    page: Page, open_page: OpenPage, tmp_path: Path
) -> None:
    other = open_page()
    path = tmp_path / "long.jsonl"
    row = json.dumps({"prompt": "hello " * 10, "completion": "good day " * 5}) + "\n"
    with path.open("w", encoding="utf-8") as file:
        file.writelines([row * 1000] * 2500)
    page.get_by_label(PATH).fill(str(path))
    page.keyboard.press("Enter")
    line = page.locator("#intake .s-intake-line")
    expect(line).to_contain_text("rows so far")
    other.get_by_role("button", name="Support").click()
    expect(other.locator(".s-table tbody tr").first).to_be_visible()
    line.get_by_role("button", name="Cancel").click()
    expect(page.locator("#intake .s-finding")).to_contain_text("was cancelled")
    expect(page.locator("#dataset-chooser input")).not_to_have_value("long")


def test_the_sources_card_needs_no_sideways_scrolling_on_a_phone(open_page: OpenPage) -> None:
    page = open_page("?dataset=sample:support", viewport={"width": 390, "height": 844})
    for name in ("Reading", "Shape"):
        _view(page, name)
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
