"""Parts of the screen that need no browser: forms from knobs, errors as words."""

from pathlib import Path

import gradio as gr
import pytest

from components.forms import build_form
from components.handlers import Toast, answer_errors, log_to, show_errors
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, DataError
from studio.paths import Workspace
from studio.settings import from_dict, knobs
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

SETTINGS = (AdapterSettings, TrainSettings, DatasetRecipe, RunConfig)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_knob_becomes_a_control_with_its_label_help_and_default(settings: type) -> None:
    with gr.Blocks(analytics_enabled=False):
        form = build_form(settings)
    declared = list(knobs(settings))
    assert list(form.controls) == [item.name for item in declared]
    for item in declared:
        control = form.controls[item.name]
        assert control.label is not None and control.label.startswith(item.label)
        assert control.info == item.help
        assert control.value == item.default


@pytest.mark.parametrize("settings", [AdapterSettings(r=7), TrainSettings(max_steps=9, seed=3)])
def test_settings_survive_the_way_through_the_form(settings: object) -> None:
    with gr.Blocks(analytics_enabled=False):
        form = build_form(type(settings))
    read = form.read(form.values_of(settings))
    assert from_dict(type(settings), read, "the form") == settings


def test_an_emptied_number_is_named() -> None:
    with gr.Blocks(analytics_enabled=False):
        form = build_form(AdapterSettings, only=("r",))
    with pytest.raises(ConfigError, match=r"^Adapter rank \(r\) is empty\. Type a value; 16 is"):
        form.read([None])


def test_a_persons_mistake_is_shown_with_its_fix() -> None:
    @show_errors
    def handler() -> None:
        raise DataError("Row 3 has no <text>.", "Fill it in.")

    with pytest.raises(Toast) as shown:
        handler()
    assert shown.value.message == (
        "<p>Row 3 has no &lt;text&gt;.</p><p><strong>Fill it in.</strong></p>"
    )


def test_an_unexpected_error_is_logged_and_shown_without_its_details(tmp_path: Path) -> None:
    log_to(Workspace(tmp_path))

    @answer_errors
    def handler() -> None:
        raise ZeroDivisionError("secret details")

    shown = handler()
    assert shown == {
        "error": "Something unexpected went wrong (ZeroDivisionError).",
        "fix": "Try again; the details are in studio.log in the workspace folder.",
    }
    log = (tmp_path / "studio.log").read_text("utf-8")
    assert "Traceback" in log
    assert "secret details" in log


def test_a_generator_that_fails_midway_keeps_what_it_gave() -> None:
    @show_errors
    def handler() -> object:
        yield 1
        raise DataError("It stopped.", "Start again.")

    got = []
    with pytest.raises(Toast):
        for value in handler():
            got.append(value)
    assert got == [1]
