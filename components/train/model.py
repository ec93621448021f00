"""The base model's card: choose one, read its facts, know before any work what it can become."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.model_choices import model_choices
from components.page import Page, facts_list, heading, problem_html, static
from components.wording import size
from studio.errors import StudioError
from studio.models.facts import ModelFacts, read_facts
from studio.models.llama_cpp_folder import kept_folder, problem_with
from studio.models.reference import STARTER, ModelRef

_LICENCE = re.compile(r"^license:\s*[\"']?([\w .+-]+)", re.MULTILINE)
_CARD_BYTES = 4096
_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class ModelCard:
    """The controls that other parts of the tab listen to."""

    chooser: gr.Dropdown
    facts: gr.HTML


def build_model_card(page: Page) -> ModelCard:
    """The card; choosing sets `page.model`."""
    with gr.Column(elem_classes="s-card", elem_id="model-card"):
        heading("Base model", "What the adapter is added to")
        chooser = gr.Dropdown(
            model_choices(page.workspace),
            value=STARTER,
            allow_custom_value=True,
            label="Model",
            info="The bundled starter, a folder as save_pretrained writes it, or a hub id such as "
            "owner/name. Type and press Enter.",
            elem_id="model-chooser",
        )
        facts = static(elem_id="model-facts")
        fetch = gr.Button("Download it from the hub", visible=False, elem_id="model-download")
    _connect(page, ModelCard(chooser, facts), fetch)
    return ModelCard(chooser, facts)


def _connect(page: Page, card: ModelCard, fetch: gr.Button) -> None:
    @show_errors
    def choose(text: str | None) -> str:
        return str(ModelRef.parse(text or STARTER))

    @show_errors
    def show(model: str) -> tuple[object, str, object]:
        chooser = gr.Dropdown(choices=model_choices(page.workspace, model), value=model)
        try:
            folder = ModelRef.parse(model).folder()
            html = facts_html(folder, read_facts(folder), kept_folder(page.workspace))
        except StudioError as error:
            missing = error.code == "hub_unreachable"
            return chooser, _problem_html(model, error, missing), gr.Button(visible=missing)
        return chooser, html, gr.Button(visible=False)

    @show_errors
    def download(model: str) -> None:
        ModelRef.parse(model).folder(download=True)

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    card.chooser.input(choose, card.chooser, page.model, show_progress="hidden")
    outputs = [card.chooser, card.facts, fetch]
    gr.on([page.model.change, page.llama_cpp.change], show, page.model, outputs, **quiet)
    fetch.click(download, page.model, None).success(show, page.model, outputs, **quiet)


def facts_html(folder: Path, facts: ModelFacts, llama_cpp: str = "") -> str:
    """The facts, and whether the result can become a GGUF file; `llama_cpp` is the user's own
    folder, which converts more families."""
    pairs = [
        ("Parameters", short_count(facts.n_parameters)),
        ("Layers", f"{facts.n_layers}"),
        ("Context", f"{facts.context_length:,} tokens" if facts.context_length else "not stated"),
        ("Vocabulary", f"{facts.vocab_size:,}"),
        ("Weights", f"{size(facts.size_bytes)}, {facts.dtype}"),
        ("Family", facts.architecture.removesuffix("ForCausalLM")),
        ("Licence", licence(folder) or "not stated"),
    ]
    problem = problem_with(facts, llama_cpp)
    if problem:
        tag = '<span class="s-tag bad">no GGUF export</span> '
        export = f"{tag}<span>{escape(problem)}</span>"
    elif facts.export_problem:
        export = '<span class="s-tag good">exported to GGUF by your llama.cpp folder</span>'
    else:
        export = '<span class="s-tag good">can be exported to GGUF</span>'
    return f'{facts_list(pairs)}<p class="s-export-line">{export}</p>'


def _problem_html(model: str, error: StudioError, missing: bool) -> str:
    if missing:
        message = f"'{model}' is not on this computer yet."
        fix = "Download it once; after that no network is needed."
    else:
        message, fix = error.message, error.fix
    return problem_html(message, fix)


def licence(folder: Path) -> str:
    """The licence that the model card's front matter names; "" where there is none."""
    try:
        with (folder / "README.md").open("rb") as file:
            head = file.read(_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    front = head.split("---")[1] if head.startswith("---") else ""
    found = _LICENCE.search(front)
    return found.group(1).strip() if found else ""


def short_count(n: int) -> str:
    """4,002,048 → "4.00 M"."""
    for unit, name in _UNITS:
        if n >= unit:
            return f"{n / unit:.3g} {name}"
    return str(n)
