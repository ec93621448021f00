"""The lines under the choosers of method and kind: what it is for, and what stands in the way."""

from html import escape

from components.forms import choice_label
from studio.training.methods import METHODS, NO_PPO

_UNFIT = " – not for this dataset"


def method_choices(layout: str) -> list[tuple[str, str]]:
    """Every method by its label; those that cannot take `layout` say so. "" for no dataset."""
    return [
        (method.label + ("" if fits(name, layout) else _UNFIT), name)
        for name, method in METHODS.items()
    ]


def fits(method: str, layout: str) -> bool:
    """Whether the method takes rows of this layout; anything goes while there is no dataset."""
    return not layout or layout in METHODS[method].layouts


def method_html(chosen: str, layout: str) -> str:
    """When to take the chosen method, what it lacks here, and a fold with all the others."""
    items = "".join(_item(name, layout) for name in METHODS)
    return (
        f'<p class="s-note s-when">{escape(METHODS[chosen].when)}</p>{_lacking(chosen, layout)}'
        f"<details class='s-more'><summary>All methods, and what each needs</summary>"
        f'<dl class="s-choices">{items}<div><dt>PPO</dt><dd>{escape(NO_PPO)}</dd></div></dl>'
        "</details>"
    )


def _item(name: str, layout: str) -> str:
    method = METHODS[name]
    needs = "" if fits(name, layout) else f" <b>Not for this dataset.</b> {escape(method.missing)}"
    return f"<div><dt>{escape(method.label)}</dt><dd>{escape(method.when)}{needs}</dd></div>"


def _lacking(chosen: str, layout: str) -> str:
    if fits(chosen, layout):
        return ""
    return (
        f'<p class="s-finding bad"><b>Not for this dataset.</b> {escape(METHODS[chosen].missing)} '
        f"The rows here are read as {escape(choice_label(layout))}.</p>"
    )
