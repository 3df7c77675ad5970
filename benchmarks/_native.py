"""A truth's functions run as they are: no sandbox, no document, for comparison with the program.

Only for the files of this repository: this executes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.sampling import LAWS
from gsim_jax.simulator import template
from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.native import NativeSimulator, from_functions
from gsim_jax.task import Schema


class _Words:
    """The draws of a file as functions of words: which ones, by function and order of the call."""

    def __init__(self) -> None:
        self._function, self._ordinal = "", 0
        self._source: WordSource | None = None

    def enter(self, function: str, source: WordSource) -> None:
        """Draws that follow are those of `function`."""
        self._function, self._ordinal, self._source = function, 0, source

    def draws(self) -> dict[str, Any]:
        """Every draw by name, `split` included; their keys say nothing."""

        def split(key: Any, n: int = 2) -> list[Any]:
            return [key] * n

        return {"split": split, **{law: self._drawing(law) for law in LAWS}}

    def _drawing(self, name: str) -> Callable[..., jax.Array]:
        law = LAWS[name]
        defaults = {"normal": (0.0, 1.0), "uniform": (0.0, 1.0)}.get(name, ())

        def draw(key: Any, *arguments: Any, shape: tuple[int, ...] | None = None) -> jax.Array:
            del key
            assert self._source is not None
            given = [jnp.asarray(a) for a in arguments or defaults]
            batch = law.batch_shape(*given) if shape is None else shape
            count = law.words_per_draw(*given)
            bits = self._source(self._function, self._ordinal, batch, count, np.uint32(0))
            self._ordinal += 1
            return law.from_bits(bits.reshape(law.bits_shape(batch, *given)), *given)

        return draw


class _Native(NativeSimulator):
    """Functions whose draws take their words directly, as those of a program do."""

    keyed = False

    def attach(self, words: _Words) -> None:
        """Uses these words in place of keys."""
        self._words = words

    def _key(self, function: str, words: WordSource) -> Any:
        # No key: the draws are told where their words come from.
        self._words.enter(function, words)


def native_words(path: Path, schema: Schema) -> NativeSimulator:
    """The file's functions with the library's draws, on the very words of the program."""
    words = _Words()
    given = _executed(path, words.draws())
    native = _Native(schema, _parameters(given), given["SUBMODULES"], given["couple"])
    native.attach(words)
    return native


def native_keys(path: Path, schema: Schema, draws: dict[str, Any]) -> NativeSimulator:
    """The file's functions with other draws on real JAX keys, such as those of jax.random."""
    given = _executed(path, {"split": jax.random.split, **draws})
    return from_functions(schema, _parameters(given), given["SUBMODULES"], given["couple"])


def _executed(path: Path, draws: dict[str, Any]) -> dict[str, Any]:
    names = template.namespace() | draws
    names["__builtins__"] = __builtins__
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return names


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    return given["PARAMS"]
