"""Which chat template: the model's own, one of the gallery, or source from the recipe."""

import difflib

from studio.errors import ConfigError, TemplateError
from studio.text.gallery import GALLERY
from studio.text.template import ChatTemplate
from studio.text.tokenizer import TextTokenizer

# Told by tokens, in this order; the others have none of their own.
_PROPOSALS = ("chatml", "llama-3", "gemma", "deepseek", "phi", "mistral")


def choose_template(tokenizer: TextTokenizer, wanted: str) -> ChatTemplate:
    """The template for `wanted`: '' the model's own, a name of the gallery, or Jinja source.

    A model without a template gets the one whose control tokens it knows, else the plain one; the
    origin says so.
    Raises: ConfigError for an unknown name; TemplateError when the model lacks a needed token.
    """
    if "{{" in wanted or "{%" in wanted:
        return ChatTemplate(wanted, "written in the recipe")
    if wanted:
        return _from_gallery(tokenizer, wanted.strip())
    if source := _own(tokenizer):
        return ChatTemplate(source, "the model's own")
    return _proposed(tokenizer)


def _proposed(tokenizer: TextTokenizer) -> ChatTemplate:
    """The template whose control tokens a model without one knows, else the plain one."""
    name = next((name for name in _PROPOSALS if not _missing(tokenizer, name)), "plain")
    known = "".join(f" and knows {token}" for token in GALLERY[name].needs[:1])
    return ChatTemplate(
        GALLERY[name].source, f"'{name}' from the gallery, because the model brings none{known}"
    )


def template_choices(tokenizer: TextTokenizer) -> list[str]:
    """Gallery names that work with this model."""
    return [
        name
        for name, template in GALLERY.items()
        if not _missing(tokenizer, name)
        and ("eos_token" not in template.source or "eos_token" in tokenizer.special_tokens)
    ]


def _own(tokenizer: TextTokenizer) -> str:
    templates = tokenizer.templates
    if templates and "default" not in templates:
        raise TemplateError(
            "The model has chat templates named " + ", ".join(templates) + ", but no default one.",
            "Choose a template under 'Chat template'.",
            "template_no_default",
        )
    return templates.get("default", "")


def _from_gallery(tokenizer: TextTokenizer, name: str) -> ChatTemplate:
    if name not in GALLERY:
        close = difflib.get_close_matches(name, GALLERY, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise ConfigError(
            f"There is no chat template '{name}'.",
            f"{hint}Choose one of {', '.join(GALLERY)}, or leave it empty for the model's own.",
            "unknown_template",
        )
    if missing := _missing(tokenizer, name):
        raise TemplateError(
            f"The template '{name}' needs the token {missing[0]}, which this model does not know.",
            f"Choose one of {', '.join(template_choices(tokenizer))}.",
            "template_tokens",
        )
    return ChatTemplate(GALLERY[name].source, f"'{name}' from the gallery")


def _missing(tokenizer: TextTokenizer, name: str) -> list[str]:
    return [token for token in GALLERY[name].needs if tokenizer.id_of(token) is None]
