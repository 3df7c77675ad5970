"""Posteriors as NetCDF files: draws as ArviZ reads them, the networks in a group of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import xarray as xr
from jax.flatten_util import ravel_pytree

from gsim_jax.calibrate.coordinates import coordinates_of
from gsim_jax.calibrate.network import Architecture, Network
from gsim_jax.calibrate.posterior import Info, Posterior
from gsim_jax.calibrate.train import Estimator
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.task import InputError, Problem

#: The group of the file that holds the networks.
GROUP = "neural_posterior"
VERSION = 1


def inference_data(posterior: Posterior, n: int, key: jax.Array) -> Any:
    """Draws, their log density where there is one, and the observation.

    Args:
        posterior: of one observation or several; several stand along `observation`.
        n: number of draws.
        key: of the draws.

    Returns:
        `arviz.InferenceData` with one chain.
    """
    import arviz as az

    theta = np.asarray(posterior.sample(key, n))
    several = theta.ndim == 3
    # ArviZ wants chain and draw first.
    theta = np.moveaxis(theta, 0, 1) if several else theta
    dims = ("chain", "draw", *(("observation",) if several else ()))
    named = {label: (dims, theta[None, ..., i]) for i, label in enumerate(posterior.labels)}
    coords = {"chain": [0], "draw": np.arange(n)}
    observed = np.asarray(posterior.observed)
    axes = [f"x_dim_{i}" for i in range(observed.ndim - several)]
    shown = {"x": ((("observation",) if several else ()) + tuple(axes), observed)}
    return az.InferenceData(
        posterior=xr.Dataset(named, coords=coords, attrs={"inference_library": "gsim_jax"}),
        observed_data=xr.Dataset(shown),
    )


def save(posterior: Posterior, path: Path, n: int, key: jax.Array) -> Path:
    """See `Posterior.save`."""
    draws = inference_data(posterior, n, key)
    fixed, _ = ravel_pytree(posterior.fixed)
    numbers = {
        "weights": (("network", "weight"), np.asarray(posterior.weights)),
        "fixed": (("number",), np.asarray(fixed)),
        "observed": (
            tuple(f"x_{i}" for i in range(posterior.observed.ndim)),
            np.asarray(posterior.observed),
        ),
    }
    if posterior.box is not None:
        numbers["box"] = (("side", "coordinate"), np.asarray(posterior.box))
    description = {
        "version": VERSION,
        "prior": describe(posterior.coordinates.source),
        "plan": posterior.estimator.plan.to_json(),
        "info": vars(posterior.info),
    }
    networks = xr.Dataset(numbers, attrs={"description": json.dumps(description)})
    draws.to_netcdf(str(path), engine="h5netcdf")
    networks.to_netcdf(str(path), mode="a", group=GROUP, engine="h5netcdf")
    return path


def load(path: Path, prior: Any = None) -> Posterior:
    """See `Posterior.load`."""
    try:
        with xr.open_dataset(path, group=GROUP, engine="h5netcdf") as found:
            networks = found.load()
        description = json.loads(networks.attrs["description"])
    except (OSError, KeyError, ValueError) as error:
        text = f"expected a NetCDF file that Posterior.save wrote; {error}"
        raise InputError((Problem("unreadable", text, file=str(path)),)) from error
    if description.get("version") != VERSION:
        text = f"expected version {VERSION} of the file; got {description.get('version')}"
        raise InputError((Problem("version", text, file=str(path)),))
    if prior is None and description["prior"] is None:
        text = "prior: expected the prior of the fit; its kind could not be stored in the file"
        raise InputError((Problem("prior", text, file=str(path)),))
    plan = Architecture.from_json(description["plan"])
    estimator, flat, fixed = Estimator.of(plan, Network(plan, 0))
    ravelled, back = ravel_pytree(fixed)
    weights, numbers = networks["weights"].values, networks["fixed"].values
    if weights.shape[1:] != flat.shape or numbers.shape != ravelled.shape:
        text = (
            f"expected {flat.size} weights and {ravelled.size} fixed numbers; got "
            f"{weights.shape[1:]} and {numbers.shape}"
        )
        raise InputError((Problem("unreadable", text, file=str(path)),))
    info: dict[str, Any] = {}
    for name, value in description["info"].items():
        info[name] = tuple(value) if isinstance(value, list) else value
    return Posterior(
        coordinates_of(restore(description["prior"]) if prior is None else prior),
        estimator,
        weights,
        back(jnp.asarray(numbers)),
        networks["box"].values if "box" in networks else None,
        networks["observed"].values,
        Info(**info),
    )


def describe(prior: Any) -> dict[str, Any] | None:
    """A prior as JSON values; None where its kind has no plain description."""
    if isinstance(prior, ParameterSpace):
        return {"space": _groups(prior)}
    if isinstance(prior, dist.Independent):
        base = describe(prior.base_dist)
        return base and {"independent": base, "axes": prior.reinterpreted_batch_ndims}
    if isinstance(prior, dist.ExpandedDistribution):
        base = describe(prior.base_dist)
        return base and {"expanded": base, "shape": list(prior.batch_shape)}
    name = type(prior).__name__
    if getattr(dist, name, None) is not type(prior) or not type(prior).arg_constraints:
        return None
    arguments = {}
    for argument in type(prior).arg_constraints:
        value = getattr(prior, argument, None)
        if value is None or not np.issubdtype(np.asarray(value).dtype, np.number):
            return None
        arguments[argument] = np.asarray(value).tolist()
    if name == "MultivariateNormal":  # three ways to say the same: one is enough
        arguments = {k: arguments[k] for k in ("loc", "scale_tril")}
    return {"name": name, "arguments": arguments}


def restore(found: dict[str, Any]) -> Any:
    """The prior of a description.

    Raises:
        InputError: a name that is no distribution of numpyro.
    """
    if "space" in found:
        return ParameterSpace.from_json(found["space"])
    if "independent" in found:
        return dist.Independent(restore(found["independent"]), found["axes"])
    if "expanded" in found:
        return restore(found["expanded"]).expand(tuple(found["shape"]))
    kind = getattr(dist, str(found["name"]), None)
    if not (isinstance(kind, type) and issubclass(kind, dist.Distribution)):
        text = f"expected a distribution of numpyro; got {found['name']!r}"
        raise InputError((Problem("prior", text),))
    return kind(**{k: jnp.asarray(v, jnp.float32) for k, v in found["arguments"].items()})


def _groups(space: ParameterSpace) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for entry in space.entries:
        groups.setdefault(entry.group, {})[entry.name] = {
            "prior": entry.prior,
            "arguments": {k: np.asarray(v).tolist() for k, v in entry.arguments.items()},
            "guess": np.asarray(entry.guess).tolist(),
            "shape": list(entry.shape),
            "unit": entry.unit,
            "doc": entry.doc,
        }
    return groups
