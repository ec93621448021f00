"""The Export tab over a real run of the starter model: sizes, files, checks, llama.cpp."""

import hashlib
import json
import re
import shutil
from pathlib import Path

from playwright.sync_api import expect

from studio.events import EventWriter
from studio.jobs.job import create_job
from studio.paths import Workspace
from studio.results.exports import list_exports
from studio.settings import to_dict
from studio.training.config import RunConfig
from tests.browser.conftest import OpenPage, Studio
from tests.browser.trained import FINISHED, finished_run


def test_a_run_becomes_a_checked_file_that_answers_in_llama_cpp(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run.id}")
    expect(page.get_by_label("Q8_0", exact=True)).to_be_checked()
    rows = page.locator(".export-table tbody tr")
    expect(rows).to_have_count(30)
    expect(rows.filter(visible=True)).to_have_count(8)
    page.get_by_role("button", name="Show 22 more types").click()
    expect(rows.filter(visible=True)).to_have_count(30)
    page.get_by_role("button", name="Show the usual types alone").click()
    expect(rows.filter(visible=True)).to_have_count(8)
    page.get_by_role("button", name="Export", exact=True).click()
    item = page.locator(".export-item")
    expect(item.locator(".state")).to_contain_text("Finished", timeout=300_000)
    # A run of a few steps may well answer a shade differently; nothing may fail.
    expect(item.locator(".export-file .s-tag")).to_contain_text("passed")
    assert item.locator(".export-check").count() == 10
    expect(item.locator(".export-check.bad")).to_have_count(0)
    expect(item.locator(".q-table tbody th")).to_have_text(
        ["Base model", "Tuned model", re.compile("Q8_0")]
    )
    expect(item.locator(".q-advice")).to_contain_text("Q8_0")
    (file,) = list_exports(Workspace(studio.workspace), run.id)[0].files
    expect(item).to_contain_text(file.sha256)
    with page.expect_download() as download:
        item.get_by_role("link", name="Download short-run").click()
    got = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(got).hexdigest() == file.sha256
    with page.expect_download() as card:
        item.get_by_role("link", name="report card").click()
    assert file.sha256 in Path(card.value.path()).read_text("utf-8")
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


def test_a_type_that_needs_an_importance_matrix_makes_one_from_the_runs_rows(
    open_page: OpenPage, studio: Studio, chat_file: Path
) -> None:
    run = finished_run(studio.workspace, chat_file)
    page = open_page(f"?tab=export&run={run.id}")
    row = page.locator(".export-table tbody tr").filter(has_text="Q4_0")
    page.get_by_role("button", name="Show 22 more types").click()
    before = row.locator("td").first.text_content()
    page.get_by_label("Importance matrix").check()
    # Of six layers none is early enough for another format: the size is asked anew and stays.
    expect(row.locator("td").first).to_have_text(before)
    expect(page.get_by_label("Q8_0", exact=True)).to_be_checked()
    page.get_by_label("Q8_0", exact=True).uncheck()
    page.get_by_label("IQ2_M", exact=True).check()
    page.get_by_label("Measure quality and answers").uncheck()
    n_before = len(list_exports(Workspace(studio.workspace), run.id))
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator(".export-item")).to_have_count(n_before + 1)
    item = page.locator(".export-item").first
    expect(item.locator(".state")).to_contain_text("Finished", timeout=300_000)
    expect(item.locator(".export-file .s-tag")).to_have_text(["✓ checks passed"])
    expect(item.locator(".export-check")).to_contain_text(
        [re.compile("importance matrix.*training rows weighed")]
    )
    expect(item.locator(".q-table")).to_have_count(0)


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


def run_on_another_family(workspace: Path, model_folder: Path, tmp_path: Path) -> str:
    """A finished run's folder whose base the studio's own converter does not know; its id."""
    base = tmp_path / "other"
    shutil.copytree(model_folder, base)
    config = json.loads((base / "config.json").read_text("utf-8"))
    config["architectures"] = ["OtherForCausalLM"]
    (base / "config.json").write_text(json.dumps(config), "utf-8")
    config = to_dict(RunConfig(model=str(base)))
    run = create_job(Workspace(workspace), "train", "other family", config)
    adapter = run.folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    events = EventWriter(run.events_path)
    events.write("finished")
    events.close()
    return run.id


def test_an_own_llama_cpp_folder_opens_another_family(
    open_page: OpenPage, studio: Studio, model_folder: Path, tmp_path: Path
) -> None:
    run = run_on_another_family(studio.workspace, model_folder, tmp_path)
    page = open_page(f"?tab=export&run={run}&model={tmp_path / 'other'}")
    problem = page.locator("#export-problem")
    expect(problem).to_contain_text("OtherForCausalLM is not a family")
    expect(page.locator("#export-start")).to_be_disabled()
    page.get_by_role("button", name="Another family: your own llama.cpp folder").click()
    field = page.locator("#export-llama-cpp-folder textarea")
    keep = page.locator("#export-llama-cpp-keep")
    expect(field).to_be_visible()
    field.fill(str(tmp_path))
    page.keyboard.press("Tab")
    keep.click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("is not a llama.cpp folder")
    (tmp_path / "convert_hf_to_gguf.py").write_text("")
    keep.click()
    expect(problem).to_be_hidden()
    expect(page.locator("#export-start")).to_be_enabled()
    expect(page.locator("#export-types")).to_contain_text("Your llama.cpp folder converts this")
    expect(page.locator(".export-table tbody tr")).to_have_count(30)
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#model-facts")).to_contain_text(
        "exported to GGUF by your llama.cpp folder"
    )
    page.get_by_role("tab", name="Export").click()
    field.fill("")
    page.keyboard.press("Tab")
    keep.click()
    expect(problem).to_be_visible()
