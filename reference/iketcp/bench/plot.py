"""The document of a benchmark as a picture: bars with their spread, in SVG.

A bar is the median, the line through its end goes from the smallest to the largest
figure, and the number in parentheses is the ratio to the row that counts as 1. A bar
that would leave no room for the others is cut: it has a gap, and no spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from iketcp.bench.report import Chart, Row, figure, read_charts

COLUMNS = 2
MARGIN = 24
BAR_WIDTH = 350
FIGURE_WIDTH = 120
LETTER_WIDTH = 7.2
"""About, of a label; no label is shorter than LABEL_LETTERS."""
LABEL_LETTERS = 18
ROW_HEIGHT = 22
BAR_HEIGHT = 14
TITLE_HEIGHT = 34
HEAD_HEIGHT = 48
PANEL_GAP = 22
PROBLEM_LETTERS = 66

GIANT = 3.0
"""A bar so many times as long as the next one is cut."""

OURS, THEIRS, NOBODYS = "#1f6fb2", "#8a939c", "#d3d8dd"
OUR_NAME = "iketcp"
"""In the names of our rows; where no row has it, all of them are ours."""

INK, PALE_INK, PAPER = "#1b1f23", "#69717a", "#ffffff"

STYLE = (
    "text{font-family:'DejaVu Sans',Verdana,sans-serif;font-size:12px;"
    f"fill:{INK}}}"
    ".head{font-size:17px;font-weight:bold}.title{font-size:13px;font-weight:bold}"
    f".pale{{fill:{PALE_INK}}}.end{{text-anchor:end}}"
)


def svg(document: Mapping[str, Any]) -> str:
    """Draw all charts of a document, two beside each other."""
    charts = read_charts(document)
    label = label_width(charts)
    panel_width = label + BAR_WIDTH + FIGURE_WIDTH
    lines = [charts[at : at + COLUMNS] for at in range(0, len(charts), COLUMNS)]
    head = f"iketcp bench {document['benchmark']}"
    parts = [_text(MARGIN, 30, head, "head")]
    parts.append(_text(MARGIN, 48, _about(document), "pale"))
    top = float(MARGIN + HEAD_HEIGHT)
    for line in lines:
        for column, chart in enumerate(line):
            left = MARGIN + column * (panel_width + MARGIN)
            parts.append(f'<g transform="translate({left} {top:g})">')
            parts += panel(chart, label)
            parts.append("</g>")
        top += max(panel_height(chart) for chart in line) + PANEL_GAP
    width = MARGIN + min(COLUMNS, len(charts) or 1) * (panel_width + MARGIN)
    size = f'width="{width}" height="{top:g}" viewBox="0 0 {width} {top:g}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<style>{STYLE}</style>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            *parts,
            "</svg>\n",
        )
    )


def _about(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    return (
        f"{machine['processors']} processors, {machine['processor']}; "
        f"{machine['system']} {machine['kernel']}; Python {machine['python']}, "
        f"iketcp {machine['iketcp']}; median, smallest, largest figure"
    )


def label_width(charts: Sequence[Chart]) -> int:
    """Width of the longest label of all charts in pixels."""
    letters = max((len(row.name) for chart in charts for row in chart.rows), default=0)
    return round(max(letters, LABEL_LETTERS) * LETTER_WIDTH)


def panel_height(chart: Chart) -> int:
    """Height of one chart in pixels."""
    return TITLE_HEIGHT + ROW_HEIGHT * len(chart.rows)


def panel(chart: Chart, label: int) -> list[str]:
    """Draw one chart, its corner at the origin, its bars right of the labels."""
    has_ours = any(OUR_NAME in row.name for row in chart.rows)
    full = full_scale([max(row.figures) for row in chart.rows if row.figures])
    parts = [
        _text(0, 14, chart.title, "title"),
        _text(label + BAR_WIDTH + FIGURE_WIDTH, 14, _scale(chart), "pale end"),
    ]
    for place, row in enumerate(chart.rows):
        middle = TITLE_HEIGHT + ROW_HEIGHT * place
        parts.append(_text(label - 8, middle + 4, row.name, "end"))
        if row.figures:
            parts.append(f'<g transform="translate({label} {middle})">')
            parts += _bar(row, full, _colour(row.name) if has_ours else OURS)
            end = _place(max(row.figures), full)
            parts += [_text(end + 8, 4, figure(chart, row)), "</g>"]
        else:
            problem = shorten(row.problem, PROBLEM_LETTERS, placeholder=" …")
            parts.append(_text(label, middle + 4, problem, "pale"))
    return parts


def _scale(chart: Chart) -> str:
    return chart.unit + (f" (of {chart.compared_with})" if chart.compared_with else "")


def full_scale(largest: Sequence[float]) -> float:
    """Return the figure at which a bar has its whole length.

    Parameters
    ----------
    largest : sequence of float
        The largest figure of each row; one giant among them may be longer.
    """
    ordered = sorted(largest, reverse=True)
    if len(ordered) > 1 and ordered[0] > GIANT * ordered[1]:
        ordered.pop(0)
    return ordered[0] if ordered and ordered[0] > 0 else 1.0


def _bar(row: Row, full: float, colour: str) -> list[str]:
    """Draw a bar from the origin on, and its spread."""
    end = _place(row.median, full)
    low, high = _place(min(row.figures), full), _place(max(row.figures), full)
    half = BAR_HEIGHT / 2
    parts = [
        f'<rect x="0" y="{-half:g}" width="{end:.1f}" height="{BAR_HEIGHT}" '
        f'fill="{colour}"/>'
    ]
    if row.median > full:
        parts.append(
            f'<path d="M{end - 26:.1f} {half + 2:g} l8 {-BAR_HEIGHT - 4}" '
            f'stroke="{PAPER}" stroke-width="4"/>'
        )
    else:
        parts.append(
            f'<path d="M{low:.1f} 0 H{high:.1f} M{low:.1f} -4 v8 M{high:.1f} -4 v8" '
            f'stroke="{INK}" fill="none"/>'
        )
    return parts


def _place(figure: float, full: float) -> float:
    """Where a figure is on the scale; what is longer ends where there is room left."""
    return BAR_WIDTH * min(figure / full, 1.03)


def _colour(name: str) -> str:
    if OUR_NAME in name:
        return OURS
    return NOBODYS if name == "plain wire" else THEIRS


def _text(left: float, base: float, text: str, kind: str = "") -> str:
    attribute = f" class={quoteattr(kind)}" if kind else ""
    return f'<text x="{left:.1f}" y="{base:g}"{attribute}>{escape(text)}</text>'


__all__ = ["full_scale", "label_width", "panel", "panel_height", "svg"]
