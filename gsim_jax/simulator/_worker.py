"""The far side of the sandbox: a warm process that forks one confined child per program.

Three processes stand behind the parent. The *zygote* is a fresh interpreter that imports JAX and
the tracer, never initialises a backend and never sees a program. For each request it forks a
*keeper*, which enters new namespaces, forks the *child*, watches its time and threads, kills it,
waits until all of it is gone, and reports how it ended. The child confines itself, says which
layers came out, and only then receives the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from gsim_jax.simulator import _jail, _linux, _reply, _warm
from gsim_jax.task.problems import SimulatorError

#: How often the keeper looks at the child's clock and threads, in milliseconds.
_GLANCE = 50
#: Between the program's own alarm, which names a line, and the keeper's kill: a part of the limit,
#: and at most so many processor seconds.
_GRACE, _MOST_GRACE = 0.1, 0.5
_MESSAGE = 1 << 16
#: Exit status of a child whose own code failed.
_BROKEN = 70
#: Kept free for telling that memory ran out, in bytes.
_BALLAST = 16 << 20
#: Where the child finds its descriptors.
_REQUEST, _ANSWER, _CONTROL = 3, 4, 5

Entry = Callable[[str, dict[str, Any]], dict[str, Any]]


def main(descriptor: int) -> NoReturn:
    """Runs the zygote until the parent is gone.

    Args:
        descriptor: this side of the control socket (packets). The first packet is the
            configuration: parent's process number, entry point, `Settings`, wall seconds, output.
    """
    control = socket.socket(fileno=descriptor)
    config = json.loads(control.recv(_MESSAGE))
    _end_with_parent()
    if os.getppid() != config["parent"]:
        os._exit(0)  # it died before the line above
    _linux.prctl(_linux.PR_SET_DUMPABLE, 0)  # no process of this user may trace or read us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers vanish by themselves
    entry = _load(config["entry"])
    gc.collect()
    gc.freeze()
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
    control.send(json.dumps({"ready": True, "threads": threads}).encode())
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    _serve(control, entry, config)
    os._exit(0)


def _load(entry: str) -> Entry:
    importlib.import_module("jax.numpy")  # before any child: it opens libraries of the system
    module_name, _, name = entry.partition(":")
    loaded = getattr(importlib.import_module(module_name), name)
    if module_name.startswith("gsim_jax."):
        with contextlib.suppress(SimulatorError):  # warming up only loads what will be needed
            loaded(_warm.SOURCE, _warm.SIGNATURE)
    return loaded


def _serve(control: socket.socket, entry: Entry, config: dict[str, Any]) -> None:
    me = os.getpid()
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        except OSError:
            return
        if not message:
            return  # the parent closed its side, or is gone
        if len(descriptors) == 3 and os.fork() == 0:
            try:
                control.close()
                _end_with_parent()
                if os.getppid() == me:  # else it died before the line above
                    _keep(entry, config, *descriptors)
            finally:
                os._exit(_BROKEN)
        for each in descriptors:
            os.close(each)


def _end_with_parent() -> None:
    _linux.prctl(_linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep(entry: Entry, config: dict[str, Any], talk: int, request: int, reply: int) -> NoReturn:
    _linux.prctl(_linux.PR_SET_CHILD_SUBREAPER, 1)  # what the child leaves behind comes to us
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    settings = _jail.Settings(**config["settings"])
    _prefer_for_killing()
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY) if os.path.isdir("/proc/self") else -1
    zygote = os.getppid()
    spaces = _jail.enter_namespaces(settings.without)
    _end_with_parent()  # entering a user namespace may take the wish back
    if os.getppid() != zygote:
        os._exit(0)
    alive, life = os.pipe()  # ends when this process does: a child in a namespace sees no parent
    pid = os.fork()
    if pid == 0:
        os.close(life)
        _end_with_parent()
        if select.select([alive], [], [], 0)[0]:
            os._exit(0)  # it died before the line above
        _run(entry, config, settings, spaces, (talk, request, reply))
    os.close(request)
    os.close(reply)
    control = socket.socket(fileno=talk)
    ending = _watch(pid, control, settings, proc)
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)  # in a PID namespace: returns when all of it is gone
    left = 0 if any(name == "pid namespace" and on for name, on, _ in spaces) else _sweep(proc)
    report = {
        "ending": ending,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss << 10,
        "left": left,
    }
    with contextlib.suppress(OSError):  # where nobody is left to be told
        control.send(json.dumps({"end": report}).encode())
    os._exit(0)


def _prefer_for_killing() -> None:
    """When memory runs out, this goes before anything of the user's."""
    _linux.prctl(_linux.PR_SET_DUMPABLE, 1)  # else the file belongs to root
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    _linux.prctl(_linux.PR_SET_DUMPABLE, 0)


