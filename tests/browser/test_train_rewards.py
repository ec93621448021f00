"""The rewards on the Train tab: rules added and weighed, a file approved, an answer tried."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from components.train.kept import KEPT_FORM
from studio.training.rewards import sha256_of
from tests.browser.conftest import OpenPage, Studio


@pytest.fixture
def page(open_page: OpenPage, model_folder: Path, chat_file: Path) -> Page:
    """The Train tab with the method GRPO."""
    opened = open_page(f"?model={quote(str(model_folder))}")
    opened.set_input_files("#bring-files input[type=file]", chat_file)
    expect(opened.locator(".s-project")).to_have_text("chat")
    opened.get_by_role("tab", name="Train").click()
    expect(opened.locator("#plan")).to_contain_text("Optimizer steps")
    opened.locator("#knob-method input").click()
    opened.get_by_role("option", name="GRPO").click()
    expect(opened.locator("#rewards")).to_be_visible()
    return opened


def add(page: Page, kind: str) -> None:
    page.get_by_label("Reward to add").select_option(kind)
    page.get_by_role("button", name="Add reward").click()


def test_rules_are_added_checked_and_scored(page: Page) -> None:
    problems = page.locator("#problems")
    expect(page.locator("#rewards .s-reward")).to_have_count(1)
    add(page, "regex")
    expect(problems).to_contain_text("Reward 2 (regex): it has no pattern.")
    page.get_by_label("Pattern").fill("[")
    page.keyboard.press("Tab")
    expect(problems).to_contain_text("unterminated character set at character 1")
    page.get_by_label("Pattern").fill("[A-Z]")
    page.locator(".s-reward").nth(1).get_by_label("Weight").fill("0.5")
    page.keyboard.press("Tab")
    expect(problems).not_to_contain_text("Reward 2")
    page.get_by_role("button", name="Try the rewards").click()
    page.get_by_label("An answer to the first row").fill("NOT IT")
    page.get_by_role("button", name="Score it").click()
    expect(page.locator("#rewards-result tfoot")).to_contain_text("0.5")
    page.get_by_role("button", name="Remove reward 1").click()
    page.get_by_role("button", name="Remove reward 1").click()
    expect(problems).to_contain_text("There is no reward: GRPO would learn nothing.")
    expect(page.locator("#start")).to_be_disabled()


def test_a_persons_file_runs_only_after_it_was_shown_and_approved(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(prompt, answer, reference):\n    return len(answer)\n")
    page.get_by_role("button", name="Remove reward 1").click()
    add(page, "python")
    page.get_by_label("File", exact=True).fill(str(file))
    page.keyboard.press("Tab")
    expect(page.locator(".s-reward-source")).to_contain_text("return len(answer)")
    expect(page.locator(".s-reward-file")).to_contain_text(sha256_of(file.read_bytes()))
    expect(page.locator("#problems")).to_contain_text("mine.py was not approved")
    page.get_by_label("I have read this file").check()
    expect(page.locator("#problems")).not_to_contain_text("mine.py")
    page.get_by_role("button", name="Try the rewards").click()
    page.get_by_label("An answer to the first row").fill("seven77")
    page.get_by_role("button", name="Score it").click()
    expect(page.locator("#rewards-result tfoot")).to_contain_text("7")
    # What was typed survives a reload, the consent with it; a change of the file ends the consent.
    kept = studio.workspace / KEPT_FORM
    expect(page.locator("#start")).to_be_enabled()
    (rule,) = json.loads(kept.read_text())["values"]["grpo.rewards"]
    assert rule["sha256"] == sha256_of(file.read_bytes())
    file.write_text("def reward(prompt, answer, reference):\n    return 1\n")
    page.get_by_role("button", name="Read it again").click()
    expect(page.get_by_label("I have read this file")).not_to_be_checked()
