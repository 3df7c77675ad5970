"""Neural posterior estimation by the sbi package, as its users write it; run as a script.

    python benchmarks/_sbi_rival.py IN.npz OUT.npz

IN: theta[N, d], x[N, k], low[d] and high[d] of a uniform prior or loc[d] and scale[d] of a
(log)normal one, observed[K, k], kind, model, seed, draws. OUT: draws[K, n, d], train_s, sample_s.
It stands alone: the interpreter that has sbi need not have gsim_jax.
"""

from __future__ import annotations

import sys
import time

import numpy as np


def main(source: str, target: str) -> None:
    """Trains and draws."""
    import torch  # pyright: ignore[reportMissingImports]
    from sbi.inference import NPE  # pyright: ignore[reportMissingImports]

    given = np.load(source)
    torch.manual_seed(int(given["seed"]))
    prior = _prior(given, torch)
    begun = time.perf_counter()
    inference = NPE(prior=prior, density_estimator=str(given["model"]))
    inference.append_simulations(torch.tensor(given["theta"]), torch.tensor(given["x"])).train()
    posterior = inference.build_posterior()
    trained = time.perf_counter()
    draws = [
        posterior.sample((int(given["draws"]),), x=torch.tensor(x), show_progress_bars=False)
        for x in given["observed"]
    ]
    sampled = time.perf_counter()
    np.savez(
        target,
        draws=np.stack([d.numpy() for d in draws]),
        train_s=trained - begun,
        sample_s=(sampled - trained) / len(draws),
    )


def _prior(given: np.lib.npyio.NpzFile, torch: object) -> object:
    distributions, tensor = torch.distributions, torch.tensor  # pyright: ignore
    if str(given["kind"]) == "Uniform":
        from sbi.utils import BoxUniform  # pyright: ignore[reportMissingImports]

        return BoxUniform(tensor(given["low"]), tensor(given["high"]))
    if str(given["kind"]) == "MultivariateNormal":
        return distributions.MultivariateNormal(
            tensor(given["loc"]), scale_tril=tensor(given["scale_tril"])
        )
    base = getattr(distributions, str(given["kind"]))
    return distributions.Independent(base(tensor(given["loc"]), tensor(given["scale"])), 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
