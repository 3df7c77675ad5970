"""Starts the warm process: run as a script by a fresh interpreter, never imported.

Usage: `_boot.py DESCRIPTOR PATHS`, a control socket and a JSON list of folders to import from.

The package's own `__init__` files export everything to users and so import everything: tables,
plots, samplers, some of which start threads, and a process with threads cannot fork safely. Here
they run only if a module of the tracer asks for a name that no submodule has.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types

_PACKAGES = ("gsim_jax", "gsim_jax.task", "gsim_jax.simulator")


class _Package(types.ModuleType):
    """A package whose `__init__` waits until one of its names is wanted."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        if self.__spec__ is not None and self.__spec__.loader is not None:
            self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _defer(name: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"no package {name} in {sys.path}")
    package = _Package(name)
    package.__spec__, package.__loader__ = spec, spec.loader
    package.__path__ = spec.submodule_search_locations
    package.__package__, package.__file__ = name, spec.origin
    sys.modules[name] = package
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, package)


if __name__ == "__main__":
    sys.path += json.loads(sys.argv[2])
    # Plugins for accelerators would load gigabytes of libraries and look for devices.
    sys.modules["jax_plugins"] = None  # type: ignore[assignment]
    for each in _PACKAGES:
        _defer(each)
    importlib.import_module("gsim_jax.simulator._worker").main(int(sys.argv[1]))
