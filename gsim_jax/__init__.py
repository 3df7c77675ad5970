"""gsim_jax: simulators found from words and data, calibrated and swept in JAX."""
