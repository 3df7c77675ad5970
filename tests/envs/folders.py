"""The environments as the tests of this room use them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from gsim_jax.simulator.check import load_program
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Task, load_task

ENVS = Path(__file__).parents[2] / "envs"
#: Folders whose data come from a known law.
WORLDS = tuple(sorted(path.parent.name for path in ENVS.glob("*/truth.py")))


@cache
def task_of(name: str) -> Task:
    """A task folder, read once."""
    return load_task(ENVS / name)


@cache
def script_of(name: str) -> ModuleType:
    """generate.py of a folder as a module: the law in plain Python."""
    path = ENVS / name / "generate.py"
    spec = importlib.util.spec_from_file_location(f"generate_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def source_of(name: str) -> str:
    """Text of truth.py."""
    return (ENVS / name / "truth.py").read_text(encoding="utf-8")


def truth_of(name: str) -> dict[str, float]:
    """TRUTH of a folder, read without running the file."""
    for node in ast.parse(source_of(name)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRUTH":
            return ast.literal_eval(node.value)
    raise AssertionError(f"truth.py of {name} has no TRUTH")


@cache
def program_of(name: str) -> Program:
    """truth.py of a folder as a program."""
    with Sandbox() as sandbox:
        return load_program(source_of(name), task_of(name).schema, sandbox)
