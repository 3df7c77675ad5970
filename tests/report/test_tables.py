"""The run on a terminal and in a pipe."""

from __future__ import annotations

import io
import re

from rich.console import Console

from gsim_jax.report import read_run, show_record, write_report
from tests.report.synthetic import SOURCE, write_run


def shown(run, **console) -> str:
    stream = io.StringIO()
    show_record(Console(file=stream, width=120, **console), read_run(run))
    return stream.getvalue()


def test_a_run_is_shown_whole(tmp_path):
    run = write_run(tmp_path / "run")
    text = shown(run)
    row = next(line for line in text.splitlines() if "▸" in line)
    assert " ".join(row.split()) == (
        "1 ▸ 3 two stages, variant 3 (adequate) 0.4260 0.4100 +0.016 ± 0.012 "
        "rate 0.412 ± 0.021, p 0.200 ± 0.011"
    )
    assert "Failed proposals: 2" in text
    assert "round 0, with numpy: simulator.py, line 12" in text
    assert SOURCE.rstrip() in text  # a program in a pipe can be copied
    assert "within noise" in text
    assert "in-sample" in text
    assert "Stages <b>&</b> beds" in text
    assert f"Run record: {run}" in text
    assert "Page:" not in text
    write_report(run)
    assert f"Page:       {run / 'report.html'}" in shown(run)


def test_a_terminal_gets_colours_and_the_same_words(tmp_path):
    run = write_run(tmp_path / "run")
    coloured = shown(run, force_terminal=True, color_system="truecolor")
    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "Adequate: data like these" in bare
    assert 'return {"left": binomial(key, state["A"]' in bare


def test_a_run_without_a_winner_says_so(tmp_path):
    text = shown(write_run(tmp_path / "run", finished=False))
    assert "No candidate was ranked yet." in text
    assert "gsim run --resume" in text
