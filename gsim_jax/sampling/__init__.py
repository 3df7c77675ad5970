"""Random draws by inverse CDF: one 32-bit word in, one draw out, no loop of unknown length.

Every draw is a function of words (``binomial_from_bits(bits, n, p)``) and, for hand-written
simulators, of a JAX key (``binomial(key, n, p)``). ``LAWS`` tells the rest of the package
what each law takes, and its log density or mass. Parameters out of range give NaN, or
``INVALID`` for integer laws, and never an error or a hang: inside jit, failure is data.
"""

from __future__ import annotations

from ._categories import (
    categorical_from_bits,
    multinomial_from_bits,
)
from ._counts import (
    bernoulli_from_bits,
    binomial_from_bits,
    geometric_from_bits,
    hypergeometric_from_bits,
    poisson_from_bits,
)
from ._draws import (
    bernoulli,
    beta,
    beta_binomial,
    binomial,
    categorical,
    exponential,
    gamma,
    geometric,
    hypergeometric,
    lognormal,
    multinomial,
    negative_binomial,
    normal,
    poisson,
    split,
    uniform,
    weibull,
)
from ._laws import LAWS, Law
from ._overdispersed import (
    beta_binomial_from_bits,
    negative_binomial_from_bits,
)
from ._reals import (
    beta_from_bits,
    exponential_from_bits,
    gamma_from_bits,
    lognormal_from_bits,
    normal_from_bits,
    uniform_from_bits,
    weibull_from_bits,
)
from ._tails import INVALID

__all__ = [
    "INVALID",
    "LAWS",
    "Law",
    "bernoulli",
    "bernoulli_from_bits",
    "beta",
    "beta_binomial",
    "beta_binomial_from_bits",
    "beta_from_bits",
    "binomial",
    "binomial_from_bits",
    "categorical",
    "categorical_from_bits",
    "exponential",
    "exponential_from_bits",
    "gamma",
    "gamma_from_bits",
    "geometric",
    "geometric_from_bits",
    "hypergeometric",
    "hypergeometric_from_bits",
    "lognormal",
    "lognormal_from_bits",
    "multinomial",
    "multinomial_from_bits",
    "negative_binomial",
    "negative_binomial_from_bits",
    "normal",
    "normal_from_bits",
    "poisson",
    "poisson_from_bits",
    "split",
    "uniform",
    "uniform_from_bits",
    "weibull",
    "weibull_from_bits",
]
