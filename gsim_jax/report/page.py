"""One self-contained HTML page of a run: no script, no request, ready to be mailed or printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from gsim_jax.report import words
from gsim_jax.report.plots import SHOWN, band_figure, rounds_figure
from gsim_jax.report.record import Candidate, Cell, Failure, Run, read_run
from gsim_jax.simulator.priors import FAMILIES


@dataclass(frozen=True)
class ParameterRow:
    """One line of the parameter table, as text."""

    name: str
    value: str
    unit: str
    prior: str
    doc: str


def write_report(directory: Path | str, out: Path | str | None = None) -> Path:
    """Write the page of a run folder.

    Args:
        directory: The run folder.
        out: The page; ``report.html`` in the run folder by default.

    Returns:
        Where the page lies.

    Raises:
        InputError: The folder is no run record, or is damaged.
        OSError: The page cannot be written.
    """
    record = read_run(directory)
    page = Path(out) if out is not None else record.directory / "report.html"
    text = render(record)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return page


def render(record: Run) -> str:
    """The page as text; the same record gives the same bytes.

    Args:
        record: A run, finished or not.

    Returns:
        HTML.
    """
    winner = record.winner
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gsim_jax.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=words.number,
        plus_minus=words.plus_minus,
        horizon=words.horizon_words,
    )
    return environment.get_template("report.html.j2").render(
        record=record,
        winner=winner,
        rounds=_rounds(record),
        ending=words.ending(record),
        split=words.split_words(record.split),
        verdict=words.verdict(winner) if winner else None,
        gap=words.gap_words,
        ties=None if words.lowest_wins(record) else words.TIES,
        figures=_figures(winner),
        shown=SHOWN,
        rounds_figure=Markup(rounds_figure(record.candidates, record.best)),
        scores=_score_matrix(winner) if winner else None,
        parameters=_parameters(winner) if winner else (),
        program=_highlighted(winner.source) if winner else None,
        command=reproduce_command(record.configuration),
        settings=json.dumps(record.configuration.get("settings", {}), indent=2, ensure_ascii=False),
    )


def reproduce_command(run: Mapping[str, Any]) -> str:
    """The command line that makes this run again.

    Args:
        run: Contents of ``run.json``.

    Returns:
        A shell command; options that were left at nothing are left out.
    """
    parts = ["gsim", "run", str(run["task"]["path"]), "--seed", str(run.get("seed", 0))]
    if run.get("proposer"):
        parts += ["--proposer", str(run["proposer"])]
    limits = (run.get("settings") or {}).get("limits", {})
    for option in ("rounds", "proposals", "patience", "seconds"):
        if limits.get(option) is not None:
            parts += [f"--{option}", str(limits[option])]
    return shlex.join(parts)


def _figures(winner: Candidate | None) -> list[tuple[str, Markup, int]]:
    """Variable, drawing and number of trajectories, in the order of the data."""
    if winner is None:
        return []
    return [
        (label, Markup(band_figure(label, bands, f"bands{place}")), len(bands))
        for place, (label, bands) in enumerate(winner.bands.items())
    ]


def _rounds(record: Run) -> list[tuple[int, list[Candidate | Failure]]]:
    """Proposals by round, in slot order."""
    tried: list[Candidate | Failure] = [*record.candidates, *record.failures]
    tried.sort(key=lambda item: (item.round, item.slot))
    numbers = sorted({item.round for item in tried})
    return [(n, [i for i in tried if i.round == n]) for n in numbers]


def _score_matrix(
    winner: Candidate,
) -> tuple[list[str], list[tuple[str, list[Cell | None]]]]:
    """Horizons as columns, variables as rows."""
    horizons = list(dict.fromkeys(cell.horizon for cell in winner.table))
    variables = dict.fromkeys(cell.variable for cell in winner.table)
    cells = {(cell.variable, cell.horizon): cell for cell in winner.table}
    return horizons, [(v, [cells.get((v, h)) for h in horizons]) for v in variables]


def _parameters(winner: Candidate) -> list[ParameterRow]:
    rows = []
    for name, value in winner.parameters.items():
        spec = winner.priors.get(name, {})
        rows.append(
            ParameterRow(
                name=name,
                value=words.plus_minus(value, winner.errors.get(name)),
                unit=str(spec.get("unit") or ""),
                prior=_prior(spec),
                doc=str(spec.get("doc") or ""),
            )
        )
    return rows


def _prior(spec: Mapping[str, Any]) -> str:
    """``Uniform(0, 2)``."""
    if "prior" not in spec:
        return ""
    arguments = spec.get("arguments", {})
    # A saved program sorts its keys; people read the arguments in the order of the declaration.
    order = FAMILIES[spec["prior"]][0] if spec["prior"] in FAMILIES else tuple(arguments)
    values = (arguments[name] for name in order if name in arguments)
    shown = (f"{v:g}" if isinstance(v, int | float) else str(v) for v in values)
    return f"{spec['prior']}({', '.join(shown)})"


def _highlighted(source: str) -> Markup:
    formatter = HtmlFormatter(nowrap=True, classprefix="py-")
    return Markup(highlight(source.rstrip(), PythonLexer(), formatter))
