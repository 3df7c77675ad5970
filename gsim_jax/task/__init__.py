"""What is to be simulated: schema, expressions, rules, trajectories, task folders."""

from gsim_jax.task.expr import Expression, ExpressionError, parse
from gsim_jax.task.load import load_schema, load_task
from gsim_jax.task.outputs import derived_values, output_values, output_vector
from gsim_jax.task.problems import InputError, Problem, SimulatorError, TaskError, near
from gsim_jax.task.profile import Profile, VariableProfile, profile
from gsim_jax.task.profile_invariants import Invariant
from gsim_jax.task.rules import (
    RuleReport,
    check_rules,
    row_violations,
    rule_problems,
    rule_violations,
)
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
from gsim_jax.task.skeleton import new_task
from gsim_jax.task.tables import read_tables, write_table
from gsim_jax.task.trajectories import Task, Trajectories

__all__ = [
    "Attribute",
    "Constant",
    "Derived",
    "Expression",
    "ExpressionError",
    "Input",
    "InputError",
    "Invariant",
    "Output",
    "Problem",
    "Profile",
    "Rule",
    "RuleReport",
    "Schema",
    "SimulatorError",
    "Task",
    "TaskError",
    "Trajectories",
    "Variable",
    "VariableProfile",
    "check_rules",
    "derived_values",
    "load_schema",
    "load_task",
    "near",
    "new_task",
    "output_values",
    "output_vector",
    "parse",
    "profile",
    "read_tables",
    "row_violations",
    "rule_problems",
    "rule_violations",
    "write_table",
]
