"""The Rows view of the Data tab: the table, the charts beside it, and one row all the way."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage

Bring = Callable[..., Page]
WORDS = ("apple", "pear", "fig", "plum", "quince")


@pytest.fixture
def bring(open_page: OpenPage, model_folder: Path, tmp_path: Path) -> Bring:
    """Opens a window, brings rows as a file, and waits for the table, a row and the charts."""

    def opened(rows: list[dict[str, object]], **options: object) -> Page:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        page = open_page(f"?model={quote(str(model_folder))}", **options)
        page.set_input_files("#bring-files input[type=file]", path)
        expect(page.locator("#data-table tbody tr").first).to_be_visible()
        expect(page.locator("#inspector .s-row-body > *").first).to_be_visible()
        expect(page.locator("#data-charts .s-chart").first).to_be_attached()
        return page

    return opened


def _fruits(n: int = 40) -> list[dict[str, object]]:
    """Row N asks "n N" and answers one of five words N times."""
    return [{"prompt": f"n {i}", "completion": f"{WORDS[i % 5]} " * i} for i in range(1, n + 1)]


def _talks() -> list[dict[str, object]]:
    """30 conversations; every third has four turns, the others two."""
    rows = []
    for n in range(1, 31):
        turns = [("user", f"question {n}"), ("assistant", f"ANSWER {n}")] * (2 if n % 3 == 0 else 1)
        rows.append({"messages": [{"role": role, "content": text} for role, text in turns]})
    return rows


def _numbers(page: Page) -> list[str]:
    return page.locator("#data-table tbody tr td:first-child").all_text_contents()


def _foot(page: Page) -> Locator:
    return page.locator("#data-table .s-table-foot")


def _shows_row(page: Page, number: int) -> None:
    expect(page.locator("#inspector .s-row-name")).to_have_text(f"Row {number}")


def _filtered_by(page: Page, text: str) -> None:
    expect(page.locator("#data-table .s-chip").first).to_contain_text(text)


def test_a_search_keeps_the_numbers_of_the_rows_it_finds(bring: Bring) -> None:
    page = bring(_fruits())
    page.get_by_label("Search all columns").fill("n 27")
    expect(_foot(page)).to_contain_text('1 of 40 rows contain "n 27"')
    page.locator("#data-table tbody tr").click()
    _shows_row(page, 27)


def test_the_last_search_typed_is_the_one_that_is_shown(bring: Bring) -> None:
    page = bring(_fruits())
    page.get_by_label("Search all columns").press_sequentially("quince", delay=15)
    expect(_foot(page)).to_contain_text('8 of 40 rows contain "quince"')
    assert _numbers(page) == ["4", "9", "14", "19", "24", "29", "34", "39"]


def test_a_search_without_a_hit_says_what_to_do(bring: Bring) -> None:
    page = bring(_fruits())
    page.get_by_label("Search all columns").fill("zebra")
    expect(page.locator("#data-table tbody")).to_contain_text("No row is like this.")


def test_rows_are_sorted_by_length_both_ways_and_back(bring: Bring) -> None:
    page = bring(_fruits())
    head = page.locator("#data-table thead")
    head.get_by_role("button", name="Characters").click()
    expect(page.locator("#data-table tbody tr td:first-child").first).to_have_text("39")
    expect(head.get_by_role("columnheader", name="Characters")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_label("Order", exact=True).select_option("Fewest characters")
    expect(page.locator("#data-table tbody tr td:first-child").first).to_have_text("1")
    page.get_by_label("Order", exact=True).select_option("Last row first")
    expect(page.locator("#data-table tbody tr td:first-child").first).to_have_text("40")


def test_the_keyboard_alone_moves_through_rows_and_pages(bring: Bring) -> None:
    page = bring(_fruits())
    page.keyboard.press("/")
    expect(page.get_by_label("Search all columns")).to_be_focused()
    page.keyboard.press("Enter")
    for key, number in (
        ("ArrowDown", 2), ("j", 3), ("k", 2), ("PageDown", 14), ("End", 40), ("ArrowUp", 39),
        ("Home", 1), ("ArrowUp", 1),
    ):  # fmt: skip
        page.keyboard.press(key)
        _shows_row(page, number)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#inspector .s-row-view")).to_be_focused()
    page.keyboard.press("j")
    _shows_row(page, 2)


def test_the_arrow_goes_over_the_edge_of_a_page(bring: Bring) -> None:
    page = bring(_fruits())
    page.locator("#data-table tbody tr").nth(11).click()
    _shows_row(page, 12)
    page.locator("#data-table tbody tr").nth(11).focus()
    page.keyboard.press("ArrowDown")
    _shows_row(page, 13)
    expect(_foot(page)).to_contain_text("page 2 of 4")
    page.keyboard.press("ArrowUp")
    _shows_row(page, 12)
    expect(_foot(page)).to_contain_text("page 1 of 4")


def test_next_and_previous_follow_the_order_of_the_table_over_its_pages(bring: Bring) -> None:
    page = bring(_fruits())
    page.get_by_label("Order", exact=True).select_option("Last row first")
    page.locator("#data-table tbody tr").nth(11).click()
    _shows_row(page, 29)
    expect(page.locator("#inspector")).to_contain_text("12 of 40")
    page.get_by_role("button", name="Next row").click()
    _shows_row(page, 28)
    expect(_foot(page)).to_contain_text("page 2 of 4")
    page.get_by_role("button", name="Previous row").click()
    _shows_row(page, 29)
    page.get_by_label("Page", exact=True).fill("4")
    page.keyboard.press("Enter")
    expect(_foot(page)).to_contain_text("page 4 of 4")
    page.locator("#data-table tbody tr").last.click()
    _shows_row(page, 1)
    expect(page.get_by_role("button", name="Next row")).to_be_disabled()


def test_a_row_is_reached_by_its_number(bring: Bring) -> None:
    page = bring(_fruits())
    page.get_by_label("Go to row").fill("33")
    page.keyboard.press("Enter")
    _shows_row(page, 33)
    expect(_foot(page)).to_contain_text("page 3 of 4")
    page.get_by_label("Search all columns").fill("pear")
    expect(_foot(page)).to_contain_text("8 of 40 rows")
    page.get_by_label("Go to row").fill("33")
    page.keyboard.press("Enter")
    expect(_foot(page)).to_contain_text("Row 33 is not among them.")


def test_a_bar_of_a_chart_filters_the_table_and_once_more_takes_the_filter_away(
    bring: Bring,
) -> None:
    page = bring(_talks())
    bar = page.get_by_role("button", name="Turns: 4, 10 rows, 33 %")
    bar.click()
    expect(_foot(page)).to_contain_text("10 of 30 rows match the filters")
    expect(bar).to_have_attribute("aria-pressed", "true")
    _filtered_by(page, "Turns: 4")
    assert _numbers(page) == [str(n) for n in range(3, 31, 3)]
    bar.click()
    expect(_foot(page)).to_contain_text("30 rows")
    expect(page.locator("#data-table .s-chip")).to_have_count(0)


def test_filters_are_combined_and_taken_away_one_by_one(bring: Bring) -> None:
    page = bring(_fruits())
    expect(page.locator("#data-charts")).to_contain_text("Choose a bar to see its rows.")
    page.locator("#data-table .s-filters > summary").click()
    page.get_by_label("Characters from").fill("100")
    page.get_by_label("Characters to").fill("150")
    page.keyboard.press("Enter")
    _filtered_by(page, "Characters: 100 to 150")
    page.get_by_label("Search all columns").fill("fig")
    expect(_foot(page)).to_contain_text('2 of 40 rows contain "fig" and match the filters')
    assert _numbers(page) == ["27", "32"]
    page.get_by_role("button", name="Take away the filter Characters: 100 to 150").click()
    expect(_foot(page)).to_contain_text('8 of 40 rows contain "fig"')


def test_whitespace_is_shown_on_demand_and_the_choice_is_kept(bring: Bring) -> None:
    page = bring([{"prompt": "two words", "completion": "a\tb"}])
    text = page.locator("#inspector .s-rendered:not(.s-raw)").first
    expect(text).to_contain_text("two words")
    page.get_by_role("button", name="Show whitespace").click()
    expect(text).to_contain_text("user↵\ntwo·words")
    expect(page.locator("#inspector .s-bubble.trained div")).to_have_text("a⇥b")
    page.reload()
    expect(text).to_contain_text("two·words")
    page.get_by_role("button", name="Show whitespace").click()
    expect(text).to_contain_text("two words")


def test_a_row_shows_its_way_from_the_file_to_the_prompt_in_chat(bring: Bring) -> None:
    page = bring(_talks())
    inspector = page.locator("#inspector")
    assert inspector.locator(".s-section h3").all_text_contents() == [
        *("Raw row", "Messages", "Text the model reads", "Tokens", "Prompt in chat"),
    ]
    inspector.locator("[data-section=raw] summary").click()
    expect(inspector.locator(".s-raw")).to_contain_text('"content": "question 1"')
    inspector.locator("[data-section=prompt] summary").click()
    prompt = inspector.locator("[data-section=prompt]")
    expect(prompt).to_contain_text("Agrees.")
    expect(prompt.locator("pre")).to_have_text(
        "<|im_start|>user\nquestion 1<|im_end|>\n<|im_start|>assistant\n", use_inner_text=True
    )
    page.locator("#data-table tbody tr").nth(1).click()
    expect(inspector.locator(".s-raw")).to_contain_text('"content": "question 2"')


def test_the_raw_row_is_copied(bring: Bring) -> None:
    page = bring(
        [{"prompt": "q", "completion": "a"}], permissions=["clipboard-read", "clipboard-write"]
    )
    page.locator("#inspector [data-section=raw] summary").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == {"prompt": "q", "completion": "a"}


def test_both_answers_of_a_preference_can_be_looked_at(bring: Bring) -> None:
    page = bring([{"prompt": "q", "chosen": "GOOD", "rejected": "BAD"}])
    trained = page.locator("#inspector .s-tokens .s-token.trained")
    assert "".join(trained.all_text_contents()) == "GOOD<|im_end|>"
    expect(page.locator("#inspector .s-bubble.worse")).to_contain_text("BAD")
    page.get_by_role("button", name="worse answer").click()
    assert "".join(trained.all_text_contents()) == "BAD<|im_end|>"


def test_a_row_that_cannot_be_read_shows_its_raw_value_and_the_fix(bring: Bring) -> None:
    page = bring([{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": ""}])
    page.locator("#data-table tbody tr").nth(1).click()
    problem = page.locator("#inspector .s-finding.bad")
    expect(problem).to_contain_text("Row 2 has no text in column 'completion'.")
    expect(page.locator("#inspector .s-raw")).to_contain_text('"prompt": "c"')


@pytest.mark.parametrize("width", [390, 760, 1024, 1440])
def test_no_width_makes_the_page_scroll_sideways(bring: Bring, width: int) -> None:
    rows = [{**row, **{f"column {n}": "x" * 40 for n in range(12)}} for row in _fruits(20)]
    page = bring(rows, viewport={"width": width, "height": 900})
    page.locator("#data-table .s-filters > summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    box = page.locator("#data-table .s-table-scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    for name in ("Checkup", "Reading", "Shape", "Rows"):
        page.locator("#data-views").get_by_role("tab", name=name, exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
