"""`gsim bench table2`: cells that go on where they stopped, what is measured, what is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks import _worlds
from benchmarks._table2 import cells, markdown, paper, rejection, summary
from benchmarks._table2.changes import INTERVENTIONS
from benchmarks._table2.fitted import Fitted
from benchmarks._table2.methods import all_methods
from benchmarks._table2.modality import modality
from benchmarks._table2.properties import Judge
from benchmarks.table2 import bench
from gsim_jax.diagnose.next_state import Cells, Request
from gsim_jax.sampling import INVALID, LAWS
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.predict import Plan
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError
from gsim_jax.whatif import Model
from tests.benchmarks.made_cells import die, note, note_or_die
from tests.envs.folders import source_of, task_of
from tests.helpers.answers import town
from tests.helpers.fault_server import FaultServer
from tests.search.chatting import talk
from tests.search.quick import quick
from tests.search.town import FALL, FILES, RECOVER, write_task
from tests.whatif.records import covid_program


def spec(folder: Path, method: str, seed: int = 0, after: str = "") -> cells.Spec:
    return cells.Spec(method, Path("somewhere"), seed, {"folder": str(folder)}, after)


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    found = path.read_text(encoding="utf-8").split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


class TestCells:
    def test_only_what_is_missing_or_failed_is_computed(self, tmp_path: Path) -> None:
        store = cells.Store(tmp_path / "cells")
        wanted = [spec(tmp_path, "sound", s) for s in (0, 1)] + [spec(tmp_path, "fragile")]
        found = cells.run(wanted, note, store)
        assert calls(tmp_path) == ["sound-0", "sound-1", "fragile-0"]
        assert [cell["status"] for cell in found] == ["done", "done", "failed"]
        assert found[2]["cause"] == "ArithmeticError: expected a number; got none"
        assert "in note" in found[2]["trace"]
        assert json.loads((store.folder / wanted[2].name).read_text())["status"] == "failed"
        (tmp_path / "mended").touch()
        again = cells.run(wanted, note, store)
        assert calls(tmp_path) == ["fragile-0"]
        assert [cell["status"] for cell in again] == ["done"] * 3
        assert cells.run(wanted, note, store) == again
        assert calls(tmp_path) == []
        cells.run(wanted, note, store, repeat=True)
        assert len(calls(tmp_path)) == 3

    def test_other_settings_are_another_cell(self, tmp_path: Path) -> None:
        one = spec(tmp_path, "sound")
        other = cells.Spec("sound", one.task, 0, {**one.settings, "states": 7})
        assert one.digest == spec(tmp_path, "sound").digest != other.digest
        assert len({one.name, other.name, spec(tmp_path, "sound", 1).name}) == 3

    def test_what_builds_on_another_comes_after_it(self, tmp_path: Path) -> None:
        wanted = [spec(tmp_path, "later", 0, "first"), spec(tmp_path, "first")]
        found = cells.run(wanted, note, cells.Store(tmp_path / "cells"))
        assert calls(tmp_path) == ["first-0", "later-0"]
        assert [cell["method"] for cell in found] == ["later", "first"]

    def test_processes_keep_to_one_core_and_may_die(self, tmp_path: Path) -> None:
        store, wanted = (
            cells.Store(tmp_path / "cells"),
            [spec(tmp_path, "sound", s) for s in (0, 1)],
        )
        found = cells.run(wanted[:1], die, store, workers=2)
        assert found[0]["status"] == "failed"
        assert "process" in found[0]["cause"]
        found = cells.run(wanted, note, store, workers=2)
        assert [cell["value"] for cell in found] == [0, 1]
        assert [cell["cores"] for cell in found] == [1, 1]

    def test_a_process_that_dies_takes_one_cell_with_it(self, tmp_path: Path) -> None:
        wanted = [spec(tmp_path, "deadly"), *(spec(tmp_path, "sound", s) for s in range(3))]
        found = cells.run(wanted, note_or_die, cells.Store(tmp_path / "cells"), workers=2)
        assert [cell["status"] for cell in found] == ["failed", "done", "done", "done"]

    def test_processes_are_renewed_before_they_fill_the_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cells, "LIFE", 1)
        wanted = [spec(tmp_path, "sound", s) for s in range(3)]
        found = cells.run(wanted, note_or_die, cells.Store(tmp_path / "cells"), workers=2)
        assert len({cell["pid"] for cell in found}) == 3
        assert [cell["cores"] for cell in found] == [1, 1, 1]


def test_means_over_seeds() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    found = summary.mean_of(values)
    half = stats.t.interval(0.95, 3, 0, stats.sem(values))[1]
    assert (found.mean, found.half) == pytest.approx((3.0, half))
    assert summary.mean_of([3.0], [0.5]) == (3.0, 0.5, 0.98, 1)
    assert summary.mean_of([1.0, None]).mean == np.inf


def other(**edits: str) -> Program:
    """The truth of covid19 with other words in it."""
    source = source_of("covid19")
    for old, new in edits.items():
        source = source.replace(old, new)
    signature = task_of("covid19").schema.signature()
    return Program.from_document(trace_source(source, signature), signature)


@pytest.fixture(scope="module")
def covid() -> Judge:
    truth = _worlds.Simulator(
        covid_program(), {"infection.beta": 0.5, "recovery.gamma": 0.1}, "truth"
    )
    return Judge(task_of("covid19"), truth, INTERVENTIONS["covid19"], 200)


class TestChanges:
    """P0 and P1 on the lockdown of covid19."""

    @pytest.mark.parametrize(
        ("edits", "values", "where"),
        [
            ({"infection": "spreading", "beta": "contact"}, {"spreading.contact": 0.3},
             "spreading.contact"),
            # Two rates that add up: neither alone is the lockdown.
            pytest.param(
                {'params["beta"] *': '(params["beta"] + params["more"]) *',
                 '"infection": {': '"infection": {"more": Uniform(0.0, 2.0, guess=0.25), '},
                {"infection.beta": 0.25}, "infection.beta and infection.more",
                marks=pytest.mark.slow),
            # A fixed rate: what can be changed is what comes out of it.
            pytest.param({'params["beta"]': "0.5"}, {}, "infection.new_infections (an output)",
                         marks=pytest.mark.slow),
            pytest.param({'binomial(key, state["S"], p)': '0 * binomial(key, state["S"], p)'}, {},
                         "None", marks=pytest.mark.slow),
        ],
    )  # fmt: skip
    def test_a_change_is_found_by_what_it_does(
        self, covid: Judge, edits: dict[str, str], values: dict[str, float], where: str
    ) -> None:
        program = other(**edits)
        found = covid.probe.find(Model.at(program, covid.task.schema, values))
        assert str(found) == where

    def test_answers_of_truth_of_a_wrong_rate_and_of_a_forecaster(self, covid: Judge) -> None:
        values = {"infection.beta": 0.5, "recovery.gamma": 0.1}
        less, more, same = covid.probe.wanted
        assert less < 0 < -more or less > 0 > more
        assert same == 0
        right = covid.judge(Fitted(covid_program(), values), 0)
        assert right["possible"]
        assert right["missed"] == right["missed_unchanged"] == 0.0
        wrong = covid.judge(Fitted(covid_program(), {**values, "infection.beta": 0.4}), 0)
        assert 0.02 < wrong["missed"] < 1

        class Unchanged:
            """Forecasts the mean of the unchanged world, without an error."""

            numbers = 0

            def __init__(self) -> None:
                self.failed: dict[int, float] = {}

            def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
                base = covid.truth.base.T
                return {
                    day: np.broadcast_to(base[i], (len(request.cells[day].row), 1, 3))
                    for i, day in enumerate(covid.days)
                }

        blind = covid.judge(Fitted(forecaster=Unchanged()), 0)
        assert not blind["possible"]
        assert blind["missed"] == pytest.approx(1.0, abs=1e-6)


def test_integers_bounds_and_rules_of_predictions() -> None:
    task = task_of("covid19")
    data = task.test
    assert data is not None
    everybody = Cells(np.array([0, 0]), np.array([1, 2]))
    request = Request(task.schema, data, Plan((), free=False), {1: everybody}, (0, 1, 2), 4)
    total = float(data.outputs[0, 0].sum())
    cloud = np.zeros((2, 4, 3), np.float32)
    cloud[..., 0] = total
    assert modality({1: cloud}, request) == {
        "whole": 1.0, "outside": 0.0, "broken": 0.0, "breaking": 0.0, "failed": 0.0,
        "rules": ["the population is constant"],
    }  # fmt: skip
    cloud[0, 0] = (total - 0.5, 0.5, 0.0)
    cloud[0, 1] = (total + 1, -1, 0)
    cloud[0, 2] = (total, 1, 0)
    cloud[1, 3] = np.nan
    found = modality({1: cloud}, request)
    assert found["whole"] == pytest.approx(1 - 2 / 21)
    assert (found["outside"], found["broken"]) == pytest.approx((1 / 7, 1 / 7))
    assert (found["breaking"], found["failed"]) == pytest.approx((2 / 7, 1 / 8))


@pytest.mark.parametrize(
    ("name", "arguments", "impossible", "mass"),
    [
        ("binomial", (30, 0.2), (30, 1.5), stats.binom.pmf(np.arange(12), 30, 0.2)),
        pytest.param("poisson", (4.0,), (-1.0,), stats.poisson.pmf(np.arange(12), 4.0),
                     marks=pytest.mark.slow),
        pytest.param("bernoulli", (0.3,), (1.5,), stats.binom.pmf(np.arange(12), 1, 0.3),
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_counts_by_rejection_have_their_laws(
    name: str, arguments: tuple[float, ...], impossible: tuple[float, ...], mass: np.ndarray
) -> None:
    bits = jnp.asarray(np.random.default_rng(1).integers(0, 2**32, 4000, np.uint32))
    before = LAWS[name]
    with rejection.by_rejection():
        drawn = np.asarray(LAWS[name].from_bits(bits, *map(jnp.float32, arguments)))
        assert LAWS[name].from_bits(bits, *map(jnp.float32, impossible))[0] == INVALID
    assert LAWS[name] is before
    expected = mass * len(drawn)
    kept = expected > 5
    seen = np.bincount(drawn, minlength=12)[:12]
    chi2 = ((seen - expected) ** 2)[kept] / expected[kept]
    assert stats.chi2.sf(chi2.sum(), kept.sum() - 1) > 1e-4
    assert rejection.marked(covid_program(), task_of("covid19")) != covid_program()


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick(tmp_path_factory.getbasetemp() / "compiled"):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The town with its truth and test data, and a recorded conversation about it."""
    folder = tmp_path_factory.mktemp("world")
    task = write_task(folder / "town")
    (task / "test.csv").write_bytes((task / "train.csv").read_bytes())
    with (task / "task.toml").open("a", encoding="utf-8") as file:
        file.write('test = ["test.csv"]\n')
    truth = f"{FILES['both']}\nTRUTH = {{'fall.p': {FALL}, 'recover.q': {RECOVER}}}\n"
    (task / "truth.py").write_text(truth, encoding="utf-8")
    talk(task, folder / "recordings" / "town" / "seed-0", FaultServer(town), rounds=1, proposals=1)
    return task, folder / "recordings"


