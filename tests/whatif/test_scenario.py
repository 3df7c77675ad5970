"""Scenario files: what is read, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsim_jax.task import InputError
from gsim_jax.whatif import Scenario, add, read_scenarios, replace, scale, set_to
from gsim_jax.whatif.effects import change, compose, identity
from gsim_jax.whatif.plan import plan
from gsim_jax.whatif.scenario import with_baseline
from tests.simulator.towns import SOURCE, program_of, town

GOOD = """
[[scenario]]
name = "strict"
doc = "as in spring"
[[scenario.change]]
target = "infection.beta"
scale = 0.1
from = 3
to = 9
[[scenario.change]]
target = "S"
clip = [0, 50]
[[scenario]]
name = "other contacts"
[[scenario.change]]
target = "infection"
replace = "other.py"
parameters = { beta = 0.3 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "scenarios.toml"
    path.write_text(text)
    return path


def said(call: Any, *arguments: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return [str(problem) for problem in caught.value.problems]


def planned(*changes: Any) -> Any:
    schema, program = town()
    return plan(program, schema, [Scenario("one", changes)], 20)


class TestFiles:
    def test_what_is_read(self, tmp_path: Path) -> None:
        strict, other = read_scenarios(written(tmp_path, GOOD))
        assert (strict.name, strict.doc) == ("strict", "as in spring")
        first, second = strict.changes
        assert (first.target, first.operation, first.value) == ("infection.beta", "scale", 0.1)
        assert (first.start, first.stop, first.line) == (3, 9, 5)
        assert second.value == (0, 50)
        assert second.stop is None
        assert other.changes[0].value == tmp_path / "other.py"
        assert other.changes[0].parameters == {"beta": 0.3}
        assert other.changes[0].line == 15

    def test_every_mistake_at_once_with_its_line(self, tmp_path: Path) -> None:
        text = GOOD.replace("scale = 0.1", 'scale = "0.1"').replace("to = 9", "to = 1")
        text = text.replace("clip = [0, 50]", "clip = [50, 0]").replace('doc = "', 'dco = "')
        found = said(read_scenarios, written(tmp_path, text))
        assert len(found) == 4
        for line, part in (
            (7, "expected a number or a list of numbers, got '0.1'"),
            (9, "expected a row from 3 on, got 1"),
            (12, "expected [low, high] (inf for none), got [50, 0]"),
            (4, "unknown key: did you mean 'doc'?"),
        ):
            assert any(f"scenarios.toml, line {line}:" in f and part in f for f in found), part

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("", "expected at least one [[scenario]]"),
            ("[[scenario]\n", "not TOML"),
            ('[[scenario]]\nname = "a"\n' * 2, "two scenarios are called 'a'"),
            (
                '[[scenario]]\nname = "a"\n[[scenario.change]]\ntarget = "S"\nset = 1\nadd = 2\n',
                "expected one of scale, add, set, clip, replace; got add and set",
            ),
        ],
    )  # fmt: skip
    def test_files_of_no_use(self, tmp_path: Path, text: str, part: str) -> None:
        assert part in "\n".join(said(read_scenarios, written(tmp_path, text)))

    def test_no_file(self, tmp_path: Path) -> None:
        assert "expected a TOML file" in said(read_scenarios, tmp_path / "none.toml")[0]


class TestTargets:
    @pytest.mark.parametrize(
        ("changed", "part"),
        [
            (scale("infection.bta", 1), "did you mean 'infection.beta'?"),
            (scale("lockdwn", 1), "did you mean 'lockdown'?"),
            (scale("infection", 1), "'infection' is a submodule"),
            (replace("infektion", None), "did you mean 'infection'?"),
            (scale("S[0]", 1), "expected an entry of an array of shape []; got [0]"),
            (set_to("S", [1, 2]), "expected a number or an array of shape []; got [2]"),
            (add("S", 1, 21), "expected rows from 0 to 20"),
            (replace("infection", "file.py"), "read it with `load_replacements`"),
        ],
        ids=lambda x: x if isinstance(x, str) else x.target,
    )
    def test_mistakes(self, changed: Any, part: str) -> None:
        assert part in "\n".join(said(planned, changed))

    def test_all_of_them_at_once(self) -> None:
        found = said(planned, scale("infection.bta", 1), set_to("doctrs", 1), add("Q", 1))
        assert len(found) == 3

    def test_submodules_that_do_not_fit(self) -> None:
        schema, _ = town()
        other = SOURCE.replace('"new_infections"', '"infected"')
        assert "expected a submodule that returns new_infections" in "\n".join(
            said(planned, replace("infection", program_of(other, schema)))
        )
        assert "expected parameters out of beta; got gamma" in "\n".join(
            said(planned, replace("infection", town()[1], parameters={"gamma": 1.0}))
        )

    def test_names_of_their_own(self) -> None:
        changed = (scale("S", 1),)
        found = said(with_baseline, [Scenario("a", changed), Scenario("a", changed)])
        assert "a twice" in found[0]


class TestNumbers:
    @pytest.mark.parametrize("seed", range(20))
    def test_lists_of_operations_come_to_four_numbers(self, seed: int) -> None:
        """Any list of operations, one after the other, against their composition."""
        rng = np.random.default_rng(seed)
        x = np.float64(rng.normal(0, 3))
        numbers, wanted = identity(1, ()), x
        for _ in range(rng.integers(1, 8)):
            operation = rng.choice(["scale", "add", "set", "clip"], p=[0.4, 0.3, 0.05, 0.25])
            if operation == "clip":
                low, high = sorted(rng.normal(0, 2, 2))
                value: Any = (low if rng.random() < 0.8 else None, high)
                wanted = np.clip(wanted, -np.inf if value[0] is None else low, high)
            else:
                value = rng.choice([rng.normal(), 0.0], p=[0.9, 0.1])
                wanted = {"scale": wanted * value, "add": wanted + value, "set": value}[operation]
            numbers = compose(numbers, operation, value)
        found = float(change(np.float32(x), np.float32(numbers[0])))
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)

    def test_whole_numbers_keep_what_float32_cannot_hold(self) -> None:
        large = np.int32(2**30 + 1)
        for operation, value, wanted in (
            ("add", 1, large + 1), ("scale", 1, large), ("clip", (0, None), large),
            ("set", 7, 7), ("clip", (None, 100), 100),
        ):  # fmt: skip
            numbers = compose(identity(1, ()), operation, value)[0]
            assert int(change(large, np.float32(numbers))) == wanted

    def test_what_is_invalid_stays_so_unless_it_is_set(self) -> None:
        invalid = np.int32(np.iinfo(np.int32).min)
        for operation, value, wanted in (("add", 5, invalid), ("clip", (0, 9), invalid),
                                         ("set", 5, 5)):  # fmt: skip
            numbers = compose(identity(1, ()), operation, value)[0]
            assert int(change(invalid, np.float32(numbers))) == wanted

    def test_rounding_is_fair(self) -> None:
        """Shares of the words that round up, against the fraction."""
        words = (np.arange(1000, dtype=np.uint64) * 2**32 // 1000).astype(np.uint32)
        numbers = np.float32(compose(identity(1, ()), "scale", 0.3)[0])
        numbers = np.broadcast_to(numbers[:, None], (4, 1000))
        found = np.asarray(change(np.full(1000, 11, np.int32), numbers, words))
        assert set(np.unique(found)) == {3, 4}
        assert found.mean() == pytest.approx(3.3, abs=2e-3)