def _watch(pid: int, control: socket.socket, settings: _jail.Settings, proc: int) -> str:
    """Waits for an end: the child's own, the parent's wish, or a limit; returns which."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    try:
        handle = os.pidfd_open(pid)
        poll.register(handle, select.POLLIN)
    except OSError:
        handle = -1
    deadline = time.monotonic() + settings.wall
    process_clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    processor = settings.cpu + min(_MOST_GRACE, _GRACE * settings.cpu)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(_GLANCE)}
        if control.fileno() in ready:
            return "asked"
        if handle in ready or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return "ended"
        if time.clock_gettime(process_clock) > processor:
            return "cpu"
        if _threads(proc, pid) > _jail.most_threads():
            return "threads"
        if time.monotonic() > deadline:
            return "wall"


def _threads(proc: int, pid: int) -> int:
    if proc < 0:
        return 0
    try:
        with open(os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=proc), "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(fields[17])


def _sweep(proc: int) -> int:
    """Kills what the child left behind, where no PID namespace did; returns how many resisted.

    Orphans of the child become children of this process (subreaper), so the walk starts here. It
    can lose a race against a program that forks faster than it walks.
    """
    for _ in range(200):
        descendants = _descendants(proc)
        for pid in descendants:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return 0
        time.sleep(0.005)
    return len(_descendants(proc))


def _descendants(proc: int) -> list[int]:
    if proc < 0:
        return []
    parents: dict[int, int] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                with open(os.open(f"{name}/stat", os.O_RDONLY, dir_fd=proc), "rb") as file:
                    parents[int(name)] = int(file.read(4096).rpartition(b")")[2].split()[1])
            except OSError:
                continue
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {os.getpid()})
        found |= more


def _run(
    entry: Entry,
    config: dict[str, Any],
    settings: _jail.Settings,
    spaces: list[_jail.Finding],
    descriptors: tuple[int, int, int],
) -> NoReturn:
    try:
        os.setsid()
        _take(descriptors)
        os.environ.clear()
        try:
            said = {"layers": _jail.confine(settings, spaces, _start_backend)}
        except OSError as error:
            said = {"broken": str(error)}
        os.write(_CONTROL, json.dumps(said).encode())  # a packet; send(2) is refused by now
        os.close(_CONTROL)
        request = _reply.read_request(_REQUEST) if "layers" in said else None
        if request is not None:
            _answer(entry, request, settings, config)
        os._exit(0)
    finally:
        os._exit(_BROKEN)  # never back into the code above the fork


def _start_backend() -> None:
    import jax.numpy as jnp

    (jnp.array([1.0, 2.0]) * 2).block_until_ready()


def _take(descriptors: tuple[int, int, int]) -> None:
    """Moves the three descriptors to known places and closes every other one."""
    talk, request, reply = (fcntl.fcntl(each, fcntl.F_DUPFD, 64) for each in descriptors)
    for place, each in ((_REQUEST, request), (_ANSWER, reply), (_CONTROL, talk)):
        os.dup2(each, place, inheritable=False)
    os.closerange(_CONTROL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _answer(
    entry: Entry, request: dict[str, Any], settings: _jail.Settings, config: dict[str, Any]
) -> None:
    """Runs the entry point on the program and writes one framed reply."""
    ballast = bytearray(_BALLAST)
    most_output = config["output"]
    _set_alarms(settings.cpu, config["wall"])
    try:
        document = entry(request["source"], request["signature"])
        _silence()
        payload = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        kind = _reply.DOCUMENT
        if len(payload) > most_output:
            words = f"the traced program takes {len(payload)} bytes, at most {most_output} may be"
            problem = {"code": "output-limit", "message": f"{words} sent; make it smaller"}
            kind, payload = _reply.ERROR, json.dumps({"problems": [problem]}).encode()
    except BaseException as error:  # noqa: BLE001 - whatever the program raised is the answer
        _silence()
        del ballast
        kind, payload = _reply.ERROR, _reply.encode_error(error)
    data = memoryview(_reply.frame(kind, payload))
    while data:
        data = data[os.write(_ANSWER, data) :]


def _set_alarms(cpu: float, wall: float) -> None:
    """Ends the program from within shortly before others do, so that its line can be told."""

    def ring(number: int, _frame: FrameType | None) -> None:
        clock = f"{cpu:g} s of processor time" if number == signal.SIGPROF else f"{wall:g} s"
        raise _reply.TimeUp(clock)

    signal.signal(signal.SIGPROF, ring)
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, 0.9 * wall)


def _silence() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
