"""Envelope, errors and exit statuses: the same for every verb."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from gsim_jax.cli import app, reply, verbs_task
from gsim_jax.cli.app import VERBS, XLA_FLAG, tune
from gsim_jax.task.problems import Problem, TaskError

KEYS = {"code", "file", "row", "column", "line", "message"}


def test_help_is_fast_because_it_imports_no_engine():
    code = (
        "import sys; from gsim_jax.cli import main; assert main(['--help']) == 0; "
        "heavy = {'jax', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in VERBS)


def test_gsim_alone_shows_the_verbs(call):
    called = call()
    assert called.status == 0
    assert "calibrate" in called.out


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_takes_the_common_options(call, name):
    called = call(name, "--help")
    assert called.status == 0
    for option in ("--seed", "--out", "--json", "--debug"):
        assert option in called.out


USAGE = [
    (("fly",), None, "No such command 'fly'"),
    (("run",), "run", "expected TASK, or --resume RUN"),
    (("run", "x", "--sead", "1"), "run", "No such option"),
    (("run", "x", "--seed", "-1"), "run", "-1 is not in the range"),
    (("run", "x", "--resume", "y"), "run", "leave out TASK"),
    (("run", "--resume", "y", "--seed", "0", "--rounds", "2"), "run", "leave out --seed, --rounds"),
    (("check", __file__), "check", "Missing option '--task'"),
    (("bench", "nothing"), "bench", "got 'nothing'"),
    (("calibrate", "x", "--simulator", "y", "--method", "magic"), "calibrate", "'magic'"),
]


@pytest.mark.parametrize(("words", "verb", "message"), USAGE)
def test_a_wrong_command_line_is_bad_input_in_both_forms(call, words, verb, message):
    plain = call(*words)
    assert plain.status == 2
    assert message in plain.err
    assert "Traceback" not in plain.err
    as_json = call(*words, "--json")
    assert as_json.status == 2
    found = as_json.document
    assert (found["schema"], found["verb"], found["ok"]) == (1, verb, False)
    assert len(found["errors"]) == 1
    assert found["errors"][0].keys() == KEYS
    assert found["errors"][0]["code"] == "usage"
    assert message in found["errors"][0]["message"]


@pytest.fixture
def profiled(monkeypatch):
    """Let ``gsim profile`` do what a test says, whatever the task room does."""

    def set_to(function):
        monkeypatch.setattr(verbs_task.profile, "callback", reply.verb(function))

    return set_to


def test_all_problems_of_an_input_are_listed_with_their_places(call, profiled):
    problems = [
        Problem("negative", "expected a count, got -3", file="train.csv", row=12, column="I"),
        Problem("unknown-kind", "expected count, real, flag or category", "task.toml", line=4),
    ]

    def refuse(options, task):
        raise TaskError(problems)

    profiled(refuse)
    plain = call("profile", "x")
    assert plain.status == 2
    assert plain.out == ""
    assert "2 problems" in plain.err
    assert "train.csv, row 12, column I: expected a count, got -3" in plain.err
    assert "Traceback" not in plain.err
    as_json = call("profile", "x", "--json")
    assert as_json.status == 2
    assert as_json.document["errors"] == [problem.to_json() for problem in problems]


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("no [bold] luck"), "internal"), (OSError("full"), "system")]
)
def test_a_failure_is_one_block_and_debug_shows_where(call, profiled, error, code):
    def fail(options, task):
        raise error

    profiled(fail)
    plain = call("profile", "x")
    assert plain.status == 1
    assert str(error) in plain.err
    assert "Traceback" not in plain.err
    called = call("profile", "x", "--json", "--debug")
    assert called.status == 1
    assert called.document["errors"][0]["code"] == code
    assert called.document["ok"] is False
    assert "Traceback" in called.err


def test_stdout_carries_one_document_whatever_is_printed(call, profiled):
    def chatty(options, task):
        print("from a library")  # noqa: T201
        values = {"mean": np.float32(0.5), "sd": float("nan"), "shape": np.arange(2)}
        return reply.Reply(
            {"profile": values, "seed": options.seed}, lambda c: c.print("for people")
        )

    profiled(chatty)
    called = call("profile", "x", "--json", "--seed", "5")
    assert called.status == 0
    assert called.document == {
        "schema": 1,
        "verb": "profile",
        "ok": True,
        "errors": [],
        "profile": {"mean": 0.5, "sd": None, "shape": [0, 1]},
        "seed": 5,
    }
    assert "from a library" in called.err
    assert "for people" in call("profile", "x").out


def test_a_reply_cannot_hide_the_envelope():
    with pytest.raises(ValueError, match="errors"):
        reply.envelope("run", reply.Reply({"errors": []}))


def test_only_data_becomes_json():
    with pytest.raises(TypeError, match="expected data with a JSON form, got object"):
        reply.plain({"x": object()})
    assert json.loads(reply.dumps(reply.plain({"x": {2, 1}, 3: None}))) == {"x": [1, 2], "3": None}


def test_a_closed_pipe_is_no_traceback(tmp_path):
    """``gsim ... | head`` closes stdout before everything is written."""
    code = (
        "import os, sys; from gsim_jax.cli import main; "
        "read, write = os.pipe(); os.close(read); sys.stdout = os.fdopen(write, 'w'); "
        "sys.exit(main(['bench']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""


def test_version(call):
    called = call("--version")
    assert called.status == 0
    assert called.out.startswith("gsim, version ")


def test_verbs_are_where_the_table_says():
    for name in VERBS:
        command = app.gsim.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.name == name


def test_xla_is_tuned_unless_somebody_has_done_so() -> None:
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    tune(environment)
    tune(environment)
    assert environment["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=2 {XLA_FLAG}"
    own = {"XLA_FLAGS": "--xla_backend_extra_options=other"}
    tune(own)
    assert own == {"XLA_FLAGS": "--xla_backend_extra_options=other"}
