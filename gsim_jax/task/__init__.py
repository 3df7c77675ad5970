"""What is to be simulated: schema, expressions, rules, trajectories, task folders."""

from gsim_jax.task.problems import InputError, Problem, SimulatorError, TaskError, near
from gsim_jax.task.schema import (
    Attribute,
    Constant,
    Derived,
    Input,
    Output,
    Rule,
    Schema,
    Variable,
)
from gsim_jax.task.trajectories import Task, Trajectories

__all__ = [
    "Attribute",
    "Constant",
    "Derived",
    "Input",
    "InputError",
    "Output",
    "Problem",
    "Rule",
    "Schema",
    "SimulatorError",
    "Task",
    "TaskError",
    "Trajectories",
    "Variable",
    "near",
]
