"""What every tab shares: the workspace, the ids of what is chosen, the tabs, and page assets.

Tabs never import tabs. One tab writes an id, the others listen to its `change`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import gradio as gr

from studio.paths import ASSETS_DIR, Workspace


@dataclass(frozen=True)
class Page:
    """Handed to every `build_<tab>(page)`.

    `dataset` and `run` hold an id ("" where nothing is chosen), `model` what ModelRef.parse takes;
    these three survive a reload through the address. `recipe` is a number that rises when the
    dataset's reading is changed, `max_length` the cut in tokens that Train is set to, `duplicate`
    what Train shall take its settings from: {"run", "at"}, and "start" where the new run goes on
    from an adapter; `at` is a time, so that asking twice is heard twice. `llama_cpp` changes when
    another llama.cpp folder is kept; the workspace knows which. `tabs` is for going somewhere:
    return `page.go_to("runs")` for it.

    Gradio tells a State's listeners only of changes that came through the queue: an event that
    sets one of these must not have queue=False.
    """

    workspace: Workspace
    tabs: gr.Tabs
    dataset: gr.State
    run: gr.State
    model: gr.State
    recipe: gr.State
    max_length: gr.State
    duplicate: gr.State
    llama_cpp: gr.State

    @staticmethod
    def go_to(tab: str) -> object:
        """The update of `tabs` that opens the tab with this id."""
        return gr.Tabs(selected=tab)


def script(name: str) -> str:
    """The text of assets/js/NAME.js: the body of a `gr.HTML`'s js_on_load.

    In its scope: element, props, trigger, watch, server, upload.
    """
    return (ASSETS_DIR / "js" / f"{name}.js").read_text(encoding="utf-8")


def live(
    name: str,
    elem_id: str | None,
    value: object = None,
    parts: Sequence[str] = (),
    **options: object,
) -> gr.HTML:
    """A part of the page drawn by assets/js/NAME.js from `value` (plain JSON values).

    `parts` are scripts that it builds on; all of them share one scope. The template is constant,
    so Gradio never touches what the script has drawn.
    """
    return gr.HTML(
        value=value,
        html_template="",
        js_on_load="\n".join(script(part) for part in (*parts, name)),
        apply_default_css=False,
        elem_id=elem_id,
        **options,
    )


@contextmanager
def fold(title: str, elem_id: str | None = None, *classes: str) -> Iterator[gr.HTML]:
    """What is built inside is hidden behind a button; gives the button, which tells `opened`.

    Not Gradio's accordion: that one mounts its controls when it is opened, and what is typed into
    one in that very moment is lost.
    """
    with gr.Column(elem_id=elem_id, elem_classes=["s-fold", *classes]):
        head = live("fold", f"{elem_id}-title" if elem_id else None, title, ("elements",))
        with gr.Column(elem_classes="s-fold-body"):
            yield head


def static(value: str = "", elem_id: str | None = None, **options: object) -> gr.HTML:
    """A part of the page that is plain HTML made in Python; escape what people wrote."""
    return gr.HTML(
        value=value, js_on_load=None, apply_default_css=False, elem_id=elem_id, **options
    )


def heading(title: str, note: str = "", level: int = 2) -> gr.HTML:
    """A card's title, with a quiet note at its right."""
    note_html = f'<span class="s-note">{escape(note)}</span>' if note else ""
    return static(f'<div class="s-heading"><h{level}>{escape(title)}</h{level}>{note_html}</div>')


def empty_state(title: str, next_step: str) -> str:
    """HTML for an area with nothing in it yet: what it is, and what to do next."""
    return f'<div class="s-empty"><strong>{escape(title)}</strong><p>{escape(next_step)}</p></div>'


def problem_html(message: str, fix: str) -> str:
    """HTML for something in the way, shown in its place: what it is, and the next step."""
    return f'<div class="s-finding bad"><b>{escape(message)}</b><p>{escape(fix)}</p></div>'


def facts_list(pairs: list[tuple[str, str]]) -> str:
    """HTML for short facts: name, value in tabular figures."""
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="s-facts">{rows}</dl>'