def call(world: tuple[Path, Path], folder: Path, methods: str) -> dict[str, Any]:
    task, recordings = world
    arguments = (
        "--quick", "--tasks", str(task), "--methods", methods, "--states", "10", "--workers", "1",
        "--horizons", "1,7", "--folder", str(folder / "runs"), "--recordings", str(recordings),
    )  # fmt: skip
    return bench(seed=0, out=folder / "table2.json", arguments=arguments)


def test_the_table_of_a_small_world(world: tuple[Path, Path], tmp_path: Path) -> None:
    methods = "zeroshot,floor"
    found = call(world, tmp_path, methods)
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows) == ["floor", "zeroshot"]  # in the table's order
    assert {row["status"] for row in rows.values()} == {"done"}
    ratio = rows["floor"]["metrics"]["1"]["ratio"]
    assert abs(ratio["mean"] - 1) < 4 * ratio["se"] + 0.05
    # The conversation's first program lacks a flow.
    assert rows["zeroshot"]["metrics"]["1"]["ratio"]["mean"] > 2
    assert rows["zeroshot"]["recovery"]["derived"]["f1"] <= 1
    assert rows["zeroshot"]["cost"]["tokens"] > 0
    assert rows["floor"]["recovery"] is None
    assert rows["floor"]["change"] is None  # no change is known of this world
    text = (tmp_path / "table2.md").read_text(encoding="utf-8")
    assert "| truth against truth |" in text
    assert "**A quick run**" in text
    assert json.loads((tmp_path / "table2.json").read_text())["rows"] == found["rows"]
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/cells").rglob("*.json")}
    again = call(world, tmp_path, methods)
    assert again["rows"] == found["rows"]
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/cells").rglob("*.json")}


