"""How rows become conversations, and conversations text: mapping, gallery, one's own template."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage

OWN = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}\n{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def page(open_page: OpenPage, model_folder: Path) -> Page:
    return open_page(f"?model={quote(str(model_folder))}")


def _bring(page: Page, path: Path) -> None:
    page.set_input_files("#bring-files input[type=file]", path)
    expect(page.locator("#intake .s-finding.good")).to_contain_text(path.name)
    expect(page.locator(".s-table tbody tr").first).to_be_visible()
    _reading(page)


def _reading(page: Page) -> None:
    page.locator("#data-views").get_by_role("tab", name="Reading").click()
    expect(page.locator("#template-editor .s-choice").first).to_be_visible()


def _preview(page: Page) -> Locator:
    return page.locator("#template-editor .s-rendered.s-tall")


def _trained(page: Page) -> Locator:
    return _preview(page).locator("mark")


def _pairs(path: Path) -> Path:
    rows = [{"q": f"question {n}", "a": f"answer {n}", "kind": "short"} for n in range(1, 6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_template_of_the_gallery_shows_its_text_at_once_and_is_kept(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    expect(_preview(page)).to_contain_text("<|im_start|>user\nquestion 1<|im_end|>")
    page.get_by_role("radio", name="Vicuna").check()
    expect(_preview(page)).to_contain_text("USER: question 1 ASSISTANT: FIRST 1")
    expect(_trained(page)).to_have_text([" FIRST 1", "<|im_end|>", " ANSWER 1", "<|im_end|>"])
    page.reload()
    _reading(page)
    expect(page.get_by_role("radio", name="Vicuna")).to_be_checked()


def test_templates_whose_tokens_the_model_lacks_cannot_be_chosen_and_say_why(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    expect(page.get_by_role("radio", name="Llama 3", exact=False).first).to_be_disabled()
    line = page.locator(".s-choice", has_text="Llama 3").first
    expect(line).to_contain_text("Not for this model: it has no <|start_header_id|>.")


def test_an_own_template_names_the_wrong_line_then_is_saved_and_survives_a_reload(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    page.get_by_role("radio", name="My own").check()
    editor = page.get_by_label("My own template (Jinja)")
    save = page.get_by_role("button", name="Save this template")
    editor.fill(OWN.replace("{% endfor %}", "{% endfour %}"))
    error = page.locator("#template-editor .s-editor-error")
    expect(error).to_contain_text("Line 2: Encountered unknown tag 'endfour'")
    expect(page.locator("#template-editor .s-editor-lines .wrong")).to_have_text("2")
    expect(save).to_be_disabled()
    editor.fill(OWN)
    expect(error).to_have_text("")
    expect(_preview(page)).to_contain_text("<user>question 1\n<assistant>FIRST 1<|im_end|>")
    expect(_trained(page)).to_have_text(["FIRST 1", "<|im_end|>", "ANSWER 1", "<|im_end|>"])
    save.click()
    expect(page.locator("#template-editor")).to_contain_text("Saved in the recipe")
    page.reload()
    _reading(page)
    expect(page.get_by_role("radio", name="My own")).to_be_checked()
    expect(editor).to_have_value(OWN)
    page.locator("#data-views").get_by_role("tab", name="Rows").click()
    page.locator(".s-table tbody tr").first.click()
    expect(page.locator("#inspector")).to_contain_text("<user>question 1")


def test_a_template_that_asks_in_other_words_than_it_teaches_says_so(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    page.get_by_role("radio", name="My own").check()
    editor = page.get_by_label("My own template (Jinja)")
    editor.fill(OWN.replace("prompt %}<assistant>", "prompt %}<bot>"))
    shown = page.locator("#template-editor .s-preview")
    expect(shown).to_contain_text("Chat asks for the answer in turn 2 with other text")
    editor.fill(OWN)
    expect(shown).not_to_contain_text("Chat asks for the answer")


def test_a_template_that_never_ends_is_stopped_and_the_page_says_so(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    page.get_by_role("radio", name="My own").check()
    page.get_by_label("My own template (Jinja)").fill(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{{ 1 }}"
    )
    expect(page.locator("#template-editor .s-editor-error")).to_contain_text("Line 1:")


def test_a_copy_of_a_gallery_template_is_where_an_own_one_begins(
    page: Page, chat_file: Path
) -> None:
    _bring(page, chat_file)
    page.get_by_role("radio", name="Zephyr").check()
    expect(_preview(page)).to_contain_text("<|user|>")
    page.get_by_role("button", name="Edit a copy").click()
    editor = page.get_by_label("My own template (Jinja)")
    expect(editor).to_be_focused()
    assert "<|' + message['role'] + '|>" in editor.input_value()
    page.get_by_role("button", name="Discard changes").click()
    expect(page.get_by_role("radio", name="Zephyr")).to_be_checked()


def test_the_template_layout_writes_rows_from_columns_and_names_a_wrong_line(
    page: Page, tmp_path: Path
) -> None:
    _bring(page, _pairs(tmp_path / "pairs.jsonl"))
    page.locator("#knob-layout input").click()
    page.get_by_role("option", name="Template").click()
    # A column's dropdown of the old layout is called Prompt too, until it is gone.
    editors = page.locator("#mapping-editor")
    prompt = editors.get_by_label("Prompt", exact=True)
    prompt.fill("Be {{ kind }}.\n{{ quest }}")
    errors = editors.locator(".s-editor-error")
    expect(errors.first).to_contain_text("Line 2: 'quest' is undefined")
    prompt.fill("Be {{ kind }}.\n")
    editors.get_by_role("button", name="q", exact=True).click()
    editors.get_by_label("Answer", exact=True).fill("{{ a }}")
    expect(page.locator(".s-mapped").nth(1)).to_contain_text("Be short.\nquestion 2")
    page.get_by_role("button", name="Save these templates").click()
    expect(_preview(page)).to_contain_text("Be short.\nquestion 1<|im_end|>")
    page.reload()
    _reading(page)
    expect(prompt).to_have_value("Be {{ kind }}.\n{{ q }}")
    expect(page.locator(".s-mapped").first).to_contain_text("answer 1")


def test_another_column_for_a_part_is_kept(page: Page, tmp_path: Path) -> None:
    _bring(page, _pairs(tmp_path / "other.jsonl"))
    page.locator("#part-1 input").click()
    page.get_by_role("option", name="kind", exact=True).click()
    expect(_trained(page)).to_have_text(["short", "<|im_end|>"])
    page.reload()
    _reading(page)
    expect(page.locator("#part-1 input")).to_have_value("kind")
