"""Confines a process before it runs model-written code.

Limits, namespaces, a root of its own, no capabilities, Landlock, seccomp: every layer is tried,
then reported as it came out; nothing is assumed. The order matters: a mount needs the capabilities
that are dropped after it, and the last filter refuses the calls that built the others. Only the
standard library is used: this runs in the child, before the program does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field

from gsim_jax.simulator import _landlock, _linux, _seccomp

#: A layer as it travels from the child to the parent: name, whether it is active, detail.
Finding = tuple[str, bool, str]

#: Names under which `Settings.without` leaves a layer out (for tests and hard-pressed hosts).
NAMESPACES, MOUNT, LANDLOCK, SECCOMP = "namespaces", "mount", "landlock", "seccomp"
REMOVABLE = (NAMESPACES, MOUNT, LANDLOCK, SECCOMP)

_DESCRIPTORS = 64
#: XLA seeds a generator from here when it starts.
_ENTROPY = "/dev/urandom"
_CPUS = 2  # fewer threads of XLA, whose stacks count as address space
_MOST_SPARE_THREADS = 128
_SPACES = (
    (_linux.CLONE_NEWUSER, "user namespace"),
    (_linux.CLONE_NEWPID, "pid namespace"),
    (_linux.CLONE_NEWNET, "network namespace"),
    (_linux.CLONE_NEWIPC, "ipc namespace"),
)
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV, _RECURSIVE, _MNT_DETACH = 1, 2, 4, 0x8000, 2
_UNNAMED_SPACES = _linux.CLONE_NEWNS | _linux.CLONE_NEWUTS


@dataclass(frozen=True)
class Settings:
    """What a child is held to.

    Attributes:
        cpu: processor seconds.
        memory: bytes of address space.
        wall: seconds after which the keeper kills even where the parent does not.
        readable: absolute paths that may be read.
        stage: an empty folder: the working directory, and where a root of its own is built.
        without: layers to leave out.
    """

    cpu: float
    memory: int
    wall: float
    readable: list[str] = field(default_factory=list)
    stage: str = "/"
    without: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """The fields as a JSON object."""
        return asdict(self)


def most_threads() -> int:
    """Threads that a child may have: XLA's pools on the processors it sees, and some to spare."""
    return _MOST_SPARE_THREADS + 16 * _CPUS


def set_limits(settings: Settings) -> Finding:
    """Resource limits of this process, and few processors.

    RLIMIT_NPROC is left out on purpose: it does not bind root, and counts a user's other processes.
    """
    seconds = int(settings.cpu) + 2  # the keeper's finer clock comes first
    limits = {
        resource.RLIMIT_AS: settings.memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _DESCRIPTORS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bound, bound))
    available = sorted(os.sched_getaffinity(0))
    first = os.getpid() * _CPUS % len(available)
    os.sched_setaffinity(0, (available[first:] + available[:first])[:_CPUS])
    mib = settings.memory >> 20
    words = f"{mib} MiB of address space, {settings.cpu:g} s of CPU, no file can grow"
    return "limits", True, words


def enter_namespaces(without: Collection[str]) -> list[Finding]:
    """Moves this process into new namespaces; its next child is the first of a new PID namespace.

    Must be called while the process has one thread. Where user namespaces are closed, root may
    still get the others.
    """
    wanted = sum(flag for flag, _ in _SPACES) | _UNNAMED_SPACES
    if NAMESPACES in without:
        return [(name, False, "left out by request") for _, name in _SPACES]
    uid, gid = os.geteuid(), os.getegid()
    reason = ""
    for flags in (wanted, wanted & ~_linux.CLONE_NEWUSER):
        try:
            _linux.syscall("unshare", flags)
        except OSError as error:
            reason = reason or f"refused: {os.strerror(error.errno or 0)}"
            continue
        mapped = _map_user(uid, gid) if flags & _linux.CLONE_NEWUSER else ""
        return [_space(name, bool(flags & flag), mapped, reason) for flag, name in _SPACES]
    return [(name, False, reason) for _, name in _SPACES]


def _space(name: str, active: bool, mapped: str, reason: str) -> Finding:
    if name == "user namespace" and active:
        return name, True, mapped
    return name, active, "new and empty" if active else reason


def _map_user(uid: int, gid: int) -> str:
    """Maps one user, so that mounts are possible; without it the namespaces hold all the same."""
    _linux.prctl(_linux.PR_SET_DUMPABLE, 1)  # else the files below belong to root
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError as error:
        return f"one user, unmapped ({os.strerror(error.errno or 0)})"
    finally:
        _linux.prctl(_linux.PR_SET_DUMPABLE, 0)
    return "one user, no rights outside"


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode())
    _linux.syscall("mount", *words, flags, data.encode())


