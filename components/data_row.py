"""One row all the way as HTML: messages, rendered text, tokens with the trained ones marked.

Violet and underlined, with the words "trained on": what the loss is taken from.
"""

import json
from html import escape
from itertools import groupby

from studio.data.messages import Message, Preference, Sample
from studio.text.preview import Preview, TokenPiece

_TOKENS_SHOWN = 1200
_CHARACTERS_SHOWN = 12_000
_VISIBLE = str.maketrans({"\n": "↵\n", "\t": "⇥", " ": "·"})


def row_html(number: int, sample: Sample, row: Preview, train_on: str, origin: str) -> str:
    """The whole inspection of row `number` (from 1)."""
    return "".join(
        (
            f'<p class="s-note">Row {number:,} · chat template: {escape(origin)}</p>',
            _counts(row),
            _section("Messages", _messages(sample, row.messages, train_on)),
            _section("Text the model reads", _text(row)),
            _section("Tokens", _legend() + _tokens(row.tokens)),
        )
    )


def _section(title: str, body: str) -> str:
    return f'<section class="s-section"><h3>{title}</h3>{body}</section>' if body else ""


def _counts(row: Preview) -> str:
    n = len(row.input_ids)
    share = f" ({100 * row.n_trained / n:.0f} %)" if n else ""
    cut = '<span class="s-tag bad">cut at the maximum length</span>' if row.truncated else ""
    return (
        f'<p class="s-counts"><b>{n:,}</b> tokens · <b class="s-violet">{row.n_trained:,}</b> '
        f"trained on{share} {cut}</p>"
    )


def _messages(sample: Sample, messages: list[Message], train_on: str) -> str:
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    trained = set(answers[-1:] if train_on == "last_answer" else answers)
    if train_on == "everything":
        trained = set(range(len(messages)))
    if isinstance(sample, Preference):
        first = len(sample.prompt)
        bubbles = [_bubble(m, i >= first, "better") for i, m in enumerate(messages)]
        bubbles += [_bubble(m, False, "worse") for m in sample.rejected]
    else:
        bubbles = [_bubble(message, i in trained) for i, message in enumerate(messages)]
    return "".join(bubbles)


def _bubble(message: Message, trained: bool, side: str = "") -> str:
    words = [message.role]
    if message.name:
        words.append(message.name)
    if side == "worse" or (side and trained):
        words.append(f"{side} answer")
    if trained:
        words.append("trained on")
    css = "s-bubble trained" if trained else "s-bubble"
    calls = "".join(
        f"<pre>{escape(json.dumps(call, ensure_ascii=False, indent=2))}</pre>"
        for call in message.tool_calls
    )
    thought = f"<p><em>{escape(message.reasoning)}</em></p>" if message.reasoning else ""
    content = f"<div>{escape(_short(message.content))}</div>" if message.content else ""
    return (
        f'<div class="{css}"><span class="s-role">{escape(" · ".join(words))}</span>'
        f"{thought}{content}{calls}</div>"
    )


def _text(row: Preview) -> str:
    """The rendered text, its control tokens in bold violet."""
    marked = "".join(
        f"<b>{escape(piece.text)}</b>" if piece.special else escape(piece.text)
        for piece in row.tokens[:_TOKENS_SHOWN]
    )
    more = _more(len(row.tokens))
    return f'<pre class="s-rendered" tabindex="0">{marked}</pre>{more}'


def _legend() -> str:
    return (
        '<p class="s-legend"><span class="s-token trained">trained on</span> '
        '<span class="s-token">read only</span> <span class="s-token special">control</span> '
        "· is a space, ↵ a line break</p>"
    )


def _tokens(tokens: list[TokenPiece]) -> str:
    runs = []
    for trained, run in groupby(tokens[:_TOKENS_SHOWN], key=lambda piece: piece.trained):
        label = "trained on" if trained else "read only"
        runs.append(f'<span role="group" aria-label="{label}">{"".join(map(_chip, run))}</span>')
    return f'<div class="s-tokens" tabindex="0">{"".join(runs)}</div>{_more(len(tokens))}'


def _chip(piece: TokenPiece) -> str:
    css = "s-token" + " trained" * piece.trained + " special" * piece.special
    shown = escape(piece.text if piece.special else piece.text.translate(_VISIBLE)) or "∅"
    return f'<span class="{css}" title="id {piece.id}">{shown}</span>'


def _more(n_tokens: int) -> str:
    left = n_tokens - _TOKENS_SHOWN
    return f'<p class="s-note">… and {left:,} tokens more.</p>' if left > 0 else ""


def _short(text: str) -> str:
    left = len(text) - _CHARACTERS_SHOWN
    return text if left <= 0 else f"{text[:_CHARACTERS_SHOWN]} … and {left:,} characters more."
