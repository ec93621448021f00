"""The checkup as a person uses it: from a file with faults to one without, by clicks that undo."""

import json
from pathlib import Path
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage

EMAIL = "jane.doe@example.org"
SLY = "<img src=x onerror=document.title='taken'>"


@pytest.fixture
def page(open_page: OpenPage, model_folder: Path) -> Page:
    return open_page(f"?model={quote(str(model_folder))}")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Twelve rows: 3 has no answer, 5 repeats 4, 6 is mojibake, 7 holds an address, 8 is sly."""
    animals = "cat dog owl fox bee elk ant cow hen pig rat emu".split()
    rows = [{"prompt": f"Say {name}.", "completion": f"The {name} it is."} for name in animals]
    rows[2]["completion"] = ""
    rows[4] = dict(rows[3])
    rows[5]["completion"] = "Das CafÃ© ist schÃ¶n."
    rows[6]["completion"] = f"Write to {EMAIL} today."
    rows[7]["completion"] = f"<p>{SLY} As an AI language model, I cannot say that.</p>"
    path = tmp_path / "planted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _bring(page: Page, path: Path) -> None:
    page.set_input_files("#bring-files input[type=file]", path)
    expect(page.locator(".s-table tbody tr").first).to_be_visible()


def _checked(page: Page, path: Path) -> None:
    """The Checkup view of a small file, which was checked by itself."""
    _bring(page, path)
    expect(page.locator("#checkup-line")).to_contain_text("Checkup:")
    page.get_by_role("tab", name="Checkup").click()
    expect(_kind(page, "empty_answer")).to_be_visible()


def _kind(page: Page, code: str) -> Locator:
    return page.locator(f'#data-findings [data-code="{code}"]')


def _changes(page: Page) -> Locator:
    return page.locator("#data-changes")


def _address(page: Page) -> str:
    """What opens the same dataset in another window."""
    return "?" + urlparse(page.url).query


def _fresh(page: Page) -> None:
    """Wait until the findings are those of the rows as they are now."""
    expect(page.locator("#data-findings .s-checkup-title.is-old")).to_have_count(0)
    expect(page.locator('.s-checkup-line[data-tone="busy"]')).to_have_count(0)


def test_a_small_file_is_checked_by_itself_and_says_what_is_wrong_where(
    page: Page, planted: Path
) -> None:
    _checked(page, planted)
    codes = [one.get_attribute("data-code") for one in page.locator(".s-kind").all()]
    assert codes[:2] == ["mojibake", "empty_answer"]  # the worst first; then by name
    assert {"duplicate_row", "personal_data", "refusal", "html"} <= set(codes)
    empty = _kind(page, "empty_answer")
    expect(empty).to_contain_text("Row 3 has no text in column 'completion'.")
    expect(empty).to_contain_text("left out of training")  # why it matters
    expect(empty).to_contain_text("✕ Mend")  # a word and a shape
    # Advice stands apart, folded.
    expect(_kind(page, "few_rows")).to_be_hidden()
    page.get_by_text("Good to know").click()
    expect(_kind(page, "few_rows")).to_contain_text("only 12 rows")


def test_personal_data_and_hostile_text_are_never_written_out(page: Page, planted: Path) -> None:
    _checked(page, planted)
    expect(_kind(page, "personal_data")).to_contain_text("j…@example.org")
    assert EMAIL not in page.locator("#data-findings").inner_text()
    expect(_kind(page, "html")).to_contain_text(SLY)
    assert page.title() == "LoRA Studio"


def test_a_finding_leads_to_its_rows(page: Page, planted: Path) -> None:
    _checked(page, planted)
    _kind(page, "mojibake").get_by_role("button", name="Show row 6").click()
    expect(page.locator("#inspector")).to_contain_text("Row 6")
    expect(page.locator(".s-table tbody")).to_be_visible()


def test_all_rows_of_a_kind_are_shown_in_the_table(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    rows = [{"prompt": f"ask {n % 3}", "completion": f"say {n % 3}"} for n in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    _bring(page, path)
    page.get_by_role("button", name="Open the checkup").click()
    _kind(page, "duplicate_row").get_by_role("button", name="Show all 6 in the table").click()
    expect(page.locator(".s-table-foot")).to_contain_text("6 of 9 rows")
    numbers = page.locator(".s-table tbody tr td:first-child").all_inner_texts()
    assert numbers == ["4", "5", "6", "7", "8", "9"]


def test_rows_are_removed_by_a_click_counted_and_put_back_by_undo(
    page: Page, planted: Path
) -> None:
    _checked(page, planted)
    repeated = _kind(page, "duplicate_row")
    expect(repeated).to_contain_text("1 of 12 rows leave training, 11 stay.")
    repeated.get_by_role("button", name="Remove 1 row").click()
    expect(_changes(page)).to_contain_text("Removed row 5")
    expect(_changes(page)).to_contain_text("1 row removed. The file stays as it was.")
    expect(repeated).to_have_count(0)
    _fresh(page)
    expect(page.locator("#checkup-line")).to_contain_text("in 11 rows")
    _changes(page).get_by_role("button", name="Undo", exact=False).first.click()
    expect(_changes(page)).to_contain_text("Nothing changed yet")
    expect(repeated).to_be_visible()
    expect(page.locator("#checkup-line")).to_contain_text("in 12 rows")


def test_texts_are_cleaned_after_showing_what_will_change(page: Page, planted: Path) -> None:
    _checked(page, planted)
    broken = _kind(page, "mojibake")
    expect(broken.locator("del").first).to_have_text("CafÃ©")
    expect(broken.locator("ins").first).to_have_text("Café")
    broken.get_by_role("button", name="Clean 1 row").click()
    expect(broken).to_have_count(0)
    expect(_changes(page)).to_contain_text("1 row changed")
    page.get_by_role("tab", name="Rows").click()
    expect(page.locator(".s-table tbody tr").nth(5)).to_contain_text("Das Café ist schön.")


def test_what_was_mended_is_there_after_a_reload_and_in_a_second_window(
    page: Page, planted: Path, open_page: OpenPage
) -> None:
    _checked(page, planted)
    other = open_page(_address(page))
    other.get_by_role("tab", name="Checkup").click()
    expect(_kind(other, "empty_answer")).to_be_visible()
    _kind(page, "empty_answer").get_by_role("button", name="Remove 1 row").click()
    expect(_kind(page, "empty_answer")).to_have_count(0)
    # The other window hears of it without a reload.
    expect(_changes(other)).to_contain_text("Removed row 3")
    expect(_kind(other, "empty_answer")).to_have_count(0)
    page.reload()
    page.get_by_role("tab", name="Checkup").click()
    expect(_changes(page)).to_contain_text("Removed row 3")
    expect(_kind(page, "mojibake")).to_be_visible()
    expect(_kind(page, "empty_answer")).to_have_count(0)


def test_everything_is_undone_after_asking_once_more(page: Page, planted: Path) -> None:
    _checked(page, planted)
    _kind(page, "empty_answer").get_by_role("button", name="Remove 1 row").click()
    expect(_changes(page)).to_contain_text("Removed row 3")
    _kind(page, "duplicate_row").get_by_role("button", name="Remove 1 row").click()
    expect(_changes(page)).to_contain_text("2 rows removed")
    _changes(page).get_by_role("button", name="Undo all", exact=True).click()
    _changes(page).get_by_role("button", name="Undo all 2 changes").click()
    expect(_changes(page)).to_contain_text("Nothing changed yet")


def test_an_edited_row_is_trained_on_as_it_was_saved(page: Page, planted: Path) -> None:
    _bring(page, planted)
    page.locator(".s-table tbody tr").nth(2).click()
    expect(page.locator("#inspector")).to_contain_text("Row 3 has no text")
    page.get_by_role("button", name="Edit", exact=True).press("Enter")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("Owls.")
    page.keyboard.press("Control+Enter")
    tokens = page.locator("#inspector .s-tokens .s-token.trained")
    expect(tokens).to_have_count(6)
    assert "".join(tokens.all_text_contents()) == "Owls.<|im_end|>"
    expect(page.locator(".s-table tbody tr").nth(2)).to_contain_text("Owls.")
    page.get_by_role("tab", name="Checkup").click()
    expect(_changes(page)).to_contain_text("Changed row 3: Answer")


def test_an_edit_that_is_not_saved_changes_nothing(page: Page, planted: Path) -> None:
    _bring(page, planted)
    expect(page.locator("#inspector .s-token").first).to_be_visible()
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("Answer", exact=True).fill("Something else")
    page.keyboard.press("Escape")
    expect(page.locator(".s-row-form")).to_be_hidden()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_focused()
    assert "Something else" not in page.locator("#inspector").inner_text()


def test_a_text_that_was_not_saved_comes_back_with_its_row(page: Page, planted: Path) -> None:
    _bring(page, planted)
    expect(page.locator("#inspector .s-token").first).to_be_visible()
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("Answer", exact=True).fill("half a thought")
    page.locator(".s-table tbody tr").nth(3).click()
    expect(page.locator("#inspector .s-row-name")).to_have_text("Row 4")
    expect(page.locator(".s-row-form")).to_be_hidden()
    page.locator(".s-table tbody tr").nth(0).click()
    expect(page.locator("#inspector .s-row-name")).to_have_text("Row 1")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_label("Answer", exact=True)).to_have_value("half a thought")


def test_a_row_is_removed_and_put_back_in_its_own_view(page: Page, planted: Path) -> None:
    _bring(page, planted)
    expect(page.locator("#inspector .s-token").first).to_be_visible()
    page.get_by_role("button", name="Remove row").click()
    expect(page.locator(".s-table-foot")).to_contain_text("12 rows, 1 removed")
    page.get_by_role("button", name="Put back").click()
    expect(page.locator(".s-table-foot .s-total")).to_have_text("12 rows")


def test_a_sample_is_copied_before_its_first_change(page: Page) -> None:
    page.get_by_role("button", name="Support", exact=True).click()
    page.locator(".s-table tbody tr").nth(1).click()
    expect(page.locator("#inspector .s-row-name")).to_have_text("Row 2")
    page.get_by_role("button", name="Remove row").click()
    expect(page.get_by_role("button", name="Put back")).to_be_visible()
    expect(page.locator("#inspector .s-row-name")).to_contain_text("Row 2")
    assert parse_qs(urlparse(page.url).query)["dataset"][0].startswith("support-copy")


def test_questions_of_a_test_are_found_in_the_rows(page: Page, tmp_path: Path) -> None:
    words = "the quick brown fox jumps over the lazy dog while seven cats sleep"
    rows = [{"prompt": f"{n} is when {words}?", "completion": f"yes {n}"} for n in range(5)]
    path, questions = tmp_path / "rows.jsonl", tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    questions.write_text(json.dumps(rows[2]) + "\n", "utf-8")
    _bring(page, path)
    page.get_by_role("tab", name="Checkup").click()
    page.get_by_label("Add a file").fill(str(tmp_path / "no.jsonl"))
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("toast-body")).to_contain_text("There is no file")
    page.get_by_label("Add a file").fill(str(questions))
    page.keyboard.press("Enter")
    expect(page.locator("#data-evaluation")).to_contain_text("questions.jsonl")
    expect(_kind(page, "contaminated")).to_contain_text("row 1 of questions.jsonl")
    page.get_by_role("button", name="Leave out questions.jsonl").click()
    expect(page.locator("#data-evaluation")).not_to_contain_text("questions.jsonl")
    expect(_kind(page, "contaminated")).to_have_count(0)


def test_a_long_checkup_is_started_by_hand_and_can_be_cancelled(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(20_000):
            row = {"prompt": f"question {n} " * 20, "completion": f"answer {n} " * 30}
            file.write(json.dumps(row) + "\n")
    _bring(page, path)
    line = page.locator("#checkup-line")
    expect(line).to_contain_text("Not every row was checked yet. It takes about")
    line.get_by_role("button", name="Check every row").click()
    expect(line).to_contain_text("of 20,000")
    expect(line.get_by_role("progressbar")).to_be_visible()
    line.get_by_role("button", name="Cancel").click()
    expect(line).to_contain_text("The checkup was cancelled.")
    page.reload()
    expect(line).to_contain_text("The checkup was cancelled.")
    expect(line.get_by_role("button", name="Check every row")).to_be_enabled()