def build_root(settings: Settings, spaces: list[Finding]) -> Finding:
    """Puts this process into a file system of its own: the readable paths, read-only, no more.

    There is no /proc, /tmp or /home in it, and of /dev only a source of random numbers.
    """
    name = "mount namespace"
    if not any(active for _, active, _ in spaces):
        # Without a mount namespace of its own, root would rearrange everybody's file system.
        return name, False, spaces[0][2]
    if MOUNT in settings.without:
        return name, False, "left out by request"
    stage = settings.stage
    try:
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        _mount("gsim", stage, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
        for path in settings.readable:
            _show(path, stage + path)
        _place(stage + _ENTROPY)
        _mount_attributes(stage, _ATTR_READ_ONLY | _ATTR_NOSUID | _ATTR_NODEV)
        # The one device comes last: on a mount without devices it would not open.
        _mount(_ENTROPY, stage + _ENTROPY, "", _MS_BIND)
        _mount_attributes(stage + _ENTROPY, _ATTR_READ_ONLY | _ATTR_NOSUID)
        os.chdir(stage)
        _linux.syscall("pivot_root", b".", b".")
        _linux.syscall("umount2", b".", _MNT_DETACH)
        os.chdir("/")
    except OSError as error:
        return name, False, f"no root of its own: {error}"
    return name, True, f"a root of its own with {len(settings.readable)} paths, read-only"


def _show(path: str, target: str) -> None:
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    elif os.path.exists(path):
        _place(target)
    else:
        return
    _mount(path, target, "", _MS_BIND | _MS_REC)


def _place(target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))


def _mount_attributes(path: str, attributes: int) -> None:
    request = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    arguments = (path.encode(), _RECURSIVE, ctypes.byref(request), 32)
    _linux.syscall("mount_setattr", _linux.AT_FDCWD, *arguments)


def drop_capabilities() -> Finding:
    """Gives up every capability, for good, and the right to gain any by starting a program."""
    for capability in range(64):
        try:
            _linux.prctl(_linux.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                break  # past the last one of this kernel
            if error.errno != errno.EPERM:  # without CAP_SETPCAP there is little to drop
                raise
    _linux.prctl(_linux.PR_CAP_AMBIENT, _linux.PR_CAP_AMBIENT_CLEAR_ALL)
    version_3 = 0x20080522
    header = ctypes.create_string_buffer(struct.pack("=Ii", version_3, 0), 8)
    none = ctypes.create_string_buffer(24)
    _linux.syscall("capset", ctypes.byref(header), ctypes.byref(none))
    _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
    return "capabilities", True, "none left, none can be gained (no_new_privs)"


def _attempt(name: str, without: Collection[str], put_on: Callable[[], str]) -> Finding:
    if name in without:
        return name, False, "left out by request"
    try:
        return name, True, put_on()
    except OSError as error:
        return name, False, str(error)


def confine(
    settings: Settings, spaces: list[Finding], prepare: Callable[[], object]
) -> list[Finding]:
    """Puts every layer on this process, for good, and tries them.

    Args:
        settings: what to hold it to.
        spaces: what `enter_namespaces` reported in the process that forked this one.
        prepare: what has to open files; called where none can be opened later.

    Returns:
        The layers in the order in which they were put on, as they came out.

    Raises:
        OSError: when a layer that always works did not.
    """
    # The filter is installed after Landlock, so Landlock's report decides what the filter allows.
    _linux.prctl(_linux.PR_SET_DUMPABLE, 0)
    found: list[Finding] = [set_limits(settings), *spaces, build_root(settings, spaces)]
    os.chdir("/" if found[-1][1] else settings.stage)
    found.append(drop_capabilities())

    def landlock() -> str:
        abi = _landlock.restrict([*settings.readable, _ENTROPY])
        return f"ABI {abi}: reading the packages only" + (", no TCP" if abi >= 4 else "")

    found.append(_attempt(LANDLOCK, settings.without, landlock))
    opening = any(active for name, active, _ in found if name in ("mount namespace", LANDLOCK))

    if not opening and SECCOMP not in settings.without:
        prepare()

    def seccomp() -> str:
        allowed = _seccomp.install(os.getpid(), opening)
        rest = "" if opening else ", opening files refused altogether"
        return f"{allowed} system calls allowed, the rest refused{rest}"

    found.append(_attempt(SECCOMP, settings.without, seccomp))
    return [*found, *_try_out(settings)]


def _try_out(settings: Settings) -> list[Finding]:
    """Tries what must be impossible now; a promise is what was seen to hold."""
    outside = [path for path in ("/etc/passwd", "/etc", "/proc/self/environ") if _opens(path)]
    if settings.stage != "/" and _opens(f"{settings.stage}/x", os.O_CREAT | os.O_WRONLY):
        outside.append(settings.stage)
    closed = not outside
    words = "nothing outside the packages opens" if closed else f"{', '.join(outside)} opened"
    return [("files", closed, words), _network()]


def _opens(path: str, flags: int = os.O_RDONLY) -> bool:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def _network() -> Finding:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: a documentation address, UDP
    except OSError as error:
        return "network", True, f"no way out ({os.strerror(error.errno or 0)})"
    return "network", False, "a socket to the outside could be made"
