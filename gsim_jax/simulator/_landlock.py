"""Landlock: named folders may be read, nothing else on disk may be touched.

The rules follow the kernel's documentation (Documentation/userspace-api/landlock.rst): a ruleset
names the rights that it handles, a handled right that no rule grants is refused. What the running
kernel offers is asked first, since an unknown right makes the whole ruleset fail.
"""

from __future__ import annotations

import ctypes
import errno
import os

from gsim_jax.simulator import _linux

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKET, _SCOPE_SIGNAL = 1, 2
_NET_ABI, _SCOPE_ABI = 4, 6
_PATH_BENEATH = 1
_VERSION = 1


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("files", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # what `_pack_` means; Python 3.14 wants it said
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The Landlock ABI of the running kernel; 0 where there is none."""
    try:
        return _linux.syscall("landlock_create_ruleset", ctypes.c_void_p(None), 0, _VERSION)
    except OSError:
        return 0


def _handled(abi: int) -> _Ruleset:
    files = max(rights for since, rights in _FILE_RIGHTS_BY_ABI.items() if since <= abi)
    net = _BIND_TCP | _CONNECT_TCP if abi >= _NET_ABI else 0
    scoped = _SCOPE_ABSTRACT_SOCKET | _SCOPE_SIGNAL if abi >= _SCOPE_ABI else 0
    return _Ruleset(files, net, scoped)


def _grant(ruleset: int, path: str) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = _Beneath(allowed, folder)
        _linux.syscall("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(folder)


def restrict(readable: list[str]) -> int:
    """Restricts this thread, and what it will start, for good; needs `no_new_privs`.

    Args:
        readable: absolute paths of folders and files that may be read. Missing ones are left out.

    Returns:
        The ABI that was used. From 4 on, TCP is refused too; from 6 on, signals and abstract
        sockets to processes outside.

    Raises:
        OSError: where the kernel has no Landlock.
    """
    abi = version()
    if abi < 1:
        raise OSError(errno.ENOSYS, "the kernel offers no Landlock")
    attributes = _handled(abi)
    # Older kernels know a shorter structure; trailing zeros are accepted by all of them.
    size = ctypes.sizeof(attributes)
    ruleset = _linux.syscall("landlock_create_ruleset", ctypes.byref(attributes), size, 0)
    try:
        for path in readable:
            if os.path.exists(path):
                _grant(ruleset, path)
        _linux.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return abi
