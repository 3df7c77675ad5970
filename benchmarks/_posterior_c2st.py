"""Classifier two-sample test: how well a small network tells two samples apart; 0.5 is not at all.

As the simulation-based inference benchmark has it (Lopez-Paz and Oquab 2017; Lueckmann et al.
2021): samples z-scored by the reference, two hidden layers of 10 d units, Adam at 1e-3 with
batches of 200 and a penalty of 1e-4, stopped when the training loss has not fallen by 1e-4 in ten
epochs, accuracy over five folds. scikit-learn's classifier where it is installed; the same in JAX,
which is several times as fast, where it is not or where that is asked for.
"""

from __future__ import annotations

import importlib.util
import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

FOLDS = 5
_BATCH, _PENALTY, _TOLERANCE, _PATIENCE = 200, 1e-4, 1e-4, 10
#: scikit-learn's loop has no end to speak of; this one ends.
_EPOCHS = 400


def available() -> str:
    """The classifier that `c2st` takes by itself."""
    return "sklearn" if importlib.util.find_spec("sklearn") else "jax"


def c2st(drawn: Any, reference: Any, seed: int = 1, classifier: str = "auto") -> float:
    """Mean accuracy over five folds.

    Args:
        drawn: float[n, d], draws to judge.
        reference: float[m, d], draws from the true posterior; the same number is best.
        seed: folds and networks.
        classifier: "sklearn", "jax", or "auto" for the first that is there.
    """
    reference = np.asarray(reference, float)
    mean, scale = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    both = np.concatenate([(np.asarray(drawn, float) - mean) / scale, (reference - mean) / scale])
    label = np.concatenate([np.zeros(len(drawn)), np.ones(len(reference))])
    kind = available() if classifier == "auto" else classifier
    if kind == "sklearn":
        return _sklearn(both, label, seed)
    return _jax(both.astype(np.float32), label.astype(np.float32), seed)


def _sklearn(both: np.ndarray, label: np.ndarray, seed: int) -> float:
    from sklearn.model_selection import (  # pyright: ignore[reportMissingImports]
        KFold,
        cross_val_score,
    )
    from sklearn.neural_network import (  # pyright: ignore[reportMissingImports]
        MLPClassifier,
    )

    units = 10 * both.shape[1]
    network = MLPClassifier(
        activation="relu", hidden_layer_sizes=(units, units), max_iter=10_000, solver="adam",
        random_state=seed,
    )  # fmt: skip
    folds = KFold(n_splits=FOLDS, shuffle=True, random_state=seed)
    return float(np.mean(cross_val_score(network, both, label, cv=folds, scoring="accuracy")))


def _jax(both: np.ndarray, label: np.ndarray, seed: int) -> float:
    random = np.random.default_rng(seed)
    order = random.permutation(len(both))
    size = len(both) // FOLDS
    scores = []
    for fold in range(FOLDS):
        held = order[fold * size : (fold + 1) * size]
        rest = np.concatenate([order[: fold * size], order[(fold + 1) * size : FOLDS * size]])
        units = 10 * both.shape[1]
        sizes = (both.shape[1], units, units, 1)
        network = [
            (_glorot(random, a, b), np.zeros(b, np.float32)) for a, b in itertools.pairwise(sizes)
        ]
        right = _fold(
            network, both[rest], label[rest], both[held], label[held], jax.random.key(seed + fold)
        )
        scores.append(float(right))
    return float(np.mean(scores))


def _glorot(random: np.random.Generator, a: int, b: int) -> np.ndarray:
    bound = np.sqrt(6.0 / (a + b))
    return random.uniform(-bound, bound, (a, b)).astype(np.float32)


def _logit(network: Any, x: jax.Array) -> jax.Array:
    for weight, bias in network[:-1]:
        x = jax.nn.relu(x @ weight + bias[None])
    weight, bias = network[-1]
    return (x @ weight + bias[None])[:, 0]


def _loss(network: Any, x: jax.Array, label: jax.Array) -> jax.Array:
    data = jnp.mean(optax.sigmoid_binary_cross_entropy(_logit(network, x), label))
    return data + 0.5 * _PENALTY * sum(jnp.sum(w**2) for w, _ in network) / len(x)


@partial(jax.jit)
def _fold(
    network: Any, x: jax.Array, label: jax.Array, held: jax.Array, truth: jax.Array, key: jax.Array
) -> jax.Array:
    """Trains on one part, and gives the share of the other that is told right."""
    adam = optax.adam(1e-3)
    steps = len(x) // _BATCH

    def step(carry: Any, rows: jax.Array) -> Any:
        network, moments = carry
        loss, gradient = jax.value_and_grad(_loss)(network, x[rows], label[rows])
        change, moments = adam.update(gradient, moments, network)
        return (optax.apply_updates(network, change), moments), loss

    def epoch(state: Any) -> Any:
        network, moments, best, since, number = state
        rows = jax.random.permutation(jax.random.fold_in(key, number), len(x))
        rows = jnp.reshape(rows[: steps * _BATCH], (steps, _BATCH))
        (network, moments), losses = jax.lax.scan(step, (network, moments), rows)
        loss = jnp.mean(losses)
        since = jnp.where(loss > best - _TOLERANCE, since + 1, 0)
        return network, moments, jnp.minimum(best, loss), since, number + 1

    def going(state: Any) -> jax.Array:
        return (state[3] <= _PATIENCE) & (state[4] < _EPOCHS)

    start = (network, adam.init(network), jnp.float32(jnp.inf), jnp.int32(0), jnp.int32(0))
    network, *_ = jax.lax.while_loop(going, epoch, start)
    return jnp.mean((_logit(network, held) > 0) == (truth > 0.5))
