"""What a language model is told: read off the code, chosen by the data, bounded in length."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from gsim_jax import sampling
from gsim_jax.propose.prompt import Prompts, system_text, version
from gsim_jax.propose.prompt_names import draw_call, draws_text, helpers_text, names_text
from gsim_jax.propose.prompt_parents import cost
from gsim_jax.propose.prompt_task import features
from gsim_jax.simulator import slots, template
from gsim_jax.simulator.check import check_source
from gsim_jax.simulator.priors import PRIORS
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Problem
from tests.propose.briefs import BEST, ENVS, TIED, WORSE, first_brief, later_brief
from tests.simulator.legitimate_worlds import World

TEMPLATES = Path(str(resources.files("codegen_templates")))
EXAMPLES = sorted((TEMPLATES / "examples").glob("*.py"))
NAMES = sorted(path.name for path in ENVS.iterdir() if (path / "task.toml").is_file())
#: Those that other tests here load as well, once; large tables take seconds to read.
QUICK = ("boarding_school_flu", "covid19", "covid19_missing", "hospital_beds", "supply_chain")
#: The tables that the examples are written for.
WORLDS = {
    "pools": World(
        {"working": ("count", 40, 0, None), "broken": ("count", 3, 0, None),
         "repairs": ("count", 0, 0, None)},
        inputs={"load": 1.2},
    ),
    "slots": World(
        {"rack": ("category", np.array([0, 1, 1, -1, -1, -1] + [-1] * 14), -1, 1),
         "days": ("count", np.array([2, 1, 4] + [0] * 17), 0, None)}
    ),
    "pipeline": World(
        {"trays": ("count", np.array([3, 0, 2, 0, 0, 1]), 0, None),
         "waiting": ("count", 4, 0, None)},
        inputs={"sown": 5},
    ),
    "hidden": World({"moths": ("count", 6, 0, None)}),
    "reals": World({"volume": ("real", 50.0, 0.0, None)}, inputs={"release": 2.0}, calendar=True),
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def text_of(messages: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)


class TestNames:
    def test_every_name_of_the_template_is_told(self) -> None:
        text = system_text(features(*shown("hospital_beds")))
        for name in template.names() - {"jnp", "lax"}:
            assert re.search(rf"\b{name}\b", text), name
        for kind, arguments in template.ARGUMENTS.items():
            assert f"{kind}({', '.join(arguments)})" in text

    def test_draws_are_called_as_they_are_shown(self, sandbox: Sandbox) -> None:
        """A program that makes every draw by the printed signature is accepted."""
        values = {"n": 5, "p": 0.3, "good": 4, "bad": 5, "probs": "jnp.array([0.2, 0.8])",
                  "low": 0.0, "high": 1.0}  # fmt: skip
        lines = []
        for number, law in enumerate(sampling.LAWS):
            call = ast.parse(draw_call(law).replace(", /", ""), mode="eval").body
            assert isinstance(call, ast.Call)
            assert [k.arg for k in call.keywords][-1] == "shape"
            names = [a.id for a in call.args if isinstance(a, ast.Name)][1:]
            names += [str(k.arg) for k in call.keywords[:-1]]
            given = ", ".join(str(values.get(name, 2.0)) for name in names)
            lines.append(f'        "x{number}": jnp.sum({law}(keys[{number}], {given})),')
        source = (
            "PARAMS = {}\n\ndef all_of_them(state, inputs, params, key):\n"
            f"    keys = split(key, {len(lines)})\n    return {{\n"
            + "\n".join(lines)
            + "\n    }\n\n"
            "def couple(state, inputs, outputs, params, key):\n    return state\n\n"
            "SUBMODULES = (all_of_them,)\n"
        )
        report = check_source(source, World({"a": ("count", 1, 0, None)}).task, sandbox)
        assert not report.problems, report.to_text()
        assert report.program is not None
        assert {draw.law for draw in report.program.draws} == set(sampling.LAWS)

    def test_priors_are_declared_as_they_are_shown(self) -> None:
        text = names_text()["priors"]
        assert text.count("\n") + 1 == len(PRIORS)
        for line in text.splitlines():
            call = re.match(r"- `(\w+)\((.*)\)`: ", line)
            assert call is not None
            assert call.group(1) in PRIORS
            assert "guess=None, shape=(), unit='', doc=''" in call.group(2)

    def test_a_change_of_the_code_changes_the_prompt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def age(values, present, how=2):
            """Grows older."""

        monkeypatch.setattr(slots, "age", age)
        assert "- `age(values, present, how=2)`: Grows older" in helpers_text()
        monkeypatch.delitem(sampling.LAWS, "weibull")
        assert "weibull" not in draws_text()

    def test_helpers_are_told_in_full_where_they_serve(self) -> None:
        long = system_text(features(*shown("hospital_beds")))
        short = system_text(features(*shown("covid19")))
        assert "- `admit(prefer, free)`" in short
        assert "types in the order in which each arrival would take them" in long
        assert "types in the order in which each arrival would take them" not in short


def shown(name: str):
    brief = first_brief(name)
    return brief.schema, brief.profile


class TestExamples:
    def test_each_has_a_world(self) -> None:
        assert {path.stem for path in EXAMPLES} == set(WORLDS)

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
    def test_it_passes_the_whole_check(self, sandbox: Sandbox, path: Path) -> None:
        report = check_source(path.read_text(), WORLDS[path.stem].task, sandbox, path.name)
        assert not report.problems, report.to_text()
        assert report.warnings == ()

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("covid19", ["Machines that break"]),
            ("hospital_beds", ["Bicycles in the racks"]),
            ("supply_chain", ["Seedlings"]),
            ("covid19_missing", ["Moths"]),
            ("boarding_school_flu", ["Moths", "Machines that break"]),
        ],
    )
    def test_they_are_chosen_by_the_data(self, name: str, words: list[str]) -> None:
        text = system_text(features(*shown(name)))
        for title in words:
            assert title in text

    def test_no_prompt_names_an_environment(self) -> None:
        words = {"covid", "hospital", "epidemic", "infect", "patient", "influenza", "beer",
                 "inventory", "backlog", "disease", "lockdown", "icu"}  # fmt: skip
        for folder in ("prompts", "examples"):
            for path in (TEMPLATES / folder).iterdir():
                text = path.read_text().lower()
                assert not {word for word in words if re.search(rf"\b{word}", text)}, path


class TestFirstRound:
    @pytest.mark.parametrize(
        "name",
        [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
    )
    def test_every_environment(self, name: str) -> None:
        brief = first_brief(name)
        system, user = Prompts().ask(brief, 0, 4)
        assert (system["role"], user["role"]) == ("system", "user")
        text = user["content"]
        assert brief.schema.title in text
        for state in brief.schema.states.values():
            assert f"`{state.name}`: {state.kind}" in text
            assert state.doc in text
        for rule in brief.schema.rules:
            assert rule.holds.text in text
        for given in (*brief.schema.inputs, *brief.schema.constants, *brief.schema.attributes):
            assert f"`{given}`" in text
        assert brief.profile.to_text().splitlines()[0] in text
        assert len(text_of([system, user])) < 4 * 9_000

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("hospital_beds", "`place` them into free slots"),
            ("supply_chain", "use `pipeline_step`"),
            ("boarding_school_flu", "is not shown at all (LATENT"),
            ("covid19_missing", "not always observed"),
            pytest.param(
                "supply_chain_aggregates",
                "2 steps later: effects come later",
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_hints(self, name: str, words: str) -> None:
        assert words in text_of(Prompts().ask(first_brief(name), 0, 1))

    def test_proposals_of_a_round_differ_in_their_part(self) -> None:
        brief = first_brief()
        asked = [Prompts().ask(brief, slot, 4) for slot in range(4)]
        assert len({messages[0]["content"] for messages in asked}) == 1
        assert len({messages[1]["content"] for messages in asked}) == 4
        assert "# Round 1, proposal 3 of 4" in asked[2][1]["content"]

    def test_no_text_of_a_task_is_read_as_a_template(self) -> None:
        brief = first_brief()
        schema = replace(brief.schema, description="{{ 7 * 7 }} {% if x %}")
        asked = Prompts().ask(replace(brief, schema=schema), 0, 1)
        assert "{{ 7 * 7 }} {% if x %}" in asked[1]["content"]


class TestLaterRounds:
    def text(self, **changed: object) -> str:
        return Prompts().ask(replace(later_brief(), **changed), 0, 4)[1]["content"]  # type: ignore[arg-type]

    def test_numbers_with_their_noise(self) -> None:
        text = self.text()
        for words in (
            "Candidate 5 (round 2): A flow of constant chance",
            "Score 0.812, floor 0.5, gap +0.31 ± 0.02; not adequate (p = 0.008); the best so far",
            "compared with the best: +0.01 ± 0.02, within noise: neither is better",
            "compared with the best: +0.2 ± 0.02, worse beyond noise",
            "leaving.chance = 0.999 ± 0.02 (lies at the upper end of its prior)",
            "S: 1 step ahead gap +0.3 ± 0.02; free run gap +0.01 ± 0.02 (within noise)",
            "within noise at every horizon: I",
            "S is over-estimated 7 steps ahead by 2.1 ± 0.4",
            "the rule 'total' is broken in 10.0% of rows",
            "leaving.rest is declared and never read",
            "held-out data",
        ):
            assert words in text, words
        assert text.index("the rule 'total'") < text.index("S is over-estimated")

    def test_what_did_not_help(self) -> None:
        text = self.text()
        assert "candidate 2 (round 1): no program: refused: expected one code block" in text
        assert (
            "candidate 4 (round 2): A small change: no gain over candidate 3 beyond noise" in text
        )
        assert "candidate 6 (round 2): A bad change: worse than candidate 3 (+0.49 ± 0.01)" in text

    def test_failures_are_told_when_nothing_else_is_there(self) -> None:
        text = self.text(parents=(), attempts=(later_brief().attempts[1],))
        assert "These were refused before any calibration" in text
        assert "expected one code block, got prose" in text

    def test_in_sample_is_said(self) -> None:
        assert "the training data (in-sample)" in self.text(held_out=False)

    def test_cost_is_told_where_it_is_out_of_line(self) -> None:
        everyone = (BEST, TIED, WORSE)
        assert cost(BEST, everyone) == ""
        words = cost(WORSE, everyone)
        assert words.startswith("Cost: 9,000 operations per step, 100 times the cheapest program")
        assert "61% sort of int32[36] in racks" in words

    @pytest.mark.parametrize("tokens", [6_000, 8_000, 12_000])
    def test_length_is_bounded(self, tokens: int) -> None:
        long = BEST.source + "# and so on\n" * 400
        parents = tuple(replace(BEST, id=i, source=long) for i in range(4))
        brief = replace(later_brief(), parents=parents)
        messages = Prompts(tokens=tokens).ask(brief, 0, 4)
        least = Prompts(tokens=1).ask(brief, 0, 4)
        # The best program is always shown in full; beyond that the bound holds.
        assert "# and so on" in least[1]["content"]
        assert len(text_of(messages)) <= max(4 * tokens, len(text_of(least)))
        assert "## Candidate 0" in messages[1]["content"]


class TestRepair:
    def test_lines_are_quoted(self) -> None:
        problems = [Problem("name", "np is not there", file="simulator.py", line=3, column="5")]
        message = Prompts().repair(problems, "a = 1\nb = 2\nc = np.sum(b)\n", 1, 2, True)
        text = message["content"]
        assert (
            "Your program was refused (it does not keep to the template). Attempt 1 of 2." in text
        )
        assert "simulator.py, line 3, column 5: np is not there\n      c = np.sum(b)" in text

    def test_many_problems_are_cut(self) -> None:
        problems = [Problem("name", f"problem {i}") for i in range(40)]
        text = Prompts().repair(problems, "a = 1\n", 2, 2, True)["content"]
        assert "problem 11" in text
        assert "problem 12" not in text
        assert "and 28 more" in text

    def test_an_answer_without_a_program(self) -> None:
        text = Prompts().repair([Problem("no-code", "prose only")], "", 1, 2, False)["content"]
        assert text.startswith("Your answer could not be used.")
        assert "exactly one fenced ```python block" in text


def test_the_version_is_short_and_stable() -> None:
    assert re.fullmatch("[0-9a-f]{8}", version())
    assert version() == version()
