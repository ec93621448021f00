"""Which tokens end an answer: what the model's files say, and what its template writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.data.messages import Message
from studio.errors import TemplateError
from studio.text.template import ChatTemplate
from studio.text.tokenizer import TextTokenizer


def model_eos_ids(folder: Path) -> tuple[int, ...]:
    """End tokens that generation_config.json and config.json name."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if not path.is_file():
            continue
        value: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        found.extend(i for i in (value if isinstance(value, list) else [value]) if i is not None)
    return tuple(dict.fromkeys(int(token_id) for token_id in found))


def stop_ids(
    tokenizer: TextTokenizer, template: ChatTemplate, named: tuple[int, ...]
) -> frozenset[int]:
    """Ids that end an answer: the named ones, EOS, and the control token that the template
    writes right behind an answer (`<|im_end|>`, `<|eot_id|>`)."""
    eos = tokenizer.special_id("eos_token")
    end = _end_of_turn(tokenizer, template)
    return frozenset([*named, *(i for i in (eos, end) if i is not None)])


def _end_of_turn(tokenizer: TextTokenizer, template: ChatTemplate) -> int | None:
    rest = text_after_answer(template, tokenizer.special_tokens)
    ids = tokenizer.encode(rest).ids if rest else []
    first = next((i for i in ids if tokenizer.token(i) not in ("▁", "")), None)
    return first if first in tokenizer.special_ids else None


def text_after_answer(template: ChatTemplate, special_tokens: Mapping[str, str]) -> str:
    """What the template writes behind an answer, without white space in front; "" for nothing."""
    said = "answer-7f3a"
    try:
        text = template.render(
            [Message("user", "question"), Message("assistant", said)],
            special_tokens=special_tokens,
        ).text
    except TemplateError:
        # Some templates insist on a system prompt or tools; then the named tokens must do.
        return ""
    place = text.rfind(said)
    return text[place + len(said) :].lstrip() if place >= 0 else ""
