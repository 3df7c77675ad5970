"""Watching a search: what the events make visible."""

from __future__ import annotations

import io

from rich.console import Console

from gsim_jax.cli.live import View, Watch, clock, line

PROGRESS = {
    "event": "progress", "stage": "calibrate", "round": 0, "slot": 1, "fraction": 0.4,
    "title": "two stages",
}  # fmt: skip
CANDIDATE = {
    "event": "candidate", "id": 0, "round": 0, "slot": 1, "title": "two stages", "score": 0.5,
    "floor": 0.41, "gap": 0.09, "gap_se": 0.012, "adequate": False, "parameters": {},
}  # fmt: skip
PROBLEM = {
    "code": "x", "message": "expected a name", "file": "simulator.py", "row": None,
    "column": None, "line": 3,
}  # fmt: skip
FAILURE = {"event": "failure", "round": 0, "slot": 0, "title": "[bold]", "problems": [PROBLEM]}
ROUND = {"event": "round", "round": 0, "best": 0}


def drawn(view: View, height: int = 40) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(view.draw(65.0, height))
    return stream.getvalue()


def test_a_proposal_goes_from_its_stage_to_its_score():
    view = View()
    view.apply({"event": "start", "n": 0})
    view.apply(PROGRESS)
    assert "two stages  calibrating" in drawn(view)
    assert "━" in drawn(view)
    view.apply(CANDIDATE)
    text = drawn(view)
    assert "calibrating" not in text
    assert "0.5000  0.4100  +0.090 ± 0.012" in text
    assert "round 0 · 1 candidate · 1:05" in text
    view.apply(ROUND)
    assert "best 0" in drawn(view)
    view.apply({"event": "stop", "reason": "patience"})
    assert "stopped: the last rounds brought no significant gain" in drawn(view)


def test_a_failed_proposal_shows_its_reason_as_text():
    view = View()
    view.apply(FAILURE)
    text = " ".join(drawn(view).split())
    assert "[bold] failed: simulator.py, line 3: expected a name" in text
    assert "1 failed" in text


def test_old_proposals_give_way_on_a_low_terminal():
    view = View()
    for slot in range(30):
        view.apply({**CANDIDATE, "slot": slot, "id": slot, "title": f"structure {slot}."})
    text = drawn(view, height=12)
    assert "structure 29." in text
    assert "structure 23." not in text
    assert len(text.splitlines()) <= 12


def test_a_log_gets_one_line_for_each_thing_that_happened():
    stream = io.StringIO()
    times = iter([0.0, 0.0, 61.0, 62.0, 63.0])
    with Watch(Console(file=stream, width=40), now=lambda: next(times)) as watch:
        for event in (PROGRESS, CANDIDATE, FAILURE, ROUND):
            watch.listen(event)
    assert stream.getvalue().splitlines() == [
        "1:01  round 0  candidate 0: two stages: score 0.5000, floor 0.4100, gap +0.090 ± 0.012",
        "1:02  round 0  [bold] failed: simulator.py, line 3: expected a name",
        "1:03  round 0  finished, best candidate 0",
    ]
    assert watch.failures == [FAILURE]


def test_a_terminal_gets_the_table_and_is_left_clean():
    stream = io.StringIO()
    console = Console(file=stream, width=100, height=30, force_terminal=True)
    with Watch(console) as watch:
        watch.listen(CANDIDATE)
    text = stream.getvalue()
    assert "two stages" in text
    assert text.endswith("\x1b[2K") or "\x1b[1A\x1b[2K" in text  # the live table is taken away


def test_events_of_later_versions_are_left_alone():
    view = View()
    view.apply({"event": "something new", "slot": 3})
    assert view.rows == {}
    assert line({"event": "something new"}) is None


def test_clock():
    assert [clock(s) for s in (0, 59.9, 125)] == ["0:00", "0:59", "2:05"]
