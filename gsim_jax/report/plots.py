"""Figures of the report as inline SVG that follows the page's colours.

Figures are drawn through matplotlib's object interface (no pyplot, no global state but a local
``rc_context``). Every colour is a stand-in that becomes a CSS variable, so that one drawing serves
a light page, a dark one and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gsim_jax.report.record import Band, Candidate

SHOWN = 6
"""Trajectories drawn per variable; more do not make a page clearer."""

_CSS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--rule)",
    "#040404": "var(--accent)",
    "#050505": "var(--bad)",
}
INK, MUTED, RULE, ACCENT, BAD = _CSS


def band_figure(label: str, bands: Sequence[Band], name: str = "bands") -> str:
    """Data against predictive bands of one variable, one panel per trajectory.

    Args:
        label: The variable.
        bands: Its trajectories; the first :data:`SHOWN` are drawn.
        name: Makes the ids inside the SVG unique within a page.

    Returns:
        An ``<svg>`` element: observed points, median line, 50 % and 90 % bands.
    """
    shown = bands[:SHOWN]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    with mpl.rc_context(_style(f"{name}-{label}")):
        width = 9.2 if columns > 1 else 5.2
        figure = Figure(figsize=(width, 0.3 + (1.9 if columns > 1 else 2.6) * rows))
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axis in enumerate(axes.flat):
            if place >= len(shown):
                axis.set_visible(False)
                continue
            _band(axis, shown[place])
            if len(shown) > 1:
                axis.set_title(shown[place].trajectory, loc="left")
            if place >= len(shown) - columns:
                axis.set_xlabel("t")
        return _svg(figure)


def _band(axis: Axes, band: Band) -> None:
    t = np.asarray(band.t, dtype=float)
    quantile = {q: _numbers(values) for q, values in band.quantiles.items()}
    axis.fill_between(t, quantile["q05"], quantile["q95"], color=ACCENT, alpha=0.16, linewidth=0)
    axis.fill_between(t, quantile["q25"], quantile["q75"], color=ACCENT, alpha=0.28, linewidth=0)
    axis.plot(t, quantile["q50"], color=ACCENT, linewidth=1.4)
    # Many points in small panels merge into a smear: let them shrink.
    size = float(np.clip(90.0 / max(len(t), 1), 1.6, 4.5))
    axis.plot(t, _numbers(band.data), "o", color=INK, markersize=size, markeredgewidth=0)
    axis.margins(x=0.02)
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(5))


def rounds_figure(candidates: Sequence[Candidate], best: int | None) -> str:
    """Score of each candidate above its floor, in the order in which they were made.

    Args:
        candidates: All of the run.
        best: Number of the winner; drawn filled.

    Returns:
        An ``<svg>`` element; empty text where fewer than two candidates carry a score.
    """
    scored = [(c, c.score, c.floor) for c in candidates if c.score is not None]
    if len(scored) < 2:
        return ""
    with mpl.rc_context(_style("rounds")):
        figure = Figure(figsize=(9.2, 2.5))
        axis = figure.subplots()
        for candidate, score, floor in scored:
            if floor is not None:
                axis.plot([candidate.id] * 2, [floor, score], color=RULE, linewidth=1.6, zorder=1)
                axis.plot(candidate.id, floor, "_", color=MUTED, markersize=7, zorder=2)
            won = candidate.id == best
            axis.plot(
                candidate.id,
                score,
                "o",
                color=ACCENT if won else INK,
                markersize=6.5 if won else 4,
                markeredgewidth=0,
                zorder=3,
            )
        scores = [score for _, score, _ in scored]
        axis.plot(
            [c.id for c, _, _ in scored],
            np.minimum.accumulate(scores),
            color=MUTED,
            linewidth=0.9,
            drawstyle="steps-post",
            linestyle=(0, (3, 2)),
            zorder=0,
        )
        # One hopeless candidate would flatten all the others.
        low = min(min(scores), *(f for _, _, f in scored if f is not None), np.inf)
        high = max(scores)
        if low > 0 and high > 6 * np.median(scores):
            axis.set_yscale("log")
        axis.set_xlabel("candidate")
        axis.set_ylabel("score")
        axis.xaxis.set_major_locator(MaxNLocator(14, integer=True))
        for candidate, previous in zip(candidates[1:], candidates[:-1], strict=True):
            if candidate.round != previous.round:
                middle = (candidate.id + previous.id) / 2
                axis.axvline(middle, color=RULE, linewidth=0.8, zorder=0)
        return _svg(figure)


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    """``None`` as NaN, which leaves a gap."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _style(salt: str) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
        "svg.hashsalt": salt,  # ids repeat from run to run, and differ between figures
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.labelcolor": INK,
        "axes.titlecolor": MUTED,
        "axes.titlesize": 8,
        "axes.labelsize": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.size": 2.5,
        "ytick.major.size": 0,
        "text.color": INK,
        "text.parse_math": False,  # a label like 'los[0]' or 'a$b' is no formula
        "figure.constrained_layout.use": True,
    }


def _svg(figure: Figure) -> str:
    """The figure as one element: no prologue, size and font left to the page."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, _, rest = text.partition(">")
    # The page scales a drawing by its viewBox, up to the size it was drawn for.
    width = re.search(r'width="([\d.]+)pt"', head)
    head = re.sub(r' (width|height)="[\d.]+pt"', "", head)
    if width:
        head += f' style="max-width: {float(width.group(1)):.0f}pt"'
    rest = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", rest)
    rest = re.sub(r"font-family: [^;\"]+;?", "", rest)
    for colour, variable in _CSS.items():
        rest = rest.replace(colour, variable)
    return (head + ">" + rest).strip()