def test_without_a_conversation_its_rows_are_left_out(
    world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    found = call((world[0], tmp_path / "none"), tmp_path, "chat,no-repair")
    rows = {row["method"]: row for row in found["rows"]}
    assert rows["chat"]["status"] == rows["no-repair"]["status"] == "left out"
    text = (tmp_path / "table2.md").read_text(encoding="utf-8")
    assert "| language model, ES | no recording |" in text
    assert "Without a result (no recording): language model, ES on town" in text


def test_requests_that_are_no_good(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected methods out of floor, .*; got flor"):
        bench(seed=0, out=None, arguments=("--methods", "flor"))
    with pytest.raises(InputError, match=r"task folder with a truth\.py, such as covid19"):
        bench(seed=0, out=None, arguments=("--tasks", str(tmp_path)))


def test_every_figure_of_the_paper_has_a_row() -> None:
    named = {method.paper for method in all_methods().values()} - {""}
    assert len(named) == 9
    for name in named:
        assert all(paper.figure(name, task) for task in paper.TASKS)
    assert paper.figure("Transformer", "supply_chain") == (2.29, 0.06)
    assert paper.figure("", "covid19") is None


def test_numbers_for_people() -> None:
    assert markdown.number(None) == "–"
    assert markdown.number(float("inf")) == "∞"
    assert markdown.plus_minus({"mean": 0.2512, "half": 0.0041}, "half") == "0.251 ± 0.004"
    assert markdown.plus_minus({"mean": 231.2, "half": 3.14}, "half") == "231 ± 3"
    assert markdown.plus_minus({"mean": float("inf"), "half": None}, "half") == "∞"
