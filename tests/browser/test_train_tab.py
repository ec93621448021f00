"""The Train tab: counts that follow the settings, problems instead of a failing start."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.jobs.job import find_job
from studio.jobs.process import wait_until_ended
from studio.paths import Workspace
from tests.browser.conftest import OpenPage, Studio, open_studio


@pytest.fixture
def page(open_page: OpenPage, model_folder: Path, chat_file: Path) -> Page:
    """The Train tab with 30 conversations (28 to train on) and the tiny model."""
    opened = open_page(f"?model={quote(str(model_folder))}")
    opened.set_input_files("#bring-files input[type=file]", chat_file)
    expect(opened.locator(".s-project")).to_have_text("chat")
    opened.get_by_role("tab", name="Train").click()
    expect(opened.locator("#plan")).to_contain_text("Optimizer steps")
    return opened


def _set(page: Page, knob: str, value: str) -> None:
    page.locator(f"#knob-{knob} input").fill(value)
    page.keyboard.press("Tab")


def _plan(page: Page, name: str) -> Locator:
    return page.locator(f"#plan dt:text-is('{name}') + dd")


def test_the_models_facts_are_read_from_its_folder(page: Page) -> None:
    facts = page.locator("#model-facts")
    expect(facts).to_contain_text("512 tokens")
    expect(facts).to_contain_text("apache-2.0")
    expect(facts).to_contain_text("can be exported to GGUF")


def test_trainable_parameters_follow_rank_and_target_modules(page: Page) -> None:
    # Each of q, k, v, o: r (32 + 32); gate, up, down: r (32 + 64). With r = 16: 8,704.
    expect(_plan(page, "Trainable parameters")).to_have_text("8,704")
    _set(page, "r", "8")
    expect(_plan(page, "Trainable parameters")).to_have_text("4,352")
    page.locator("#target-modules").get_by_label("down_proj").uncheck()
    expect(_plan(page, "Trainable parameters")).to_have_text("3,584")


def test_alpha_follows_the_rank_until_it_is_typed(page: Page) -> None:
    _set(page, "r", "8")
    expect(page.locator("#knob-lora_alpha input")).to_have_value("16")
    _set(page, "lora_alpha", "8")
    expect(page.get_by_label("Keep strength at twice the rank")).not_to_be_checked()
    expect(_plan(page, "Scaling (α/r)")).to_have_text("1")
    _set(page, "r", "4")
    expect(_plan(page, "Scaling (α/r)")).to_have_text("2")
    expect(page.locator("#knob-lora_alpha input")).to_have_value("8")


def test_the_maximum_length_fits_the_context_of_the_chosen_model(page: Page) -> None:
    expect(page.locator("#knob-max_length input")).to_have_value("512")


def test_problems_are_listed_with_their_fixes_and_start_waits_for_them(page: Page) -> None:
    problems, start = page.locator("#problems"), page.locator("#start")
    _set(page, "max_length", "600")
    expect(problems).to_contain_text("Maximum length 600 is more than the model's context of 512")
    expect(problems).to_contain_text("Set Maximum length to 512 or less.")
    expect(start).to_be_disabled()
    _set(page, "max_length", "128")
    _set(page, "learning_rate", "")
    expect(problems).to_contain_text("Learning rate is empty.")
    _set(page, "learning_rate", "0.001")
    expect(problems).to_contain_text("No problems found.")
    expect(start).to_be_enabled()


def test_steps_and_effective_batch_are_counted(page: Page) -> None:
    expect(_plan(page, "Rows to train on")).to_have_text("28")
    expect(_plan(page, "Optimizer steps")).to_have_text("7")
    _set(page, "per_device_train_batch_size", "7")
    expect(_plan(page, "Effective batch")).to_have_text("7 conversations")
    expect(_plan(page, "Optimizer steps")).to_have_text("4")


def test_start_makes_a_run_of_exactly_what_is_on_screen_and_opens_it(
    page: Page, studio: Studio
) -> None:
    _set(page, "max_length", "128")
    _set(page, "max_steps", "3")
    _set(page, "r", "4")
    page.get_by_label("Name of the run").fill("first try")
    page.locator("#target-modules").get_by_label("k_proj").uncheck()
    expect(page.locator("#problems")).to_contain_text("Ready.")
    expect(_plan(page, "Trainable parameters")).to_have_text("1,920")
    page.locator("#start").click()
    expect(page.get_by_role("tab", name="Runs")).to_have_attribute("aria-selected", "true")
    job = find_job(Workspace(studio.workspace), "first try", "train")
    page.wait_for_function("id => location.search.includes(`run=${id}`)", arg=job.id)
    config = job.config()
    assert config["adapter"]["r"] == 4
    assert config["adapter"]["lora_alpha"] == 8
    assert sorted(config["adapter"]["target_modules"]) == [
        *("down_proj", "gate_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
    ]
    assert (config["training"]["max_steps"], config["training"]["max_length"]) == (3, 128)
    assert config["dataset"]["layout"] == "messages"
    assert json.dumps(config["dataset"]["sha256"]) != "[]"
    assert wait_until_ended(job, 300) == "finished"
    expect(page.locator(".s-pill")).to_contain_text("Finished")


def test_a_sample_brings_the_settings_that_suit_it(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("button", name="Pig latin", exact=True).click()
    expect(page.locator(".s-project")).to_have_text("Pig latin")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#settings-source")).to_contain_text("suit this sample")
    expect(page.locator("#knob-learning_rate input")).to_have_value("0.0015")
    expect(page.locator("#problems")).to_contain_text("Ready.")
    page.get_by_role("button", name="Back to the defaults").click()
    expect(page.locator("#knob-learning_rate input")).to_have_value("0.0002")


def test_a_first_visit_is_one_click_from_a_ready_start(open_page: OpenPage, tmp_path: Path) -> None:
    empty = open_studio(tmp_path / "workspace")
    page = open_page(studio=empty)
    page.get_by_role("button", name="Take me there").click()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#plan")).to_contain_text("Pig latin")
    expect(page.locator("#start")).to_be_enabled()
    page.close()
    assert empty.stop() == 0


def test_a_sweep_tries_its_values_and_shows_the_best_on_the_runs_tab(page: Page) -> None:
    _set(page, "max_steps", "2")
    page.get_by_role("button", name="Try several values (sweep)").click()
    page.locator("#sweep-values-1 textarea").fill("1e-3")
    page.keyboard.press("Tab")
    page.locator("#sweep-start").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("Learning rate: '1e-3' is fewer than two values")
    page.locator("#sweep-values-1 textarea").fill("1e-4, 1e-2")
    page.locator("#sweep-values-2 textarea").fill("4, 8")
    page.locator("#sweep-max_runs input").fill("2")
    page.locator("#sweep-method").get_by_label("Grid").check()
    page.locator("#sweep-start").click()
    sweep = page.locator("#sweeps")
    expect(sweep.locator(".state")).to_contain_text("Finished", timeout=180_000)
    expect(sweep.locator(".sweep-head")).to_contain_text("2 of at most 2 runs. Best: learning rate")
    expect(sweep.locator("tbody tr")).to_have_count(2)
    expect(sweep.locator("tbody tr.chosen")).to_have_count(1)
    expect(sweep.locator(".sweep-plot svg").first).to_be_visible()
    sweep.get_by_title("Show this run above").first.click()
    expect(page.locator("#run-head")).to_contain_text("1: learning rate 0.0001, r 4")
    sweep.get_by_role("button", name="Delete this sweep").click()
    sweep.get_by_role("button", name="Yes, delete it").click()
    expect(sweep).to_be_empty()
    expect(
        page.locator("#run-history tbody tr", has_text="learning rate 0.0001, r 4")
    ).to_be_visible()


def test_what_is_typed_the_moment_a_fold_opens_counts(page: Page) -> None:
    page.evaluate(
        """() => {
          document.querySelector('#sweep-fold .s-fold-title').click();
          const field = document.querySelector('#sweep-values-1 textarea');
          field.value = '1e-3';
          field.dispatchEvent(new InputEvent('input', { bubbles: true }));
        }"""
    )
    page.locator("#sweep-start").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("Learning rate: '1e-3' is fewer than two values")


def test_a_preset_fills_the_form_and_says_what_it_changed(page: Page) -> None:
    page.locator("#preset input").click()
    page.get_by_role("option", name="Low memory").click()
    expect(page.locator("#knob-gradient_accumulation_steps input")).to_have_value("16")
    changed = page.locator("#settings-source .changes")
    expect(changed).to_contain_text("Batch size 4 → 1")
    expect(changed).to_contain_text("Adapter rank (r) 16 → 8")
    expect(_plan(page, "Effective batch")).to_have_text("16 conversations")
    # The chooser is free for the next one, and a reload shows the form as it was left.
    expect(page.locator("#preset input")).to_have_value("")
    page.reload()
    expect(page.locator("#knob-gradient_accumulation_steps input")).to_have_value("16")


def test_memory_is_told_by_its_parts_and_the_time_is_measured(page: Page) -> None:
    memory = page.locator("#plan .memory")
    expect(memory).to_contain_text("RAM at the peak, about")
    expect(memory.locator(".memory-parts li")).to_have_count(7)
    expect(page.locator("#fit")).to_be_hidden()
    expect(_plan(page, "Time, about")).to_have_text("not measured yet")
    page.locator("#measure").click()
    expect(page.locator("#measure")).to_be_disabled()
    expect(_plan(page, "Time, about")).to_contain_text("s a step")
    expect(page.locator("#measure")).to_be_enabled()
    # Other settings have not been measured; these still are after a reload.
    _set(page, "r", "8")
    expect(_plan(page, "Time, about")).to_have_text("not measured yet")
    _set(page, "r", "16")
    expect(_plan(page, "Time, about")).to_contain_text("s a step")


def test_what_does_not_fit_is_fitted_and_every_change_is_told(
    page: Page, seven_billion: Path
) -> None:
    page.locator("#model-chooser input").fill(str(seven_billion))
    page.keyboard.press("Enter")
    expect(page.locator("#model-facts")).to_contain_text("6.74 B")
    # Activations of two million tokens at once: far more than any computer has.
    _set(page, "per_device_train_batch_size", "4096")
    page.get_by_role("button", name="More about training").click()
    _set(page, "max_tokens_per_pass", "10000000")
    expect(page.locator("#plan .memory.bad")).to_contain_text("does not fit")
    expect(page.locator("#problems")).to_contain_text("At its peak the run takes about")
    page.locator("#fit").click()
    changed = page.locator("#settings-source")
    expect(changed).to_contain_text("Fitted:")
    expect(changed).to_contain_text("The same learning in smaller passes.")
    expect(page.locator("#plan .memory")).to_contain_text("fits")
    expect(page.locator("#fit")).to_be_hidden()
    expect(_plan(page, "Effective batch")).to_have_text("4,096 conversations")


def test_a_rate_is_found_by_rising_ones_and_used(page: Page) -> None:
    page.get_by_role("button", name="Find a learning rate").click()
    page.locator("#rate-start").click()
    expect(page.locator("#rate-start")).to_be_disabled()
    expect(page.locator("#rate-words")).to_contain_text("The smoothed loss was lowest")
    expect(page.locator("#rate-plot .js-plotly-plot")).to_be_visible()
    use = page.locator("#rate-use")
    rate = use.inner_text().removeprefix("Use ")
    use.click()
    expect(page.locator("#knob-learning_rate input")).to_have_value(rate)
    # It is known for whatever rate is set, after a reload, too.
    page.reload()
    expect(_plan(page, "Optimizer steps")).to_be_visible()
    page.get_by_role("button", name="Find a learning rate").click()
    expect(page.locator("#rate-words")).to_contain_text(rate)
    expect(page.locator("#rate-plot .js-plotly-plot")).to_be_visible()
    # It says nothing of other settings.
    rank = page.locator("#knob-r input[type=number]")
    was = rank.input_value()
    rank.fill("4")
    expect(use).to_be_hidden()
    expect(page.locator("#rate-plot .js-plotly-plot")).to_have_count(0)
    expect(page.locator("#rate-words")).to_be_empty()
    rank.fill(was)
    expect(page.locator("#rate-words")).to_contain_text(rate)
    expect(page.locator("#rate-plot .js-plotly-plot")).to_be_visible()
