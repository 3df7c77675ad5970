"""The verbs that use a simulator: ``gsim whatif`` and ``gsim policy``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gsim_jax.cli.reply import Options, Reply, verb

if TYPE_CHECKING:
    import xarray as xr

    from gsim_jax.whatif.load import LoadedRun
    from gsim_jax.whatif.policy import Choice
    from gsim_jax.whatif.start import Start

FOLDER, FILE = click.Path(path_type=Path), click.Path(path_type=Path)
SHOWN = 12
"""Rows of a table that are shown."""


def _shared(function: Any) -> Any:
    """The options of both verbs."""
    for option in (
        click.option("--task", type=FOLDER, metavar="DIR",
                     help="The task folder, where it is not where the run found it."),
        click.option("--candidate", type=click.IntRange(0), help="Another than the winner."),
        click.option("--draws", type=click.IntRange(1), default=100, show_default=True,
                     help="Draws of the parameters; 1 is the calibrated point."),
        click.option("--replicates", type=click.IntRange(1), default=10, show_default=True,
                     help="Simulations per draw."),
        click.option("--from", "begin", default="last", show_default=True,
                     metavar="first|last|trajectory:ID[@t]", help="Where it begins."),
        click.option("--data", "split", type=click.Choice(["train", "validation", "test"]),
                     help="The data in which it begins."),
        click.option("--steps", type=click.IntRange(1), help="Steps; by default the horizon."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--scenarios", type=FILE, required=True, metavar="FILE", help="A scenarios file.")
@_shared
@verb
def whatif(
    options: Options,
    run: Path,
    scenarios: Path,
    task: Path | None,
    candidate: int | None,
    draws: int,
    replicates: int,
    begin: str,
    split: str | None,
    steps: int | None,
) -> Reply:
    """Answer what-if questions with the simulator that RUN found.

    Every scenario meets the same draws of the parameters and the same luck. --out is the data set:
    NetCDF, or Zarr with the suffix .zarr; a picture is written beside it. RUN may come from
    elsewhere: its source is not executed.
    """
    from gsim_jax.whatif import read_scenarios, sweep
    from gsim_jax.whatif.load import load_replacements
    from gsim_jax.whatif.pictures import bands_picture

    out = options.out or run / "whatif.nc"
    _writable(out)
    read = read_scenarios(scenarios)
    loaded, start = _loaded(options, run, task, candidate, draws, replicates, begin, split, steps)
    ready = load_replacements(read, loaded.task)
    found = sweep(loaded.model, ready, start, steps=steps, replicates=replicates, key=options.seed)
    found = found.assign_attrs(draws_from=loaded.origin, candidate=loaded.candidate)
    _write(found, out)
    picture = bands_picture(found, out.with_suffix(".png"))
    fields = {
        "candidate": loaded.candidate,
        "draws_from": loaded.origin,
        "from": start.words,
        "lanes": found.attrs["lanes"],
        "scenarios": _told(found),
        "data": out,
        "picture": picture,
    }
    return Reply(fields, lambda console: _show(console, fields))


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--policy", "file", type=FILE, required=True, metavar="FILE", help="A policy file.")
@click.option("--method", type=click.Choice(["grid", "es"]),
              help="By default the grid, where no decision is a range.")  # fmt: skip
@_shared
@verb
def policy(
    options: Options,
    run: Path,
    file: Path,
    method: str | None,
    task: Path | None,
    candidate: int | None,
    draws: int,
    replicates: int,
    begin: str,
    split: str | None,
    steps: int | None,
) -> Reply:
    """Find the policy of least expected cost with the simulator that RUN found.

    Prints the cheapest policies, their costs with errors, and how probable it is that each is the
    best. --out is where the JSON goes; a picture is written beside it.
    """
    from gsim_jax.cli.reply import dumps, plain
    from gsim_jax.whatif.decisions import read_policy
    from gsim_jax.whatif.pictures import costs_picture
    from gsim_jax.whatif.policy import choose

    out = options.out or run / "policy.json"
    asked = read_policy(file)
    loaded, start = _loaded(options, run, task, candidate, draws, replicates, begin, split, steps)
    found = choose(
        loaded.model, asked, start, steps=steps, replicates=replicates, key=options.seed,
        method=method,
    )  # fmt: skip
    fields = {
        "candidate": loaded.candidate,
        "draws_from": loaded.origin,
        "from": start.words,
        "unit": asked.unit,
        "best": found.policy,
        "policies": len(found.decisions),
        "finalists": _finalists(found),
        "failed": found.failed,
        "failures": found.failures,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(dumps(plain(fields)) + "\n", encoding="utf-8")
    names = [decision.name for decision in asked.decisions]
    picture = costs_picture(names, found.decisions, found.cost, asked.unit, out.with_suffix(".png"))
    fields |= {"data": out, "picture": picture}
    units = {decision.name: decision.unit for decision in asked.decisions}
    return Reply(fields, lambda console: _show_policy(console, fields, units))


def _loaded(
    options: Options, run: Path, task: Path | None, candidate: int | None, draws: int,
    replicates: int, begin: str, split: str | None, steps: int | None,
) -> tuple[LoadedRun, Start]:  # fmt: skip
    """The run, and where lanes begin."""
    from gsim_jax.whatif import start_from
    from gsim_jax.whatif.load import load_run

    loaded = load_run(run, task=task, draws=draws, seed=options.seed, candidate=candidate)
    model = loaded.model
    horizon = steps or model.schema.horizon
    start = start_from(
        begin, loaded.task, model.simulator, model.draws, horizon, split=split,
        replicates=replicates, seed=options.seed,
    )  # fmt: skip
    return loaded, start


def _writable(out: Path) -> None:
    if out.suffix == ".zarr" and importlib.util.find_spec("zarr") is None:
        text = "writing .zarr needs the package zarr (pip install zarr); NetCDF (.nc) does not"
        raise click.BadParameter(text, param_hint="--out")
    if out.suffix not in (".nc", ".zarr"):
        text = f"expected a file that ends in .nc or .zarr; got {out.name}"
        raise click.BadParameter(text, param_hint="--out")


def _write(found: xr.Dataset, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".zarr":
        found.to_zarr(out, mode="w")
    else:
        found.to_netcdf(out, engine="h5netcdf")


def _told(found: xr.Dataset) -> list[dict[str, Any]]:
    """Per scenario and value: mean, band and difference of the last row and of the peak."""
    told = []
    for name in found["scenario"].values:
        own = found.sel(scenario=name)
        values = {}
        for label in found["variable"].values:
            one = own.sel(variable=label)
            band = one["quantiles"].isel(t=-1).values
            values[str(label)] = {
                "final": float(one["final"]),
                "final_error": float(one["final_error"]),
                "low": float(band[0]),
                "high": float(band[-1]),
                "final_difference": float(one["final_difference"]),
                "final_difference_error": float(one["final_difference_error"]),
                "peak": float(one["peak"]),
                "peak_error": float(one["peak_error"]),
                "peak_difference": float(one["peak_difference"]),
                "peak_difference_error": float(one["peak_difference_error"]),
            }
        failed = zip(found["failure"].values, own["failed"].values, strict=True)
        failures = {str(k): int(n) for k, n in failed if n}
        told.append({"name": str(name), "values": values, "failures": failures})
    return told


def _show(console: Console, fields: dict[str, Any]) -> None:
    from gsim_jax.report.tables import table
    from gsim_jax.report.words import number, plus_minus

    heads = ("at the end", "90 % of the lanes", "more than the first", "peak")
    shown = table("scenario", "value", *heads, numeric=heads)
    told = fields["scenarios"]
    for scenario in told[:SHOWN]:
        for label, v in scenario["values"].items():
            first = scenario is told[0]
            more = plus_minus(v["final_difference"], v["final_difference_error"])
            shown.add_row(
                scenario["name"], label, plus_minus(v["final"], v["final_error"]),
                f"{number(v['low'])} .. {number(v['high'])}", "" if first else more,
                plus_minus(v["peak"], v["peak_error"]),
            )  # fmt: skip
    console.print(shown)
    if len(told) > SHOWN:
        console.print(f"and {len(told) - SHOWN} more scenarios")
    for scenario in told:
        for what, count in scenario["failures"].items():
            if what != "any":
                console.print(f"{scenario['name']}: {what} in {count} of {fields['lanes']} lanes",
                              style="yellow", markup=False, highlight=False)  # fmt: skip
    _show_end(console, fields)


def _show_end(console: Console, fields: dict[str, Any]) -> None:
    words = f"Candidate {fields['candidate']}, {fields['draws_from']}; from {fields['from']}."
    console.print(f"{words}\n{fields['data']}\n{fields['picture']}", style="dim", markup=False,
                  highlight=False, soft_wrap=True)  # fmt: skip


def _finalists(found: Choice) -> list[dict[str, Any]]:
    return [
        {
            "decisions": found.decisions[place],
            "cost": found.final_cost[i],
            "error": found.final_error[i],
            "more": found.lead[i],
            "more_error": found.lead_error[i],
            "probability_best": found.best[i],
            "regret": found.regret[i],
        }
        for i, place in enumerate(found.finalists)
    ]


def _show_policy(console: Console, fields: dict[str, Any], units: dict[str, str]) -> None:
    from gsim_jax.report.tables import table
    from gsim_jax.report.words import number, plus_minus

    unit = f" ({fields['unit']})" if fields["unit"] else ""
    names = [f"{name} ({u})" if u else name for name, u in units.items()]
    heads = (*names, f"cost{unit}", "more than the best", "P(best)", "regret")
    shown = table(*heads, numeric=heads)
    for i, row in enumerate(fields["finalists"]):
        best = row["probability_best"]
        shown.add_row(
            *(f"{value:g}" for value in row["decisions"].values()),
            plus_minus(row["cost"], row["error"]),
            plus_minus(row["more"], row["more_error"]) if i else "",
            f"{best:.2f}" if best == best else "",
            number(row["regret"]),
        )
    console.print(shown)
    if fields["failed"]:
        what = ", ".join(f"{k} ({n})" for k, n in fields["failures"].items())
        console.print(f"{fields['failed']:.1%} of the lanes failed: {what}", style="yellow")
    _show_end(console, fields)
