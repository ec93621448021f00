"""Settings dataclass → controls → dataclass. The knobs say everything; no tab repeats a default.

`build_form` draws one control for each knob; `Form.read` gives a dict of plain values back, which
`studio.settings.from_dict` turns into the settings. A list of all problems is `training.check`'s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import gradio as gr

from studio.errors import ConfigError
from studio.settings import Knob, Level, knobs
from studio.training.kinds import ABOUT
from studio.training.methods import METHODS
from studio.training.trackers import TRACKERS

_RADIO_UP_TO = 3
_SLIDER_STEPS = 100
# Choices whose words cannot be made from their names.
_WORDS = {
    **{name: method.label for name, method in METHODS.items()},
    **{name: kind.label for name, kind in ABOUT.items()},
    "adamw_torch": "AdamW",
    "adamw_8bit": "8-bit AdamW",
    "paged_adamw_8bit": "8-bit AdamW (paged)",
    "paged_adamw_32bit": "AdamW (paged)",
    "lion_32bit": "Lion",
    "lion_8bit": "8-bit Lion",
    "warmup_stable_decay": "Warm-up, stable, decay",
    "auto": "Auto",
    "nf4": "4-bit (NF4)",
    "int8": "8-bit",
    "pissa": "PiSSA",
    "olora": "OLoRA",
    "loftq": "LoftQ",
    "all": "All",
    **{name: tracker.label for name, tracker in TRACKERS.items()},
    "lora_only": "Of the target modules",
}


@dataclass(frozen=True)
class Form:
    """The controls of one settings class, by knob, in the order of declaration."""

    settings: type
    knobs: tuple[Knob, ...]
    controls: dict[str, gr.components.Component]

    @property
    def inputs(self) -> list[gr.components.Component]:
        """For an event's inputs or outputs; `read` and `values_of` keep this order."""
        return list(self.controls.values())

    def read(self, values: Sequence[object], hidden: Collection[str] = ()) -> dict[str, Any]:
        """{knob: plain value}, without the `hidden` ones: what is not on screen is not set.

        Raises: ConfigError where a number's field is empty.
        """
        hints = get_type_hints(self.settings)
        read: dict[str, Any] = {}
        for item, value in zip(self.knobs, values, strict=True):
            if item.name in hidden:
                continue
            if value is None or value == "" and hints[item.name] is not str:
                raise ConfigError(
                    f"{item.label} is empty.",
                    f"Type a value; {item.default} is the default.",
                    "setting_empty",
                )
            read[item.name] = value
        return read

    def values_of(self, settings: object) -> list[Any]:
        """The values that show `settings` in the controls."""
        return [getattr(settings, item.name) for item in self.knobs]

    def part(self, values: Sequence[object], start: int) -> list[object]:
        """This form's share of an event's values, which begin at `start`."""
        return list(values[start : start + len(self.controls)])


def build_form(
    settings: type,
    levels: Sequence[Level] = ("basic", "advanced"),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Form:
    """Draw the knobs of `settings` in the current layout: all, of some levels, or `only` some."""
    hints = get_type_hints(settings)
    chosen = [
        item
        for item in knobs(settings)
        if item.level in levels and (not only or item.name in only) and item.name not in without
    ]
    with gr.Column(elem_classes="s-form"):
        controls = {item.name: control(item, hints[item.name]) for item in chosen}
    return Form(settings, tuple(chosen), controls)


def join(*forms: Form) -> Form:
    """Several forms of one settings class (its basic and its advanced part) as one."""
    controls = {name: control for form in forms for name, control in form.controls.items()}
    return Form(forms[0].settings, tuple(k for form in forms for k in form.knobs), controls)


def control(item: Knob, kind: type) -> gr.components.Component:
    """The control that suits one knob."""
    label = f"{item.label} ({item.unit})" if item.unit else item.label
    common: dict[str, Any] = {
        "value": item.default,
        "label": label,
        "info": item.help,
        "elem_id": f"knob-{item.name}",
        "interactive": True,
    }
    if item.choices:
        choices = [(choice_label(choice), choice) for choice in item.choices]
        if len(choices) <= _RADIO_UP_TO:
            return gr.Radio(choices, **common)
        return gr.Dropdown(choices, **common)
    if kind is bool:
        return gr.Checkbox(**common)
    if kind is int:
        return gr.Number(precision=0, step=item.step or 1, **common)
    if kind is float and _suits_slider(item):
        return gr.Slider(item.min, item.max, step=item.step, **common)
    if kind is float:
        return gr.Number(step=item.step or "any", **common)
    return gr.Textbox(lines=item.lines, **common)


def _suits_slider(item: Knob) -> bool:
    """Whether the whole range can be aimed at by hand: at most a hundred steps."""
    if item.min is None or item.max is None or not item.step:
        return False
    return (item.max - item.min) / item.step <= _SLIDER_STEPS


def choice_label(choice: str) -> str:
    """What a person reads for a choice: "all_answers" → "All answers", "sgd" → "SGD"."""
    if choice in _WORDS:
        return _WORDS[choice]
    if len(choice) <= 3 or any(sign.isdigit() for sign in choice):
        return choice.upper()
    return choice.replace("_", " ").capitalize()
