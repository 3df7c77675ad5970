"""The boundary: model-written Python runs in a confined child and one JSON document comes back.

    with Sandbox() as sandbox:
        document = sandbox.trace(source, task.schema.signature())

A warm process that has imported JAX forks one child per program. The child has an empty
environment, no descriptors but two pipes, no network, no writing, nothing to read but Python's own
packages, limits on memory, processor time, output and wall time, and nothing of it outlives the
call. Which layers hold on this machine is found out, not assumed: see `Sandbox.status`. The
document is as hostile as the program that made it; `Program.from_document` judges it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gsim_jax.simulator import _exchange, _jail, _reply
from gsim_jax.simulator._zygote import Zygote, module_paths
from gsim_jax.task.problems import Problem, SimulatorError

Level = Literal["namespaces", "seccomp", "walk"]
#: Levels of isolation, strongest first.
LEVELS: tuple[Level, ...] = ("namespaces", "seccomp", "walk")
#: JAX does not start in less address space than this, in bytes.
LEAST_MEMORY = 2 << 30
#: Longest source in bytes; the guard asks for the same.
MOST_SOURCE = 64 << 10
#: What the child calls: `trace_source(source, signature) -> document`.
ENTRY = "gsim_jax.simulator._trace:trace_source"
_CACHED = 128
_CLOSED = Problem("isolation", "this sandbox was closed; make another")


@dataclass(frozen=True)
class Layer:
    """One layer of isolation, as it came out on this machine.

    Attributes:
        name: "user namespace", "pid namespace", "network namespace", "ipc namespace",
            "mount namespace", "limits", "capabilities", "landlock", "seccomp"; "files" and
            "network" (what was tried from inside); "interpreter"; "cleanup" (what makes sure that
            nothing outlives a call).
        active: whether it holds.
        detail: how far, or why not.
    """

    name: str
    active: bool
    detail: str


def isolation_level(layers: Sequence[Layer]) -> Level:
    """The level that these layers amount to.

    Returns:
        "namespaces": PID and network namespaces and the system-call filter; "seccomp": the filter
        without namespaces; "walk": anything less, where what a program leaves behind is searched
        for and killed, or where files or the network were within reach.
    """
    on = {layer.name for layer in layers if layer.active}
    if not {"seccomp", "files", "network"} <= on:
        return "walk"
    return "namespaces" if {"pid namespace", "network namespace"} <= on else "seccomp"


class Sandbox:
    """Traces model-written simulator files, each in a fresh confined child.

    May be used from several threads at once. It must be closed (or used in a `with` statement);
    children and the warm process also end when this process does.
    """

    def __init__(
        self,
        *,
        wall: float = 20.0,
        cpu: float = 15.0,
        memory: int = 4 << 30,
        output: int = 1 << 20,
        require: Level | None = None,
        parallel: int = 8,
        entry: str = ENTRY,
        path: Sequence[str] = (),
        without: Collection[str] = (),
    ) -> None:
        """Starts nothing yet; the first trace, `status` or `with` starts the warm process.

        Args:
            wall: wall-clock seconds per program.
            cpu: processor seconds per program.
            memory: bytes of address space per program, 2 GiB at least (JAX needs that).
            output: longest document in bytes.
            require: refuse to run below this level; None runs at any, with a warning below
                "seccomp".
            parallel: how many programs run at once; further callers wait.
            entry: "module:function" that the child calls.
            path: further folders to import `entry` from; readable inside.
            without: layers to leave out: "namespaces", "mount", "landlock", "seccomp".

        Raises:
            ValueError: for a limit, a level or a layer that does not exist.
        """
        if memory < LEAST_MEMORY:
            raise ValueError(f"memory: expected {LEAST_MEMORY} bytes or more, got {memory}")
        if min(wall, cpu, output, parallel) <= 0:
            raise ValueError("wall, cpu, output and parallel: expected positive numbers")
        if require is not None and require not in LEVELS:
            raise ValueError(f"require: expected one of {', '.join(LEVELS)}, got {require!r}")
        if not set(without) <= set(_jail.REMOVABLE):
            raise ValueError(f"without: expected some of {', '.join(_jail.REMOVABLE)}")
        self._wall, self._output, self._require = wall, output, require
        self._cpu, self._memory, self._entry = cpu, memory, entry
        self._path, self._without = tuple(os.path.abspath(p) for p in path), sorted(without)
        self._slots = threading.BoundedSemaphore(parallel)
        self._lock = threading.Lock()
        self._zygote: Zygote | None = None
        self._end: weakref.finalize[Any, Any] | None = None
        self._closed = self._warned = False
        self._seen: OrderedDict[bytes, bytes] = OrderedDict()

    def __enter__(self) -> Sandbox:
        """Starts the warm process; it imports while the caller goes on."""
        self._warm_process()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the warm process and every child; further traces are refused."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._end is not None:
            self._end()
        self._zygote = self._end = None

    @property
    def pid(self) -> int:
        """Process number of the warm process; 0 before it was started."""
        return self._zygote.pid if self._zygote is not None else 0

    def _warm_process(self) -> Zygote:
        if sys.platform != "linux":
            words = f"the sandbox needs Linux, this is {sys.platform}; run gsim in a Linux machine"
            raise SimulatorError(Problem("isolation", words))
        with self._lock:
            if self._closed:
                raise SimulatorError(_CLOSED)
            if self._zygote is None or not self._zygote.usable:
                self._drop()
                self._zygote = self._start()
            return self._zygote

    def _start(self) -> Zygote:
        folder = tempfile.mkdtemp(prefix="gsim-sandbox-")
        os.chmod(folder, 0o500)
        paths, readable = module_paths(self._entry, self._path)
        settings = _jail.Settings(
            cpu=self._cpu,
            memory=self._memory,
            wall=self._wall + 60.0,  # the parent's clock counts; this one is for its absence
            readable=readable,
            stage=os.path.realpath(folder),
            without=self._without,
        )
        config: dict[str, Any] = {"entry": self._entry, "wall": self._wall, "output": self._output}
        config["settings"] = settings.to_json()
        try:
            zygote = Zygote(config, paths, folder)
        except OSError as error:
            os.rmdir(folder)
            raise SimulatorError(Problem("isolation", f"no child could start: {error}")) from error
        # Also at the end of a process that never closed the sandbox.
        self._end = weakref.finalize(self, _end, zygote, folder)
        return zygote

    def trace(
        self, source: str, signature: dict[str, Any], filename: str = "simulator.py"
    ) -> bytes:
        """Runs one simulator file in a child and returns the document that it sent.

        Args:
            source: text of the file.
            signature: what the program may see, as `Schema.signature` gives it.
            filename: name for messages.

        Returns:
            The document's bytes as they came, at most `output` of them: not yet validated.

        Raises:
            SimulatorError: with the program's own mistake and its line, or with the code
                "time-limit", "memory-limit", "output-limit", "crash", "reply" (it sent something
                that is no reply), "size" (source too long) or "isolation" (the required layers do
                not hold here, and nothing was run).
        """
        if len(source.encode("utf-8", "surrogatepass")) > MOST_SOURCE:
            words = f"expected at most {MOST_SOURCE} bytes of source; make it shorter"
            raise SimulatorError(Problem("size", words, file=filename))
        request = _reply.encode_request(source, signature)
        key = hashlib.sha256(request).digest()
        with self._lock:
            if key in self._seen:
                self._seen.move_to_end(key)
                return self._seen[key]
        outcome = self._converse(request)
        document = self._judge(outcome, source, filename)
        with self._lock:
            self._seen[key] = document
            while len(self._seen) > _CACHED:
                self._seen.popitem(last=False)
        return document

    def status(self) -> list[Layer]:
        """The layers that hold on this machine, found by confining a child that runs nothing.

        Raises:
            SimulatorError: when no child can be confined at all.
        """
        outcome = self._converse(b"")
        if outcome.ending != "reply":
            words = f"no child could be confined: {_why(outcome)}"
            raise SimulatorError(Problem("isolation", words))
        threads = self._zygote.threads if self._zygote is not None else 0
        return _layers(outcome.layers, threads)

    def level(self) -> Level:
        """The level of isolation that holds on this machine."""
        return isolation_level(self.status())

    def demand(self) -> None:
        """Refuses at once where the required level does not hold; nothing without one.

        Raises:
            SimulatorError: with the code "isolation" and what is missing.
        """
        if self._require is not None:
            self._accept(self.status())

    def _converse(self, request: bytes) -> _exchange.Outcome:
        def accept(found: list[tuple[str, bool, str]]) -> None:
            if request:
                self._accept(_layers(found, 1))

        with self._slots:
            for attempt in (1, 2):
                zygote = self._warm_process()
                try:
                    zygote.wait_until_warm()
                    limits = {"wall": self._wall, "output": self._output}
                    outcome = _exchange.converse(zygote, request, **limits, accept=accept)
                except (RuntimeError, TimeoutError) as error:
                    raise SimulatorError(Problem("isolation", str(error))) from error
                except OSError:
                    if attempt == 2:
                        raise
                    continue  # the warm process was killed from outside: start another
                with self._lock:
                    if self._closed and not outcome.kind:  # its end is our doing, not its own
                        raise SimulatorError(_CLOSED)
                    if not outcome.end:  # no word that the child is gone: end everything
                        self._drop()
                return outcome
        raise AssertionError("unreachable")

    def _accept(self, layers: list[Layer]) -> None:
        level = isolation_level(layers)
        missing = "; ".join(f"{x.name}: {x.detail}" for x in layers if not x.active)
        if self._require is not None and LEVELS.index(level) > LEVELS.index(self._require):
            words = f"isolation {self._require!r} is required, {level!r} holds here ({missing})"
            raise SimulatorError(Problem("isolation", words))
        if level == "walk" and self._require is None and not self._warned:
            self._warned = True
            words = f"programs run with weak isolation here ({missing}); see `gsim doctor`"
            warnings.warn(words, RuntimeWarning, stacklevel=6)

    def _judge(self, outcome: _exchange.Outcome, source: str, filename: str) -> bytes:
        if outcome.kind == _reply.DOCUMENT:
            return outcome.payload
        if outcome.kind == _reply.ERROR:
            raise _reply.decode_error(outcome.payload, filename, source.count("\n") + 1)
        code, words = self._verdict(outcome)
        raise SimulatorError(Problem(code, words, file=filename))

    def _verdict(self, outcome: _exchange.Outcome) -> tuple[str, str]:
        ending = outcome.end.get("ending")
        if outcome.ending == "wall":
            return "time-limit", f"no document after {self._wall:g} s; make it do less"
        if outcome.ending == "output":
            return "output-limit", f"sent more than {self._output} bytes; make the program smaller"
        if outcome.ending == "reply":
            return "reply", "sent something that is neither a document nor an error"
        if outcome.ending == "broken":
            return "isolation", f"the child could not be confined: {outcome.detail}"
        if ending == "cpu" or outcome.end.get("cpu", 0.0) >= self._cpu:
            words = f"used {self._cpu:g} s of processor time without a document; make it do less"
            return "time-limit", words
        if ending == "threads":
            return "crash", f"started more than {_jail.most_threads()} threads; start none"
        if outcome.end.get("signal") == 9 and ending == "ended":
            return "memory-limit", "was killed by the system, most likely for its use of memory"
        return "crash", f"ended without a document: {_why(outcome)}"


def _end(zygote: Zygote, folder: str) -> None:
    zygote.close()
    if zygote.owned:
        shutil.rmtree(folder, ignore_errors=True)


def _why(outcome: _exchange.Outcome) -> str:
    if outcome.detail:
        return outcome.detail
    if not outcome.end:
        return "its keeper disappeared"
    if outcome.end.get("signal"):
        return f"stopped by {_exchange.signal_name(outcome.end['signal'])}"
    return f"exit status {outcome.end.get('status')}"


def _layers(found: Sequence[tuple[str, bool, str]], threads: int) -> list[Layer]:
    layers = [Layer(*each) for each in found]
    on = {layer.name for layer in layers if layer.active}
    alone = "" if threads <= 1 else f"; its warm process has {threads} threads"
    fresh = f"a fresh interpreter, an empty environment, no descriptors but two pipes{alone}"
    if "pid namespace" in on:
        cleanup = Layer("cleanup", True, "the kernel ends all of a PID namespace with its first")
    elif "seccomp" in on:
        cleanup = Layer("cleanup", True, "no process can be created (system-call filter)")
    else:
        cleanup = Layer("cleanup", False, "weaker: descendants are searched for and killed")
    return [Layer("interpreter", True, fresh), *layers, cleanup]
