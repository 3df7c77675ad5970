"""Pictures of sweeps and policies as PNG, drawn without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Scenarios and values shown at most; more do not make a picture clearer.
SCENARIOS, VALUES = 8, 9
_COLOURS = ("#30343a", "#2f6fb2", "#c8553d", "#4a8f5b", "#8e5ea2", "#c99a2e", "#3d9ca8", "#a34a6f")


def canvas(rows: int, columns: int, width: float = 4.2, height: float = 2.9) -> tuple[Figure, Any]:
    """A figure with a grid of axes [rows, columns]."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def bands_picture(found: xr.Dataset, path: Path) -> Path:
    """Medians and outer bands of every value under the first scenarios.

    Args:
        found: what `sweep` returns with quantiles.
        path: where the picture goes.
    """
    labels = [str(label) for label in found["variable"].values[:VALUES]]
    columns = min(len(labels), 3)
    figure, axes = canvas(-(-len(labels) // columns), columns)
    for place, axis in enumerate(axes.flat):
        if place >= len(labels):
            axis.set_visible(False)
            continue
        _bands(axis, found["quantiles"].sel(variable=labels[place]))
        axis.set_title(labels[place], loc="left", fontsize=10)
        axis.set_xlabel("t")
    lines, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return save(figure, path)


def _bands(axis: Axes, values: xr.DataArray) -> None:
    levels = values["quantile"].values
    t = values["t"].values
    middle = int(np.argmin(np.abs(levels - 0.5)))
    names = [str(name) for name in values["scenario"].values[:SCENARIOS]]
    for colour, name in zip(_COLOURS, names, strict=False):
        own = values.sel(scenario=name).values
        axis.fill_between(t, own[:, 0], own[:, -1], color=colour, alpha=0.12, linewidth=0)
        axis.plot(t, own[:, middle], color=colour, linewidth=1.4, label=name)
    axis.margins(x=0.01)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def costs_picture(
    names: Sequence[str], decisions: Sequence[dict[str, float]], cost: np.ndarray, unit: str,
    path: Path,
) -> Path:  # fmt: skip
    """Expected costs over one decision (a line) or two (a map); others at their cheapest.

    Args:
        names: the decisions.
        decisions: the policies.
        cost: float64[S], expected cost of each.
        unit: unit of the costs.
        path: where the picture goes.
    """
    figure, axes = canvas(1, 1, 6.0, 4.2)
    axis = axes[0, 0]
    best: dict[tuple[float, ...], float] = {}
    for given, value in zip(decisions, cost, strict=True):
        key = tuple(given[name] for name in names[:2])
        best[key] = min(best.get(key, np.inf), float(value))
    points = np.asarray(list(best))
    values = np.asarray(list(best.values()))
    if points.shape[1] == 1:
        order = np.argsort(points[:, 0])
        axis.plot(points[order, 0], values[order], color=_COLOURS[1])
        axis.set_ylabel(f"cost ({unit})" if unit else "cost")
    else:
        drawn = axis.scatter(points[:, 0], points[:, 1], c=np.log10(np.maximum(values, 1e-12)),
                             cmap="viridis_r", marker="s", s=60)  # fmt: skip
        figure.colorbar(drawn, ax=axis, label=f"log10 of the cost{f' ({unit})' if unit else ''}")
        axis.set_ylabel(names[1])
        axis.plot(*points[int(np.argmin(values))], "o", color=_COLOURS[2], markersize=9,
                  fillstyle="none", markeredgewidth=2)  # fmt: skip
    axis.set_xlabel(names[0])
    return save(figure, path)
