"""Choosing on the Train tab: kinds and methods with their own controls, runs made from runs."""

from playwright.sync_api import Page, expect

from studio.jobs.job import find_job
from studio.jobs.process import wait_until_ended
from studio.paths import Workspace
from studio.training.config import read_config
from tests.browser.conftest import OpenPage, Studio


def choose(page: Page, knob: str, label: str) -> None:
    page.locator(f"#knob-{knob} input").click()
    page.get_by_role("option", name=label).first.click()


def plan(page: Page, name: str, value: str) -> None:
    expect(page.locator(f"#plan dt:text-is('{name}') + dd")).to_have_text(value)


def test_a_kind_shows_its_own_controls_and_keeps_what_was_typed_also_over_a_reload(
    open_page: OpenPage,
) -> None:
    page = open_page("?tab=train&dataset=sample:pig-latin")
    rank, tokens = page.locator("#knob-r input"), page.locator("#knob-n_virtual_tokens input")
    expect(page.locator("#settings-source")).to_contain_text("suit this sample")
    expect(tokens).to_be_hidden()
    rank.fill("8")
    choose(page, "kind", "Prefix tuning")
    expect(rank).to_be_hidden()
    expect(page.locator("#target-modules")).to_be_hidden()
    expect(page.locator("#about-kind")).to_contain_text("not exportable to GGUF")
    plan(page, "GGUF export", "not possible")
    page.get_by_role("button", name="More about the adapter").click()
    tokens.fill("4")
    # 4 tokens, 6 layers, keys and values of width 256.
    plan(page, "Trainable parameters", f"{4 * 6 * 2 * 256:,}")
    page.reload()
    expect(page.locator("#settings-source")).to_contain_text("As you left them")
    plan(page, "Trainable parameters", f"{4 * 6 * 2 * 256:,}")
    choose(page, "kind", "LoRA")
    expect(rank).to_have_value("8")
    plan(page, "GGUF export", "possible")


def test_methods_say_what_they_need_and_show_their_own_settings(open_page: OpenPage) -> None:
    page = open_page("?tab=train&dataset=sample:pig-latin")
    expect(page.locator("#preference-card")).to_be_hidden()
    choose(page, "method", "Preferences (DPO)")
    expect(page.locator("#about-method")).to_contain_text("chosen and a rejected answer in each")
    expect(page.locator("#preference-card")).to_be_visible()
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_text("All methods, and what each needs").click()
    expect(page.locator("#about-method")).to_contain_text("There is no PPO")
    choose(page, "method", "Answers (SFT)")
    expect(page.locator("#preference-card")).to_be_hidden()
    expect(page.locator("#start")).to_be_enabled()


def test_a_preference_run_draws_its_margins_and_gives_its_settings_to_the_next(
    open_page: OpenPage, studio: Studio
) -> None:
    page = open_page("?tab=train&dataset=sample:preferences")
    expect(page.locator("#knob-preference-beta input")).to_have_value("0.5")
    page.locator("#knob-max_steps input").fill("4")
    page.locator("#run-name textarea, #run-name input").first.fill("first pairs")
    plan(page, "Optimizer steps", "4")
    page.locator("#start").click()
    expect(page.locator("#run-head h2")).to_have_text("first pairs")
    workspace = Workspace(studio.workspace)
    job = find_job(workspace, "first pairs", "train")
    assert wait_until_ended(job, 400) == "finished"
    titles = (
        "document.querySelector('#run-chart .js-plotly-plot').layout.annotations.map(a=>a.text)"
    )
    page.wait_for_function(f"{titles}.includes('Reward margin')")
    margins = "document.querySelector('#run-chart .js-plotly-plot').data[8]"
    assert page.evaluate(f"{margins}.x") == [1, 2, 3, 4]
    expect(page.locator("[data-part=metrics]")).to_contain_text("The right way round")
    expect(page.locator("[data-part=best-legend]")).to_be_visible()
    page.get_by_role("button", name="All figures").click()
    page.wait_for_function(f"{titles}.includes('Log-probability of good answers')")

    page.get_by_role("button", name="Duplicate").click()
    expect(page.locator("#settings-source")).to_contain_text("The settings of the run first pairs")
    page.locator("#run-name textarea, #run-name input").first.fill("again")
    plan(page, "Optimizer steps", "4")
    expect(page.locator("#start")).to_be_enabled()
    page.locator("#start").click()
    expect(page.locator("#run-head h2")).to_have_text("again")
    again = find_job(workspace, "again", "train")
    one, other = (read_config(each.config(), "") for each in (job, again))
    assert vars(one) | {"name": ""} == vars(other) | {"name": ""}
    assert wait_until_ended(again, 400) == "finished"

    page.get_by_role("button", name="Train further").click()
    expect(page.locator("#start-from input")).to_have_value("again, as it ended")
    expect(page.locator("#knob-r")).to_be_hidden()
    page.locator("#run-name textarea, #run-name input").first.fill("further")
    page.locator("#start").click()
    expect(page.locator("#run-head")).to_contain_text("goes on from again, step 4")
    further = find_job(workspace, "further", "train")
    assert further.config()["start_adapter"] == f"{again.id}@4"
    assert wait_until_ended(further, 400) == "finished"
