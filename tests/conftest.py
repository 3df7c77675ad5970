"""What all tests share: the CPU, no silent broadcasting, and properties without deadlines."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before anything imports jax

import jax
from hypothesis import HealthCheck, settings

# Adding a [n] to an [m, n] is a bug more often than a wish: say broadcast_to or [None, :].
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example of a property may compile; its time says nothing.
settings.register_profile(
    "gsim", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gsim")
