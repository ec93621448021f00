"""What was measured of an export's files, as HTML: recommendation, chart, table, differences.

The same markup stands in the Export tab and in each report card; what people or models wrote is
escaped. Its style is assets/css/quality.css.
"""

from collections.abc import Iterator
from html import escape

from studio.results.answers import BASE, TUNED, Answers, word_changes
from studio.results.exports import Export
from studio.results.quality import advice, recommended
from studio.results.quality_chart import quality_chart

_MOST_SHOWN = 6
_COLUMNS = (
    *("", "Size", "KL mean", "KL 99 %", "Same token", "Perplexity"),
    *("Answers as in transformers", "Row's answer", "Word overlap"),
)
_TAGS = {"same": "span", "left out": "del", "put in": "ins"}


def measured_html(export: Export) -> str:
    """All of it; "" where nothing was measured."""
    if not export.qualities and not export.answers:
        return ""
    parts = [f'<p class="q-advice">{escape(advice(export.measured))}</p>']
    parts.append(quality_chart(export.measured))
    parts.append(_table(export))
    differences = "".join(_differences(export))
    if differences:
        parts.append(f"<h5>Answers that differ, word by word</h5>{differences}")
    return f'<div class="q-measured">{"".join(parts)}</div>'


def _table(export: Export) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in _COLUMNS)
    best = recommended(export.measured)
    rows = []
    for name, label in ((BASE, "Base model"), (TUNED, "Tuned model")):
        found = export.answers_of(name)
        if found is not None:
            one_model = export.answers_of(BASE) is None
            label = "Model in transformers" if one_model else label
            rows.append(_row(label, name, ["–"] * 5 + ["–", *_scores(found)]))
    tuned = export.answers_of(TUNED)
    qualities = {quality.type: quality for quality in export.qualities}
    for file in export.files:
        answered, quality = export.answers_of(file.type), qualities.get(file.type)
        if quality is None and answered is None:
            continue
        cells = [f"{file.size_bytes / 1e6:.4g} MB"]
        if quality is None:
            cells += ["–"] * 4
        else:
            cells += [
                *(f"{quality.mean_kl:.2g}", f"{quality.tail_kl:.2g}"),
                *(f"{quality.same_choice:.1%}", f"{quality.perplexity:.4g}"),
            ]
        if answered is None or tuned is None:
            cells += ["–"] * 3
        else:
            same = f"{answered.n_same(tuned)} of {len(answered.answers)}"
            cells += [same, *_scores(answered)]
        is_best = best is not None and best.quality.type == file.type
        rows.append(_row(file.type, "file", cells, is_best))
    return (
        '<div class="q-scroll" tabindex="0" role="region" aria-label="Measured quality">'
        f'<table class="q-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _scores(found: Answers) -> list[str]:
    """How many answers are the row's own, and the word overlap; dashes where no row has one."""
    if not found.n_scored:
        return ["–", "–"]
    return [f"{found.n_exact} of {found.n_scored}", f"{found.overlap:.0%}"]


def _row(label: str, kind: str, cells: list[str], best: bool = False) -> str:
    mark = ' <span class="s-tag good">✓ recommended</span>' if best else ""
    values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="q-{kind}"><th scope="row">{escape(label)}{mark}</th>{values}</tr>'


def _differences(export: Export) -> Iterator[str]:
    """For each file the answers that are not transformers', the first few of them."""
    tuned = export.answers_of(TUNED)
    if tuned is None:
        return
    for file in export.files:
        found = export.answers_of(file.type)
        if found is None:
            continue
        pairs = zip(tuned.answers, found.answers, strict=True)
        other = [(expected, got) for expected, got in pairs if not expected.same(got)]
        if not other:
            continue
        items = []
        for expected, got in other[:_MOST_SHOWN]:
            words = "".join(
                f"<{_TAGS[change]}>{escape(text)}</{_TAGS[change]}>"
                for change, text in word_changes(expected.text, got.text)
            )
            if expected.stopped != got.stopped:
                ends = "does not end by itself" if expected.stopped else "ends by itself"
                words += f' <em class="q-note">({ends} in this file)</em>'
            items.append(f"<dt>{escape(expected.question)}</dt><dd>{words}</dd>")
        more = len(other) - _MOST_SHOWN
        if more > 0:
            items.append(f'<dd class="q-note">and {more} more in the card\'s JSON file</dd>')
        title = f"{file.type}: {len(other)} of {len(found.answers)}"
        yield (
            f'<details class="q-diff"><summary>{escape(title)}</summary>'
            f'<p class="q-note"><del>struck out</del> in transformers alone, '
            f"<ins>underlined</ins> in the file alone.</p><dl>{''.join(items)}</dl></details>"
        )
