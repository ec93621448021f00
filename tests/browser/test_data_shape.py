"""Shaping a dataset on the page: split, balance, mix, phrasings, the set as files, more rows."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Studio


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """20 questions of 5 users, 4 each; 16 are easy and 4 are hard."""
    rows = [
        {
            "question": f"What is {n} plus {n}?",
            "answer": f"It is {2 * n}.",
            "user_id": f"u{n // 4}",
            "level": "hard" if n % 5 == 0 else "easy",
        }
        for n in range(20)
    ]
    path = tmp_path / "users.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _shape(page: Page, path: Path) -> None:
    page.set_input_files("#bring-files input[type=file]", path)
    expect(page.locator("#intake .s-finding.good")).to_contain_text(path.name)
    _open(page)


def _open(page: Page) -> None:
    page.locator("#data-views").get_by_role("tab", name="Shape").click()
    expect(page.locator("#prepared-set dd").first).to_be_visible()


def _choose(page: Page, control: str, option: str) -> None:
    page.locator(f"#knob-{control} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def _counts(page: Page, train: str, validation: str, test: str) -> None:
    for part, n in (("train", train), ("validation", validation), ("test", test)):
        value = page.locator(f'#prepared-set [data-part="{part}"] dd')
        expect(value).to_contain_text(f"{n} ")


def test_a_leak_is_shown_and_one_click_splits_by_group(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    _counts(page, "19", "1", "0")
    leak = page.locator("#prepared-set .s-finding")
    expect(leak).to_contain_text("1 row held out share a value of 'user_id' with training")
    leak.get_by_role("button", name="Split by group: user_id").click()
    _counts(page, "16", "4", "0")
    expect(page.locator("#knob-split_column input")).to_have_value("user_id")
    expect(leak).to_have_count(0)
    page.reload()
    _open(page)
    _counts(page, "16", "4", "0")


def test_shares_and_folds_change_the_counts(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    page.locator("#knob-test_share input[type=number]").fill("0.2")
    page.locator("#knob-test_share input[type=number]").press("Enter")
    _counts(page, "15", "1", "4")
    page.get_by_role("button", name="Folds and seed").click()
    page.locator("#knob-n_folds input").fill("4")
    page.locator("#knob-n_folds input").press("Enter")
    _counts(page, "12", "4", "4")
    expect(page.locator("#knob-validation_share")).to_be_hidden()


def test_a_split_that_cannot_be_says_why_in_its_place(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    _choose(page, "split_by", "Stratified")
    problem = page.locator("#prepared-set .s-finding.bad")
    expect(problem).to_contain_text("No column is chosen to split by")
    _choose(page, "split_column", "level")
    expect(problem).to_have_count(0)
    _counts(page, "19", "1", "0")


def test_balancing_shows_each_value_before_and_after(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    page.locator("#knob-validation_share input[type=number]").fill("0")
    page.locator("#knob-validation_share input[type=number]").press("Enter")
    _counts(page, "20", "0", "0")
    _choose(page, "balance", "Oversample")
    _choose(page, "balance_column", "level")
    hard = page.locator(".s-balance-line", has_text="hard")
    expect(hard).to_contain_text("4 before")
    expect(hard).to_contain_text("16 after")
    _counts(page, "32", "0", "0")


def test_another_dataset_is_mixed_in_and_taken_out_again(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    page.get_by_label("Dataset to add to the mix").select_option(label="Pig latin (sample)")
    page.get_by_role("button", name="Add to the mix").click()
    line = page.locator(".s-mix-line", has_text="Pig latin")
    expect(line).to_contain_text("2 rows of its 3,800 training rows")
    _counts(page, "21", "1", "0")
    share = page.get_by_label("Share of Pig latin in percent")
    share.fill("50")
    share.press("Tab")
    expect(line).to_contain_text("19 rows of its")
    _counts(page, "38", "1", "0")
    line.get_by_role("button", name="Remove").click()
    expect(line).to_have_count(0)
    _counts(page, "19", "1", "0")


def test_phrasings_are_shown_on_a_row_and_kept(page: Page, users_file: Path) -> None:
    _shape(page, users_file)
    page.get_by_role("button", name="Add a phrasing").click()
    first = page.get_by_label("Phrasing 1")
    first.fill("{{ prompt }}\n{{ nothing }}")
    card = page.locator("#phrasing-editors")
    expect(card.locator(".s-editor-error")).to_contain_text("Line 2: 'nothing' is undefined")
    first.fill("For {{ user_id }}: {{ prompt }}")
    expect(card.locator(".s-becomes")).to_contain_text("For u0: What is 0 plus 0?")
    page.get_by_role("button", name="Save phrasings").click()
    expect(card).to_contain_text("Saved in the recipe")
    page.reload()
    _open(page)
    expect(first).to_have_value("For {{ user_id }}: {{ prompt }}")


@pytest.mark.parametrize(("label", "suffix"), [("JSONL", "jsonl"), ("Parquet", "parquet")])
def test_the_prepared_set_is_downloaded_part_by_part(
    page: Page, users_file: Path, tmp_path: Path, label: str, suffix: str
) -> None:
    _shape(page, users_file)
    page.get_by_role("button", name=f"Messages as {label}").click()
    links = page.locator("#prepared-set .s-file")
    expect(links).to_have_text([f"train.{suffix}", f"validation.{suffix}", "recipe.json"])
    with page.expect_download() as begun:
        links.first.click()
    saved = tmp_path / "saved"
    begun.value.save_as(saved)
    if suffix == "jsonl":
        rows = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
        assert len(rows) == 19
        assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    else:
        assert saved.read_bytes()[:4] == b"PAR1"


def test_a_model_proposes_rows_and_only_approved_ones_are_added(
    page: Page, users_file: Path, studio: Studio
) -> None:
    _shape(page, users_file)
    page.locator("#knob-n_rows input").fill("3")
    page.get_by_role("button", name="Sampling").click()
    page.locator("#synthesis-max_new_tokens input").fill("12")
    page.get_by_role("button", name="Propose rows").click()
    card = page.locator("#proposals")
    expect(card).to_contain_text("paraphrase by starter: finished")
    expect(card).to_contain_text("3 proposals, 3 to decide, 0 approved")
    lines = card.locator(".s-proposal")
    expect(lines.first).to_contain_text("question")
    allowed = lines.filter(has=page.locator('button[aria-label^="Approve"]:not([disabled])'))
    allowed.first.get_by_role("button", name="Approve").click()
    expect(card).to_contain_text("3 proposals, 2 to decide, 1 approved")
    expect(page.locator("#prepared-set")).to_contain_text("21 rows in the dataset")
    lines.first.get_by_role("button", name="Reject").click()
    expect(card).to_contain_text("3 proposals, 1 to decide, 1 approved")
    recipe = json.loads(
        max(studio.workspace.glob("datasets/users*/recipe.json"), key=lambda p: p.stat().st_mtime)
        .read_text("utf-8")
    )  # fmt: skip
    (added,) = recipe["edits"]
    assert added["kind"] == "add"
    assert added["value"]["source"] == "synthetic"


def test_proposals_are_asked_for_the_rows_that_the_table_shows(
    page: Page, users_file: Path
) -> None:
    _shape(page, users_file)
    page.locator("#data-views").get_by_role("tab", name="Rows").click()
    page.get_by_label("Search all columns").fill("19 plus")
    expect(page.locator("#data-table .s-table-foot")).to_contain_text("1 of 20 rows")
    _open(page)
    page.get_by_label("Those the table shows").check()
    page.get_by_role("button", name="Sampling").click()
    page.locator("#synthesis-max_new_tokens input").fill("8")
    page.get_by_role("button", name="Propose rows").click()
    expect(page.locator("#proposals")).to_contain_text("1 proposals, 1 to decide, 0 approved")
    expect(page.locator(".s-proposal")).to_contain_text("What is 19 plus 19?")
