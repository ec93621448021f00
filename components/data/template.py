"""The chat template's card: choose one, or write one and see at once what a row becomes under it.

Drawn by assets/js/template.js, which asks `look` while a person types. Only Save, or another
choice of the list, changes the recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.keep import keep
from components.data.open import Opener
from components.handlers import answer_errors, show_errors
from components.page import Page, heading, live
from studio.data.messages import JsonObjects, PlainText, Sample, messages_of
from studio.errors import StudioError, TemplateError
from studio.models.reference import ModelRef
from studio.text.agreement import disagreement
from studio.text.choice import template_choices
from studio.text.examples import Encoder, encoder_for
from studio.text.gallery import GALLERY
from studio.text.preview import TokenPiece, preview
from studio.text.template import template_problem
from studio.text.tokenizer import TextTokenizer, load_tokenizer

OWN = " own"
_MODELS = ""
_SHOWN_CHARACTERS = 12_000
_TITLES = {"chatml": "ChatML", "deepseek": "DeepSeek"}
Run = list[str]


def build_template(page: Page, opener: Opener) -> gr.HTML:
    """The card; give it {"dataset", "version", "model", "max_length"} to show that dataset's."""
    with gr.Column(elem_classes="s-card", elem_id="template-card"):
        heading("Chat template", "How messages become the text that the model reads")
        card = live(
            "template",
            "template-editor",
            {"dataset": ""},
            parts=("elements", "jinja_editor"),
            server_functions=[template_reader(opener)],
        )

    @show_errors
    def choose(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        wanted = str(event.template)
        check_template(wanted)
        return keep(
            page.workspace, dataset, version, lambda recipe: replace(recipe, chat_template=wanted)
        )

    card.submit(
        choose, [page.dataset, page.recipe], [page.dataset, page.recipe], show_progress="hidden"
    )
    return card


def check_template(wanted: str) -> None:
    """Raises: TemplateError for own source that no recipe should hold."""
    if not wanted or wanted in GALLERY:
        return
    problem = template_problem(wanted)
    if problem is None and ("{{" in wanted or "{%" in wanted):
        return
    line, message = problem or (1, "it writes no message: {{ … }} is missing.")
    raise TemplateError(
        f"The chat template is not kept, line {line}: {message}",
        "Correct this line, then save it again.",
        "template_syntax",
    )


def template_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `look`: {dataset, model, index, template} → the row under a template.

    `template` is what a recipe's `chat_template` may be, or None for the one that is kept.
    """

    @answer_errors
    def look(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        folder = ModelRef.parse(str(asked["model"])).folder()
        tokenizer = load_tokenizer(folder)
        recipe = opened.dataset.recipe
        given = asked.get("template")
        wanted = recipe.chat_template if given is None else str(given)
        edited = opened.dataset.edited
        index = min(max(int(asked.get("index") or 0), 0), max(edited.n_total - 1, 0))
        shown: dict[str, Any] = {
            "kept": recipe.chat_template,
            "template": wanted,
            "choices": choices(tokenizer),
            "index": index,
            "n_rows": edited.n_total,
            "source": GALLERY[wanted].source if wanted in GALLERY else wanted,
            "reason": "",
            "wrong": wrong_line(wanted),
            "problem": None,
            "note": "",
            "runs": [],
            "prompt": "",
        }
        try:
            encoder = encoder_for(folder, replace(recipe, chat_template=wanted), 2**31)
            shown |= {"source": encoder.template.source, "reason": reason(encoder, wanted)}
            sample = opened.dataset.sample(index)
        except StudioError as error:
            if not shown["wrong"]:
                shown["problem"] = {"message": error.message, "fix": error.fix}
            return shown
        return shown if shown["wrong"] else shown | under_template(encoder, sample)

    return look


def wrong_line(wanted: str) -> dict[str, Any] | None:
    """What is wrong with how own source is written; None where nothing is."""
    try:
        check_template(wanted)
    except TemplateError:
        line, message = template_problem(wanted) or (1, "it writes no message: {{ … }} is missing.")
        fix = "Correct this line; a template that is not valid is not kept."
        return {"line": line, "message": message, "fix": fix, "syntax": True}
    return None


def reason(encoder: Encoder, wanted: str) -> str:
    """Where the template comes from, in a sentence."""
    origin = encoder.template_origin
    if wanted == _MODELS and "the model's own" not in origin:
        return f"This model brings no chat template. Proposed: {origin}."
    return f"In use: {origin}."


def choices(tokenizer: TextTokenizer) -> list[dict[str, Any]]:
    """What may be chosen: the model's own, the gallery, one's own; each with what it is for."""
    fitting = set(template_choices(tokenizer))
    gallery = [
        {
            "name": name,
            "title": title_of(name),
            "about": template.about + ("" if name in fitting else _lacking(tokenizer, name)),
            "fits": name in fitting,
        }
        for name, template in GALLERY.items()
    ]
    own = {
        "name": _MODELS,
        "title": "The model's own",
        "about": "The one that the model was made with; best unless you know better.",
        "fits": True,
    }
    mine = {
        "name": OWN,
        "title": "My own",
        "about": "Written here, kept in the recipe, saved with the adapter and the exported file.",
        "fits": True,
    }
    return [own, *gallery, mine]


def _lacking(tokenizer: TextTokenizer, name: str) -> str:
    missing = [token for token in GALLERY[name].needs if tokenizer.id_of(token) is None]
    return f" Not for this model: it has no {missing[0] if missing else 'end token'}."


def title_of(name: str) -> str:
    """A gallery name as people write it: "llama-3" → "Llama 3"."""
    return _TITLES.get(name, name.replace("-", " ").capitalize())


def under_template(encoder: Encoder, sample: Sample) -> dict[str, Any]:
    """The sample's text with the trained parts, and the generation prompt; or what is wrong."""
    if isinstance(sample, PlainText):
        return {"note": "Plain text needs no chat template: every token of it is trained on."}
    try:
        row = preview(sample, encoder)
    except TemplateError as error:
        return _refused(encoder, sample, error)
    runs, n_left = marked_runs(row.tokens, _SHOWN_CHARACTERS)
    shown = {
        "runs": runs,
        "n_left": n_left,
        "n_tokens": len(row.input_ids),
        "n_trained": row.n_trained,
        "differs": differs(encoder, sample),
    }
    try:
        return {**shown, "prompt": generation_prompt(encoder, sample)}
    except TemplateError as error:
        return {**shown, "problem": {"message": error.message, "fix": error.fix}}


def _refused(encoder: Encoder, sample: Sample, error: TemplateError) -> dict[str, Any]:
    found = template_problem(
        encoder.template.source,
        messages_of(sample),
        special_tokens=encoder.tokenizer.special_tokens,
        tools=_tools(sample),
    )
    if found is None:
        problem = {"message": error.message, "fix": error.fix}
        return {"problem": problem, "differs": differs(encoder, sample)}
    line, message = found
    return {"wrong": {"line": line, "message": message, "fix": error.fix, "syntax": False}}


def differs(encoder: Encoder, sample: Sample) -> dict[str, str] | None:
    """Where chat would ask in other words than training taught; None where they agree."""
    try:
        found = disagreement(encoder, sample)
    except TemplateError:
        return None
    if found is None:
        return None
    return {
        "message": f"Chat asks for the answer in turn {found.turn} with other text than training "
        "teaches.",
        "fix": "Let the generation prompt write exactly what stands before an answer.",
        "asked": found.asked,
        "trained": found.trained,
    }


def _tools(sample: Sample) -> JsonObjects:
    return () if isinstance(sample, PlainText) else sample.tools


def generation_prompt(encoder: Encoder, sample: Sample) -> str:
    """What the template adds where the assistant is to speak, after the row's last question."""
    messages = list(messages_of(sample))
    while messages and messages[-1].role == "assistant":
        messages.pop()
    if not messages:
        return ""
    tools = _tools(sample)
    with_prompt, without = (
        encoder.template.render(
            messages, asks, tools=tools, special_tokens=encoder.tokenizer.special_tokens
        ).text
        for asks in (True, False)
    )
    return with_prompt.removeprefix(without) or "(nothing: the template writes no prompt)"


def marked_runs(pieces: Sequence[TokenPiece], n_characters: int) -> tuple[list[Run], int]:
    """([text, marks] of neighbours of one kind, characters left out) of the first tokens.

    Marks: "t" trained on, "s" a control token.
    """
    runs: list[Run] = []
    shown = left = 0
    for piece in pieces:
        if shown >= n_characters:
            left += len(piece.text)
            continue
        kind = "t" * piece.trained + "s" * piece.special
        if runs and runs[-1][1] == kind and not piece.special:
            runs[-1][0] += piece.text
        else:
            runs.append([piece.text, kind])
        shown += len(piece.text)
    return runs, left
