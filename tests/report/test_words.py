"""Numbers and verdicts as text."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsim_jax.report import read_run, render, words
from tests.report.synthetic import write_run

NUMBERS = [
    (None, "—"),
    (math.nan, "—"),
    (-math.inf, "−∞"),
    (0.0, "0"),
    (-0.01234, "−0.0123"),
    (763.0, "763"),
    (15_590.0, "15,590"),
    (0.00001234, "1.23e−05"),
    (3.2e9, "3.20e+09"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_number(value, text):
    assert words.number(value) == text


PAIRS = [
    (0.412345, 0.0212, "0.412 ± 0.021"),
    (-0.004, 0.5, "0.00 ± 0.50"),
    (1559.3, 81.0, "1,559 ± 81"),
    (2.0, None, "2.00"),
    (2.0, math.nan, "2.00"),
    (2.0, 0.0, "2.00"),
    (None, 0.1, "—"),
    (math.nan, 0.1, "—"),
    (2.0, 1e-9, "2.00 ± 1.0e−09"),
]


@pytest.mark.parametrize(("value", "error", "text"), PAIRS)
def test_plus_minus(value, error, text):
    assert words.plus_minus(value, error) == text


def test_gaps_are_signed():
    assert words.gap_words(0.0123, 0.006) == "+0.0123 ± 0.0060"
    assert words.gap_words(-0.0123, 0.006) == "−0.0123 ± 0.0060"
    assert words.gap_words(None, 0.1) == "—"


@given(
    st.floats(-1e300, 1e300) | st.sampled_from([math.inf, -math.inf]),
    st.floats(min_value=0, allow_nan=False),
)
def test_every_pair_of_floats_has_words_that_read_back(value, error):
    text = words.plus_minus(value, error).replace("−", "-").replace(",", "").replace("∞", "inf")
    shown = float(text.split(" ± ")[0])
    if math.isfinite(value):
        slack = error if math.isfinite(error) else 0.0
        assert shown == pytest.approx(value, rel=0.01, abs=slack)
    else:
        assert shown == value


def test_the_verdict_names_the_worst_misfit_and_broken_rules(tmp_path):
    record = read_run(write_run(tmp_path / "run"))
    assert record.winner is not None
    assert words.verdict(record.winner).startswith("Adequate: ")
    assert "p = 0.34" in words.verdict(record.winner)
    worse = words.verdict(record.candidates[0])
    assert worse.startswith("Not adequate: ")
    assert "p < 0.001" in worse
    assert "Worst: in <bed>, free run, gap +0.310 ± 0.047, and 3 more." in worse
    assert "Broken rules: A never grows." in worse


def test_a_winner_with_a_higher_score_is_explained(tmp_path):
    record = read_run(write_run(tmp_path / "run"))
    assert words.lowest_wins(record)
    tied = dataclasses.replace(record, best=4)
    assert not words.lowest_wins(tied)
    assert words.TIES in render(tied)
    assert words.TIES not in render(record)


def test_in_sample_ranking_is_said(tmp_path):
    assert "in-sample" in words.split_words("train")
    assert "in-sample" not in words.split_words("validation")


def test_how_far_a_run_has_come(tmp_path):
    done = read_run(write_run(tmp_path / "done"))
    assert words.ending(done) == "The search ended: the best candidate is adequate."
    cut = read_run(write_run(tmp_path / "cut", finished=False))
    assert f"gsim run --resume {tmp_path / 'cut'}" in words.ending(cut)
    stopped = dataclasses.replace(cut, stopped="seconds")
    assert words.ending(stopped) == "The search stopped: the time budget is spent."
