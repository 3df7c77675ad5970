"""The table of laws: everything that the rest of the package needs to know about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from . import _categories, _counts, _densities, _overdispersed, _reals


@dataclass(frozen=True)
class Law:
    """One law of random draws.

    Attributes:
        name: name in programs, such as "binomial".
        arguments: names of its parameters, in order.
        words: 32-bit words that one draw takes. 0 means one word per category, the length
            of the last axis of the last argument (multinomial).
        dtype: "int32" or "float32".
        event: trailing dimensions of the last argument that belong to the law (1 for
            categorical and multinomial), not to the batch.
        from_bits: ``(bits, *arguments) -> draws``. ``bits`` is uint32[*shape], with a
            trailing axis of words where a draw takes other than one.
        log_prob: ``(value, *arguments) -> float32`` log density or log mass.
        coupled: whether the draw is monotone in each of its words, so that equal words at
            neighbouring parameters give neighbouring draws.
    """

    name: str
    arguments: tuple[str, ...]
    words: int
    dtype: str
    event: int
    from_bits: Callable[..., jax.Array]
    log_prob: Callable[..., jax.Array]
    coupled: bool

    def words_per_draw(self, *arguments: jax.Array) -> int:
        """Words that one draw takes with these arguments."""
        return self.words if self.words else int(jnp.shape(arguments[-1])[-1])

    def batch_shape(self, *arguments: jax.Array) -> tuple[int, ...]:
        """Shape of the draws that the arguments broadcast to, without event dimensions."""
        shapes = [jnp.shape(a) for a in arguments]
        if self.event:
            shapes[-1] = shapes[-1][: -self.event]
        return np.broadcast_shapes(*shapes)

    def bits_shape(self, shape: tuple[int, ...], *arguments: jax.Array) -> tuple[int, ...]:
        """Shape of the words that draws of batch shape ``shape`` take."""
        count = self.words_per_draw(*arguments)
        return shape if self.words == 1 else (*shape, count)


def _table(*laws: Law) -> dict[str, Law]:
    return {law.name: law for law in laws}


LAWS: dict[str, Law] = _table(
    Law("bernoulli", ("p",), 1, "int32", 0,
        _counts.bernoulli_from_bits, _densities.bernoulli_log_prob, True),
    Law("binomial", ("n", "p"), 1, "int32", 0,
        _counts.binomial_from_bits, _densities.binomial_log_prob, True),
    Law("poisson", ("rate",), 1, "int32", 0,
        _counts.poisson_from_bits, _densities.poisson_log_prob, True),
    Law("negative_binomial", ("mean", "dispersion"), 1, "int32", 0,
        _overdispersed.negative_binomial_from_bits, _densities.negative_binomial_log_prob, True),
    Law("beta_binomial", ("n", "p", "concentration"), 3, "int32", 0,
        _overdispersed.beta_binomial_from_bits, _densities.beta_binomial_log_prob, True),
    Law("geometric", ("p",), 1, "int32", 0,
        _counts.geometric_from_bits, _densities.geometric_log_prob, True),
    Law("hypergeometric", ("good", "bad", "n"), 1, "int32", 0,
        _counts.hypergeometric_from_bits, _densities.hypergeometric_log_prob, True),
    Law("categorical", ("probs",), 1, "int32", 1,
        _categories.categorical_from_bits, _densities.categorical_log_prob, True),
    Law("multinomial", ("n", "probs"), 0, "int32", 1,
        _categories.multinomial_from_bits, _densities.multinomial_log_prob, True),
    Law("uniform", ("low", "high"), 1, "float32", 0,
        _reals.uniform_from_bits, _densities.uniform_log_prob, True),
    Law("normal", ("mean", "sd"), 1, "float32", 0,
        _reals.normal_from_bits, _densities.normal_log_prob, True),
    Law("lognormal", ("mu", "sigma"), 1, "float32", 0,
        _reals.lognormal_from_bits, _densities.lognormal_log_prob, True),
    Law("exponential", ("rate",), 1, "float32", 0,
        _reals.exponential_from_bits, _densities.exponential_log_prob, True),
    Law("gamma", ("shape", "rate"), 1, "float32", 0,
        _reals.gamma_from_bits, _densities.gamma_log_prob, True),
    Law("beta", ("a", "b"), 2, "float32", 0,
        _reals.beta_from_bits, _densities.beta_log_prob, True),
    Law("weibull", ("shape", "scale"), 1, "float32", 0,
        _reals.weibull_from_bits, _densities.weibull_log_prob, True),
)  # fmt: skip
"""Every law by name."""
