"""The benchmark of posteriors: its tasks, its classifier test, its reading of references."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import _posterior_tasks
from benchmarks._posterior_c2st import c2st
from benchmarks.posterior import bench, read_reference
from gsim_jax.task import InputError

TASKS = sorted(_posterior_tasks.TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_simulates_its_shape(name: str) -> None:
    task = _posterior_tasks.TASKS[name]()
    keys = jax.random.split(jax.random.key(0), 16)
    theta = jax.vmap(task.prior.sample)(keys)
    x = np.asarray(jax.jit(jax.vmap(task.simulate))(theta, keys))
    assert x.shape == (16, *task.shape)
    assert np.isfinite(x).mean() > 0.9
    assert (x.std(axis=0) > 0).any()


def test_slcp_has_the_moments_of_its_law() -> None:
    task = _posterior_tasks.slcp()
    theta = np.array([0.7, -2.9, -1.2, -0.9, 0.6], np.float32)
    keys = jax.random.split(jax.random.key(0), 20_000)
    x = np.asarray(jax.jit(jax.vmap(task.simulate, in_axes=(None, 0)))(theta, keys), float)
    first, second = theta[2] ** 2, theta[3] ** 2
    lean = np.tanh(theta[4]) * first * second
    exact = np.array([[first**2, lean], [lean, second**2]])
    np.testing.assert_allclose(np.cov(x[:, 1].T), exact, rtol=0.06)
    np.testing.assert_allclose(x[:, 3].mean(axis=0), theta[:2], atol=0.05)


def test_the_classifier_tells_what_differs_and_not_what_does_not() -> None:
    random = np.random.default_rng(0)
    first, same, other = random.normal(size=(3, 1500, 2))
    assert c2st(first, same, classifier="jax") == pytest.approx(0.5, abs=0.04)
    # Two normals 1.5 sd apart are told apart by Phi(0.75) at best.
    moved = other + np.array([1.5, 0.0])
    assert c2st(first, moved, classifier="jax") == pytest.approx(0.7734, abs=0.03)


def test_missing_references_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a table of numbers"):
        read_reference(tmp_path)
    with pytest.raises(InputError, match="expected folders of"):
        bench(seed=0, out=None, arguments=("--reference", str(tmp_path)))
