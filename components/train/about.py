"""The lines under the choosers of method and kind: what it is for, and what stands in the way."""

from collections.abc import Sequence
from html import escape

from components.forms import choice_label
from studio.training.kinds import ABOUT
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
    items = [(method.label, method.when, _needs(name, layout)) for name, method in METHODS.items()]
    return (
        f'<p class="s-note s-when">{escape(METHODS[chosen].when)}</p>{_lacking(chosen, layout)}'
        f"{_fold('All methods, and what each needs', [*items, ('PPO', NO_PPO, '')])}"
    )


def _needs(name: str, layout: str) -> str:
    return "" if fits(name, layout) else f"Not for this dataset. {METHODS[name].missing}"


def kind_html(chosen: str) -> str:
    """When to take the chosen kind, whether its result can be exported, a fold with all kinds.

    "" where the kind is that of what the run starts from.
    """
    if not chosen:
        return '<p class="s-note s-when">Its kind and size stay as they are.</p>'
    kind = ABOUT[chosen]
    tag = ' <span class="s-tag bad">not exportable to GGUF</span>' if not kind.exportable else ""
    items = [
        (other.label, other.when, "" if other.exportable else "Not exportable to GGUF.")
        for other in ABOUT.values()
    ]
    return (
        f'<p class="s-note s-when">{escape(kind.when)}{tag}</p>'
        f"{_fold('All kinds, and when each is worth it', items)}"
    )


def _fold(title: str, items: Sequence[tuple[str, str, str]]) -> str:
    """Label, advice and what stands in the way, of everything that can be chosen."""
    shown = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(when)}"
        f"{f' <b>{escape(against)}</b>' if against else ''}</dd></div>"
        for label, when, against in items
    )
    return (
        f'<details class="s-more"><summary>{escape(title)}</summary>'
        f'<dl class="s-about">{shown}</dl></details>'
    )


def _lacking(chosen: str, layout: str) -> str:
    if fits(chosen, layout):
        return ""
    return (
        f'<p class="s-finding bad"><b>Not for this dataset.</b> {escape(METHODS[chosen].missing)} '
        f"The rows here are read as {escape(choice_label(layout))}.</p>"
    )
