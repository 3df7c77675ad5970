"""Truth and fit side by side, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from gsim_jax.whatif.pictures import canvas, save
from gsim_jax.whatif.policy import Choice

TRUTH, FIT = "#30343a", "#2f6fb2"


def lockdown(truth: xr.Dataset, fitted: xr.Dataset, path: Path) -> Path:
    """Mean numbers of infected under every schedule at one strength, with the fit's band."""
    names = [str(n) for n in fitted.scenario.values if str(n).endswith(", 0.1")]
    figure, axes = canvas(2, 5, 3.0, 2.4)
    for axis, name in zip(axes.flat, names, strict=False):
        ours = fitted["I"].sel(scenario=name).values.reshape(-1, fitted.sizes["t"])
        theirs = truth["I"].sel(scenario=name).values[0]
        low, high = np.quantile(ours, (0.05, 0.95), axis=0)
        t = fitted["t"].values
        axis.fill_between(t, low, high, color=FIT, alpha=0.18, linewidth=0)
        axis.plot(t, ours.mean(0), color=FIT, label="fitted")
        axis.plot(t, theirs.mean(0), color=TRUTH, linestyle="--", label="truth")
        axis.set_title(name, loc="left", fontsize=9)
    axes.flat[0].legend(frameon=False, fontsize=8)
    return save(figure, path)


def hospital(true: Choice, found: Choice, path: Path) -> Path:
    """The map of expected costs, truth and fit."""
    figure, axes = canvas(1, 2, 4.6, 3.8)
    for axis, choice, title in zip(axes.flat, (true, found), ("truth", "fitted"), strict=True):
        points = np.asarray([list(d.values()) for d in choice.decisions])
        shape = [len(np.unique(points[:, k])) for k in range(2)]
        values = np.log10(choice.cost).reshape(shape).T
        half = [np.ptp(points[:, k]) / (shape[k] - 1) / 2 for k in range(2)]
        low, high = points.min(0) - half, points.max(0) + half
        extent = (low[0], high[0], low[1], high[1])
        drawn = axis.imshow(values, origin="lower", aspect="auto", extent=extent, cmap="viridis_r")
        axis.plot(*choice.policy.values(), "o", color="#c8553d", fillstyle="none", markersize=9)
        axis.set_title(f"{title}: log10 of the cost", loc="left", fontsize=10)
        axis.set_xlabel("lockdown begins (day)")
        axis.set_ylabel("beds added")
        figure.colorbar(drawn, ax=axis)
    return save(figure, path)


def supply(
    maps: Mapping[str, np.ndarray], extras: Sequence[int], leads: Sequence[int], path: Path
) -> Path:
    """Heat maps of total cost, truth and fit."""
    figure, axes = canvas(1, 2, 4.6, 2.8)
    for axis, (title, values) in zip(axes.flat, maps.items(), strict=True):
        drawn = axis.imshow(values, origin="lower", aspect="auto", cmap="viridis_r")
        axis.set_xticks(range(len(leads)), [str(lead) for lead in leads])
        axis.set_yticks(range(len(extras)), [str(extra) for extra in extras])
        axis.set_xlabel("lead time (steps)")
        axis.set_ylabel("more stock at the start")
        axis.set_title(f"{title}: total cost", loc="left", fontsize=10)
        figure.colorbar(drawn, ax=axis)
    return save(figure, path)


def backlogs(curves: Mapping[str, np.ndarray], path: Path) -> Path:
    """Mean backlogs under longer lead times, truth and fit."""
    figure, axes = canvas(1, 6, 2.6, 2.4)
    for i, axis in enumerate(axes.flat):
        axis.plot(curves["fitted"][i], color=FIT, label="fitted")
        axis.plot(curves["truth"][i], color=TRUTH, linestyle="--", label="truth")
        axis.set_title(f"lead time {i + 1}", loc="left", fontsize=9)
        axis.set_ylim(0, 1.05 * max(float(c.max()) for c in curves.values()))
    axes.flat[0].legend(frameon=False, fontsize=8)
    return save(figure, path)
