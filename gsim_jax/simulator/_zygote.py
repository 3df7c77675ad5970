"""The parent's handle on the warm process that forks children (`_worker` is its far side)."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Sequence
from typing import IO, Any

_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_boot.py")
# -P and an environment of our own keep PYTHON* variables and the working directory out as -I
# would; -I itself would drop the hash seed, and the order of a set must not change a program.
_FLAGS = ("-P", "-s", "-S", "-B")
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",  # a process with threads cannot fork safely
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # each arena reserves 64 MiB of address space
}
_START_SECONDS = 120.0
_NEEDED = ("jax", "jaxlib", "numpy", "gsim_jax")


def module_paths(entry: str, extra: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the warm process imports from, and what its children may read.

    Args:
        entry: dotted module, colon, function.
        extra: further folders to import from.

    Returns:
        Entries for `sys.path` besides the standard library's, and readable absolute paths. Of a
        checkout only the package's folder is readable, not what lies beside it.
    """
    roots: list[str] = []
    readable = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *extra]
    for name in dict.fromkeys((*_NEEDED, entry.partition(".")[0].partition(":")[0])):
        spec = None if extra and name not in _NEEDED else importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            roots.append(os.path.dirname(folder))
            readable.append(folder)
    libraries = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
    libraries = [p for p in libraries if os.path.isdir(p)]
    return _distinct([*libraries, *roots, *extra]), _outermost([*readable, *libraries])


def _distinct(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(os.path.abspath(path) for path in paths))


def _outermost(paths: Iterable[str]) -> list[str]:
    real = _distinct(os.path.realpath(path) for path in paths)
    inner = {p for p in real for q in real if p != q and p.startswith(q.rstrip("/") + "/")}
    # The names as the interpreter knows them count too, where a link lies on the way.
    linked = [p for p in _distinct(paths) if os.path.realpath(p) != p]
    return [p for p in real if p not in inner] + linked


class Zygote:
    """A fresh interpreter with an empty environment that holds JAX and the tracer, warm.

    A thread of its own starts it and lives as long as it: the kernel's parent-death signal follows
    the *thread* that started a process, and callers' threads come and go.
    """

    def __init__(self, config: dict[str, Any], paths: Sequence[str], folder: str) -> None:
        """Starts the process; importing goes on while the caller does other things.

        Args:
            config: `entry`, `settings`, `wall` and `output` as `_worker.main` reads them.
            paths: entries for `sys.path`.
            folder: an empty folder, its working directory.
        """
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._warm = False
        self._owner = os.getpid()
        self.threads = 0
        started = threading.Event()
        arguments = (far, list(paths), folder, started)
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        threading.Thread(target=self._live, args=arguments, daemon=True, name="gsim-zygote").start()
        started.wait()
        if self._failure is not None:
            raise self._failure
        self._control.send(json.dumps({**config, "parent": os.getpid()}).encode())

    def _live(
        self, far: socket.socket, paths: list[str], folder: str, started: threading.Event
    ) -> None:
        environment = dict(_ENVIRONMENT)
        if "LD_LIBRARY_PATH" in os.environ:  # some interpreters do not start without it
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        command = [sys.executable, *_FLAGS, _BOOT, str(far.fileno()), json.dumps(paths)]
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                pass_fds=(far.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._failure = error
        finally:
            far.close()
            started.set()
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process number of the interpreter."""
        return self._process.pid if self._process else 0

    @property
    def owned(self) -> bool:
        """Whether this very process started it, not one that forked this one since."""
        return self._owner == os.getpid()

    @property
    def usable(self) -> bool:
        """Whether it is this process's own and still runs."""
        return self.owned and self._process is not None and self._process.poll() is None

    def wait_until_warm(self) -> None:
        """Waits until everything is imported.

        Raises:
            RuntimeError: when the interpreter stopped before, with what it wrote.
            TimeoutError: when it took longer than two minutes.
        """
        with self._lock:
            if self._warm:
                return
            if not select.select([self._control], [], [], _START_SECONDS)[0]:
                raise TimeoutError(f"the sandbox was not ready after {_START_SECONDS:g} s")
            try:
                packet = self._control.recv(1 << 16)
            except ConnectionError:
                packet = b""
            if not packet:
                raise RuntimeError(f"the sandbox did not start: {self._last_words()}")
            self.threads = json.loads(packet)["threads"]
            self._warm = True

    def _last_words(self) -> str:
        stream: IO[bytes] | None = self._process.stderr if self._process else None
        if stream is None:
            return "no process"
        deadline, words = time.monotonic() + 2, b""
        while time.monotonic() < deadline and select.select([stream], [], [], 1)[0]:
            part = os.read(stream.fileno(), 4096)
            if not part:
                break
            words += part
        return words.decode("utf-8", "replace")[-2000:].strip() or "it said nothing"

    def fork(self, talk: int, request: int, reply: int) -> None:
        """Asks for one child that owns these three descriptors.

        Raises:
            OSError: when the process is gone.
        """
        with self._lock:
            socket.send_fds(self._control, [b"child"], [talk, request, reply])

    def close(self) -> None:
        """Ends the process and with it every child; returns when it is gone."""
        if not self.owned:
            self._control.close()  # after a fork of the caller: it stays its parent's
            return
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for it
        self._control.close()
        if self._process is None:
            return
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
