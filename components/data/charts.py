"""The charts beside the table: token lengths with the cut, turns, roles, scripts, labels.

Drawn by assets/js/figures.js, which asks `charts`. A bar is a button that filters the table, once
every row was looked at.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from components.data.figures import Figures
from components.data.open import Opener
from components.handlers import answer_errors
from components.page import live
from studio.data.profile import NO_FIGURE, histogram
from studio.text.preview import token_statistics

_BARS = 24
_TURN_BARS = 8
_VALUES_SHOWN = 8
_WORDS = (("role", "Roles"), ("script", "Scripts"), ("label", "Labels"))


def build_charts(opener: Opener) -> gr.HTML:
    """The charts; give them what the table gets."""
    reader = charts_reader(opener)
    return live("figures", "data-charts", {"dataset": ""}, ("elements",), server_functions=[reader])


def charts_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `charts`: {dataset, model, max_length} → charts as plain values."""

    @answer_errors
    def charts(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        model, max_length = str(asked["model"]), int(asked["max_length"])
        figures = opened.figures(model, max_length) or opened.looked_at(model, max_length)
        return {
            "charts": [
                lengths_chart(figures, max_length),
                turns_chart(figures),
                *(words_chart(figures, name, title) for name, title in _WORDS),
            ],
            "n_rows": len(opened.dataset),
            "n_looked_at": len(figures.profile),
            "complete": figures.complete,
        }

    return charts


def lengths_chart(figures: Figures, max_length: int) -> dict[str, Any]:
    """Token lengths in bars of one width; `cut` is where, of the chart's width, the cut lies."""
    bars = histogram(figures.profile.n_tokens, _BARS)
    chart: dict[str, Any] = {"name": "tokens", "title": "Token lengths", "bars": [], "facts": []}
    if not bars:
        return chart
    lengths = figures.profile.n_tokens
    s = token_statistics(lengths[lengths != NO_FIGURE].tolist(), max_length)
    return {
        **chart,
        "bars": [
            {
                "label": f"{bar.low:,} to {bar.high:,} tokens",
                "n": bar.n_rows,
                "value": [bar.low, bar.high],
                "beyond": bar.low >= max_length,
            }
            for bar in bars
        ],
        "cut": max_length / (bars[-1].high + 1) if max_length <= s.max else None,
        "end": f"{bars[-1].high:,}",
        "more": _without(int(np.count_nonzero(lengths == NO_FIGURE))),
        "facts": [
            ["Half are below", f"{s.p50:,}"],
            ["95 % are below", f"{s.p95:,}"],
            ["Longest", f"{s.max:,}"],
            [f"Cut at {max_length:,}", f"{s.n_truncated:,} of {s.n_rows:,}"],
        ],
    }


def turns_chart(figures: Figures) -> dict[str, Any]:
    """Rows by their number of turns: each number, or ranges where there are many."""
    turns = figures.profile.n_turns
    bars: list[dict[str, Any]] = []
    numbers = np.unique(turns[turns > 0])
    if len(numbers) <= _TURN_BARS:
        ranges = [(n, n) for n in numbers.tolist()]
    else:
        ranges = [(max(bar.low, 1), bar.high) for bar in histogram(turns, _TURN_BARS)]
    for low, high in ranges:
        n = int(np.count_nonzero((turns >= low) & (turns <= high)))
        label = f"{low:,}" if low == high else f"{low:,}–{high:,}"
        if n:
            bars.append({"label": label, "n": n, "value": [low, high]})
    return {"name": "turns", "title": "Turns", "bars": bars}


def words_chart(figures: Figures, name: str, title: str) -> dict[str, Any]:
    """A bar for each of the most frequent values; the others are counted together."""
    counts = figures.counts(name)
    left = counts[_VALUES_SHOWN:]
    more = f"{len(left):,} more values in {sum(n for _, n in left):,} rows" if left else ""
    bars = [{"label": value, "n": n, "value": value} for value, n in counts[:_VALUES_SHOWN]]
    return {"name": name, "title": title, "bars": bars, "more": more}


def _without(n: int) -> str:
    what = "1 row has" if n == 1 else f"{n:,} rows have"
    return f"{what} no tokens: the chat template refuses them." if n else ""
