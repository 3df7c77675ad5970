"""Random draws by inverse CDF: one 32-bit word in, one draw out, no loop of unknown length.

Every draw is a function of words (``binomial_from_bits(bits, n, p)``) and, for hand-written
simulators, of a JAX key (``binomial(key, n, p)``). ``LAWS`` tells the rest of the package
what each law takes. Parameters out of range give NaN, or ``INVALID`` for integer laws, and
never an error or a hang: inside jit, failure is data.
"""

from __future__ import annotations

from ._counts import (
    bernoulli_from_bits,
    binomial_from_bits,
    categorical_from_bits,
    poisson_from_bits,
)
from ._draws import (
    bernoulli,
    binomial,
    categorical,
    exponential,
    normal,
    poisson,
    split,
    uniform,
)
from ._laws import LAWS, Law
from ._reals import exponential_from_bits, normal_from_bits, uniform_from_bits
from ._tails import INVALID

__all__ = [
    "INVALID",
    "LAWS",
    "Law",
    "bernoulli",
    "bernoulli_from_bits",
    "binomial",
    "binomial_from_bits",
    "categorical",
    "categorical_from_bits",
    "exponential",
    "exponential_from_bits",
    "normal",
    "normal_from_bits",
    "poisson",
    "poisson_from_bits",
    "split",
    "uniform",
    "uniform_from_bits",
]
