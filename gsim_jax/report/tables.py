"""The report's tables and the winner, for a terminal (rich)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gsim_jax.report.record import Candidate, Run
from gsim_jax.report.words import (
    TIES,
    ending,
    gap_words,
    horizon_words,
    lowest_wins,
    number,
    plus_minus,
    split_words,
    verdict,
)


def table(*columns: str, title: str | None = None, numeric: Sequence[str] = ()) -> Table:
    """An empty table in the one style that all output of this package has.

    Args:
        *columns: Headings.
        title: Shown above, left.
        numeric: The headings whose columns are aligned right.

    Returns:
        A table to add rows to.
    """
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        right = column in numeric
        made.add_column(
            column, justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    return made


def parameters_words(candidate: Candidate) -> str:
    """``beta 1.66 ± 0.03, gamma 0.44 ± 0.01``: short names where they are unambiguous."""
    short = [name.rpartition(".")[2] for name in candidate.parameters]
    names = short if len(set(short)) == len(short) else list(candidate.parameters)
    values = (
        plus_minus(value, candidate.errors.get(full))
        for full, value in candidate.parameters.items()
    )
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def rounds_table(record: Run) -> Table:
    """Every candidate of a run in order: structure, score, floor, gap ± SE, parameters.

    Args:
        record: The run.

    Returns:
        One row per candidate; the winner is marked.
    """
    made = table(
        "round", "id", "structure", "score", "floor", "gap ± SE", "parameters",
        numeric=("round", "id", "score", "floor", "gap ± SE"),
    )  # fmt: skip
    for c in sorted(record.candidates, key=lambda c: (c.round, c.slot)):
        won = c.id == record.best
        made.add_row(
            str(c.round),
            f"{'▸ ' if won else ''}{c.id}",
            Text(c.title + (" (adequate)" if c.adequate else "")),
            number(c.score, 4),
            number(c.floor, 4),
            gap_words(c.gap, c.gap_se),
            Text(parameters_words(c)),
            style="bold green" if won else "",
        )
    return made


def failure_lines(record: Run) -> list[Text]:
    """One line per proposal that was refused or could not be calibrated, with the first reason."""
    lines = []
    for failure in record.failures:
        why = failure.problems[0] if failure.problems else "no reason recorded"
        more = f" (and {len(failure.problems) - 1} more)" if len(failure.problems) > 1 else ""
        lines.append(Text(f"round {failure.round}, {failure.title}: {why}{more}"))
    return lines


def score_table(candidate: Candidate) -> Table:
    """Gaps of one candidate per variable and horizon.

    Args:
        candidate: A diagnosed candidate.

    Returns:
        One row per variable and horizon; what is not noise is named.
    """
    made = table(
        "variable", "horizon", "score", "floor", "gap ± SE", "bias ± SE", "",
        numeric=("score", "floor", "gap ± SE", "bias ± SE"),
    )  # fmt: skip
    for cell in candidate.table:
        made.add_row(
            Text(cell.variable),
            horizon_words(cell.horizon),
            number(cell.score, 4),
            number(cell.floor, 4),
            gap_words(cell.gap, cell.se),
            gap_words(cell.bias, cell.bias_se),
            "within noise" if cell.within_noise else "[yellow]not noise[/]",
        )
    return made


def parameter_table(candidate: Candidate) -> Table:
    """Parameters of one candidate with errors, units and what they mean."""
    made = table("parameter", "value ± SE", "unit", "", numeric=("value ± SE",))
    for name, value in candidate.parameters.items():
        spec = candidate.priors.get(name, {})
        made.add_row(
            Text(name),
            plus_minus(value, candidate.errors.get(name)),
            Text(str(spec.get("unit") or "")),
            Text(str(spec.get("doc") or "")),
        )
    return made


def show_program(console: Console, source: str) -> None:
    """Print a simulator file: in colours on a terminal, else as it is, ready to be copied."""
    if console.is_terminal:
        code = Syntax(source.rstrip(), "python", background_color="default", word_wrap=True)
        console.print(Padding(code, (0, 0, 0, 2)))
    else:
        console.print(source.rstrip(), markup=False, highlight=False, soft_wrap=True)


def show_record(console: Console, record: Run) -> None:
    """Print a run: rounds, winner, its program, what stays unexplained, where the record lies.

    Args:
        console: Where to.
        record: The run.
    """
    console.print(_heading(f"{record.title}: the rounds"))
    console.print(rounds_table(record))
    failures = failure_lines(record)
    if failures:
        console.print(Text(f"\nFailed proposals: {len(failures)}", style="red"))
        console.print(Padding(Group(*failures), (0, 0, 1, 2)))
    if not lowest_wins(record):
        console.print(Text(TIES, style="dim"))
    console.print(Text(split_words(record.split), style="dim"))
    console.print(Text(ending(record), style="dim"))
    winner = record.winner
    if winner is not None:
        show_candidate(console, winner)
    else:
        console.print(Text("No candidate was ranked yet.", style="yellow"))
    page = record.directory / "report.html"
    console.print(Text(f"\nRun record: {record.directory}", style="bold"), soft_wrap=True)
    if page.is_file():
        console.print(Text(f"Page:       {page}"), soft_wrap=True)


def show_candidate(console: Console, candidate: Candidate) -> None:
    """Print one candidate: program, parameters, scores, rules, verdict, what stays unexplained."""
    console.print(_heading(f"Candidate {candidate.id}: {candidate.title}"))
    show_program(console, candidate.source)
    style = "green" if candidate.adequate else "yellow"
    parts: list[RenderableType] = [
        "",
        parameter_table(candidate),
        "",
        score_table(candidate),
        "",
        Text(verdict(candidate), style=style),
    ]
    broken = [rule for rule in candidate.rules if rule.violated]
    if candidate.rules and not broken:
        count = len(candidate.rules)
        words = "Its rule holds." if count == 1 else f"All {count} rules hold."
        parts.append(Text(words, style="dim"))
    parts += [
        Text(f"Rule broken: {rule.name}, {rule.violated} of {rule.checked} times.", style="red")
        for rule in broken
    ]
    if candidate.unexplained:
        parts.append(Text("What stays unexplained", style="bold"))
        parts += [Text(f"  • {line}") for line in candidate.unexplained]
    else:
        parts.append(Text("Nothing stays unexplained beyond noise."))
    console.print(Group(*parts))


def _heading(words: str) -> Rule:
    return Rule(Text(words, style="bold"), align="left", style="dim")
