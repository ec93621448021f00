"""A dataset's health as HTML: token lengths with the cut, and the findings of the checkup."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from studio.data.checkup import Finding
from studio.text.preview import Examination

_BARS = 36
_LISTED = 8
_SERIOUS = frozenset({"nothing_trained", "empty_answer", "empty_turn", "bad_answers"})


def lengths_html(found: Examination, max_length: int) -> str:
    """Percentiles and a histogram with the cut at `max_length`."""
    s = found.statistics
    if not s.n_rows:
        return '<p class="s-note">No row could be turned into tokens; see the checkup.</p>'
    cut = f"{s.n_truncated:,} of {s.n_rows:,}"
    facts = (
        ("Half are below", f"{s.p50:,}"),
        ("95 % are below", f"{s.p95:,}"),
        ("Longest", f"{s.max:,}"),
        (f"Cut at {max_length:,}", cut),
    )
    cells = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts)
    note = f" Taken from {s.n_rows:,} evenly spaced rows." if s.sampled else ""
    return (
        f'<dl class="s-facts">{cells}</dl>{_histogram(found.lengths, max_length)}'
        f'<p class="s-note">Tokens a row, before the cut.{note}</p>'
    )


def _histogram(lengths: Sequence[int], max_length: int) -> str:
    """Bars as SVG; those beyond the cut are hatched red, and the cut has its own line."""
    longest = max(lengths)
    width = max(-(-(longest + 1) // _BARS), 1)
    counts = [0] * (longest // width + 1)
    for length in lengths:
        counts[length // width] += 1
    tallest = max(counts)
    step = 360 / len(counts)
    bars = "".join(
        f'<rect class="{"beyond" if i * width >= max_length else "within"}" '
        f'x="{i * step:.1f}" y="{80 - 76 * n / tallest:.1f}" width="{max(step - 1, 0.6):.1f}" '
        f'height="{76 * n / tallest:.1f}"><title>{i * width:,} to {(i + 1) * width - 1:,} tokens: '
        f"{n:,} rows</title></rect>"
        for i, n in enumerate(counts)
        if n
    )
    at = 360 * max_length / (len(counts) * width)
    line = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="80"/>' if at <= 360 else ""
    label = f"Histogram of token lengths, 0 to {longest:,}"
    return (
        f'<svg class="s-histogram" viewBox="0 0 360 82" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{bars}{line}</svg>'
        f'<div class="s-axis"><span>0</span><span>{longest:,} tokens</span></div>'
    )


def findings_html(findings: Sequence[Finding]) -> str:
    """Findings by kind, the serious ones first; row numbers are buttons."""
    if not findings:
        return '<div class="s-finding good"><b>Nothing to mend.</b> Every row can be used.</div>'
    kinds = [list(group) for _, group in groupby(_ordered(findings), key=lambda f: f.code)]
    return f'<div class="s-list">{"".join(_kind(kind) for kind in kinds)}</div>'


def _ordered(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (f.code not in _SERIOUS, f.code, f.row is None))


def _kind(findings: list[Finding]) -> str:
    first = findings[0]
    css = "s-finding bad" if first.code in _SERIOUS else "s-finding"
    word = "Mend" if first.code in _SERIOUS else "Look"
    if len(findings) == 1:
        return f'<div class="{css}"><b>{word}:</b> {_line(first)}<p>{escape(first.fix)}</p></div>'
    rows = "".join(f"<li>{_line(finding)}</li>" for finding in findings[:_LISTED])
    left = len(findings) - _LISTED
    more = f"<li>… and {left:,} more of this kind</li>" if left > 0 else ""
    return (
        f'<details class="{css}" open><summary><b>{word}:</b> {len(findings):,} × '
        f"{escape(first.code.replace('_', ' '))}</summary><ul>{rows}{more}</ul>"
        f"<p>{escape(first.fix)}</p></details>"
    )


def _line(finding: Finding) -> str:
    if finding.row is None:
        return escape(finding.message)
    return (
        f"{escape(finding.message)} "
        f'<button type="button" class="s-link" data-row="{finding.row - 1}">Show row</button>'
    )
