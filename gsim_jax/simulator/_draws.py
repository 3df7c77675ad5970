"""Child side: draws and keys as symbols. Nothing is drawn here.

A draw binds a primitive that knows only the shape of its result; the document keeps its law and its
arguments, and the words come from whoever runs the program. Keys are symbols as well: they say
nothing but "here is randomness", and no trace of them reaches the document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive

from gsim_jax.sampling import LAWS

#: Arguments that are whole numbers; all others are float32.
WHOLE = {
    "binomial": ("n",),
    "beta_binomial": ("n",),
    "multinomial": ("n",),
    "hypergeometric": ("good", "bad", "n"),
}
_DEFAULTS = {
    "uniform": {"low": 0.0, "high": 1.0},
    "normal": {"mean": 0.0, "sd": 1.0},
}
_KEY = ((2,), "uint32")


class DrawError(ValueError):
    """A draw was called with arguments that it does not take."""


draw_p = Primitive("gsim_draw")
split_p = Primitive("gsim_split")


def result_shape(law: str, shape: tuple[int, ...], last: Sequence[int]) -> tuple[int, ...]:
    """Shape of a draw of batch shape `shape`, given the shape of the law's last argument."""
    return (*shape, last[-1]) if LAWS[law].words == 0 else shape


def _draw_shape(*arguments: Any, law: str, shape: tuple[int, ...]) -> Any:
    dtype = jnp.dtype(LAWS[law].dtype)
    return ShapedArray(result_shape(law, shape, arguments[-1].shape), dtype)


def _split_shape(key: Any, *, n: int) -> Any:
    return ShapedArray((n, 2), jnp.dtype("uint32"))


draw_p.def_abstract_eval(_draw_shape)
split_p.def_abstract_eval(_split_shape)


def _check_key(name: str, key: Any) -> None:
    if (jnp.shape(key), str(getattr(key, "dtype", ""))) == _KEY:
        return
    got = f"an array of shape {jnp.shape(key)}" if hasattr(key, "dtype") else repr(key)[:40]
    raise DrawError(
        f"{name}: the first argument must be one key, `key` itself or an entry of "
        f"split(key, n); got {got}"
    )


def split(key: Any, n: int = 2) -> Any:
    """`n` keys from one: an array [n, 2] to be indexed, unpacked or scanned over."""
    _check_key("split", key)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= 100_000:
        raise DrawError(f"split: n must be an integer from 1 to 100000, known when traced; got {n}")
    return split_p.bind(key, n=int(n))


def _cast(law: str, name: str, value: Any) -> jax.Array:
    array = jnp.asarray(value)
    whole = name in WHOLE.get(law, ())
    if whole and jnp.issubdtype(array.dtype, jnp.floating):
        raise DrawError(
            f"{law}: {name} must be whole (int32); got float32. "
            f"Round it first, e.g. jnp.floor(x).astype(jnp.int32)"
        )
    return array.astype(jnp.int32 if whole else jnp.float32)


def _batch(law: str, shape: Any, arrays: Sequence[jax.Array]) -> tuple[int, ...]:
    shapes = [a.shape for a in arrays]
    if LAWS[law].event:
        if not shapes[-1]:
            raise DrawError(f"{law}: {LAWS[law].arguments[-1]} needs an axis of categories")
        shapes[-1] = shapes[-1][:-1]
    try:
        batch = np.broadcast_shapes(*shapes)
    except ValueError:
        found = ", ".join(map(str, shapes))
        raise DrawError(f"{law}: arguments of shapes {found} do not broadcast") from None
    if shape is None:
        return batch
    wanted = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    wanted = tuple(int(length) for length in wanted)
    try:
        fits = np.broadcast_shapes(batch, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise DrawError(f"{law}: arguments of shape {batch} do not broadcast to shape={wanted}")
    return wanted


def _arguments(law: str, given: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    names = LAWS[law].arguments
    call = f"{law}(key, {', '.join(names)}, shape=None)"
    if len(given) > len(names) or any(name not in names for name in named):
        raise DrawError(f"expected {call}; got {len(given)} arguments and {sorted(named)}")
    values = dict(zip(names, given, strict=False))
    if twice := sorted(set(values) & set(named)):
        raise DrawError(f"{law}: {twice[0]} is given twice; expected {call}")
    values = {**_DEFAULTS.get(law, {}), **values, **named}
    if missing := [name for name in names if name not in values]:
        raise DrawError(f"{law}: {', '.join(missing)} is missing; expected {call}")
    return [values[name] for name in names]


def _drawing(law: str) -> Callable[..., jax.Array]:
    names = LAWS[law].arguments

    def draw(key: Any, *arguments: Any, shape: Any = None, **named: Any) -> jax.Array:
        _check_key(law, key)
        if len(arguments) == len(names) + 1 and shape is None:
            arguments, shape = arguments[:-1], arguments[-1]
        values = _arguments(law, arguments, named)
        arrays = [_cast(law, n, v) for n, v in zip(names, values, strict=True)]
        return draw_p.bind(*arrays, law=law, shape=_batch(law, shape, arrays))

    draw.__name__ = draw.__qualname__ = law
    draw.__doc__ = f"{law}(key, {', '.join(names)}, shape=None)"
    return draw


#: Draws by name, as a simulator file calls them.
DRAWS: dict[str, Callable[..., jax.Array]] = {law: _drawing(law) for law in LAWS}
