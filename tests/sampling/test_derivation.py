"""The coefficients in the package are those that tools/derive_quantiles.py derives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.sampling import _tables

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "derive_quantiles.py"


@pytest.fixture(scope="module")
def derive():
    pytest.importorskip("sympy", reason="the derivation needs the development extra")
    spec = importlib.util.spec_from_file_location("derive_quantiles", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _equal(committed: dict, derived: dict) -> None:
    assert set(committed) == set(derived)
    for key, value in derived.items():
        np.testing.assert_allclose(committed[key], float(value), rtol=1e-9, err_msg=str(key))


def test_orders_one_to_four_are_exact(derive):
    exact = derive.cornish_fisher(4)
    assert len(exact) == 21
    for table in (_tables.LATTICE, _tables.OVERDISPERSED):
        _equal({k: v for k, v in table.items() if k[0] <= 4}, exact)


def test_the_general_expansion_is_exact(derive):
    _equal(_tables.GENERAL, derive.general_cornish_fisher())


def test_the_general_expansion_contains_the_families(derive):
    # With the binomial's cumulants in place of c3 to c6 one expansion is the other.
    general, family = derive.general_cornish_fisher(), derive.cornish_fisher(4)
    v, d, w = 0.16, 0.6, 1.7  # d^2 = 1 - 4 v
    c = [d, 1 - 6 * v, d * (1 - 12 * v), 1 - 30 * v + 120 * v * v]
    for n in range(1, 5):
        left = sum(
            float(x) * w**a * np.prod([c[i] ** e for i, e in enumerate(powers)])
            for (order, a, *powers), x in general.items()
            if order == n
        )
        right = sum(
            float(x) * w**a * v**b * d ** (n % 2)
            for (order, a, b), x in family.items()
            if order == n
        )
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_textbook_terms_appear(derive):
    # Cornish and Fisher: skewness (w^2 - 1) / 6; Sheppard: -w / 24 at the next order.
    general = derive.general_cornish_fisher()
    assert float(general[1, 2, 1, 0, 0, 0]) == pytest.approx(1 / 6)
    assert float(general[2, 3, 0, 1, 0, 0]) == pytest.approx(1 / 24)
    assert float(general[2, 1, 0, 0, 0, 0]) == pytest.approx(-1 / 24)


def test_cumulants_of_the_hypergeometric_are_those_in_use(derive):
    third, fourth, fifth, sixth = derive.hypergeometric_cumulants()
    a, b = third.ring.gens
    skew, first, second = (1 - 2 * a) * (1 - 2 * b), a * (1 - a), b * (1 - b)
    both, product = first + second, first * second
    assert third == skew
    assert fourth == 1 - 6 * both + 30 * product
    assert fifth == skew * (1 - 12 * both + 84 * product)
    squares = first**2 + second**2
    assert sixth == 1 - 30 * both + 120 * squares + product * (510 - 1680 * both + 5040 * product)


@pytest.mark.slow
def test_every_committed_number_is_what_the_script_derives(derive):
    namespace: dict = {}
    exec(derive.render(derive.tables()), namespace)
    for name in [n for n in vars(_tables) if n.isupper()]:
        committed, derived = getattr(_tables, name), namespace[name]
        if isinstance(committed, dict):
            assert set(committed) == set(derived)
            committed, derived = (list(t.values()) for t in (committed, derived))
        # Fits go through LAPACK, whose last digits depend on the machine.
        np.testing.assert_allclose(committed, derived, rtol=1e-5, atol=1e-9, err_msg=name)
