"""`jax.jit` for code that runs along many lanes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

#: LLVM prefers 256-bit vectors even where a CPU has 512-bit ones, because other code then runs at
#: a lower clock. Simulation is long runs of float arithmetic: a chain-binomial SIR takes 1.8 times
#: as long without this. CPUs without such vectors take no notice.
CPU_OPTIONS = {"xla_cpu_prefer_vector_width": 512}


def lanes_jit(
    function: Callable[..., Any], cpu_options: Mapping[str, Any] = CPU_OPTIONS, **options: Any
) -> Any:
    """`jax.jit` with the compiler options that suit the default backend.

    The backend is looked at when the function is first called or lowered, so that importing a
    module starts none. Not for functions that are called under another `jit`: JAX takes compiler
    options at the top level only.

    Args:
        function: what to compile.
        cpu_options: compiler options where the default backend is that of CPUs.
        **options: those of `jax.jit`.

    Returns:
        A function with the methods of jitted ones.
    """
    return functools.update_wrapper(_LanesJit(function, cpu_options, options), function)


class _LanesJit:
    def __init__(
        self,
        function: Callable[..., Any],
        cpu_options: Mapping[str, Any],
        options: dict[str, Any],
    ) -> None:
        self._function, self._cpu_options, self._options = function, cpu_options, options

    @functools.cached_property
    def _jitted(self) -> Any:
        suited = dict(self._cpu_options) if jax.default_backend() == "cpu" else None
        return jax.jit(self._function, compiler_options=suited, **self._options)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._jitted(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_function", "_cpu_options", "_options"):
            raise AttributeError(name)
        return getattr(self._jitted, name)
