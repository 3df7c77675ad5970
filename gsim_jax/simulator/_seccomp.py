"""A seccomp filter as an allow-list: what tracing a program needs, and nothing that reaches out.

Every system call that is not named here is refused, so calls that a later kernel adds are refused
too. Processes cannot be created (threads can), no file opens for writing, no socket exists, no
signal reaches another process, no namespace, mount, key ring, ring buffer or trace can be made.
Refused calls fail with EPERM; `clone3` and calls newer than this table fail with ENOSYS, because C
libraries then fall back to the older call. A call under another architecture's table kills the
process.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from gsim_jax.simulator import _linux

#: One BPF instruction: (code, jump if true, jump if false, constant).
Instruction = tuple[int, int, int, int]

_LOAD, _EQUAL, _GREATER, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x3FFFFFFF  # numbers above belong to the x32 table of x86_64
_LAST_KNOWN = 450

_READ_FILES = """
    access faccessat faccessat2 fadvise64 fstatfs getcwd getdents getdents64 lstat newfstatat
    readlink readlinkat stat statfs statx
""".split()  # noqa: SIM905 - as one reads a table
_PLAIN = """
    alarm arch_prctl brk clock_getres clock_gettime clock_nanosleep close close_range dup dup2
    dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group fstat futex
    get_robust_list getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid
    getppid getrandom getresgid getresuid getrlimit getrusage getsid gettid gettimeofday getuid
    lseek madvise membarrier mincore mmap mprotect mremap munmap nanosleep pause pipe pipe2 poll
    ppoll pread64 preadv pselect6 read readv restart_syscall rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_yield select
    set_robust_list set_tid_address setitimer sigaltstack sysinfo time times uname wait4 write
    writev
""".split()  # noqa: SIM905 - as one reads a table

# Duplicating, close-on-exec and status flags; never F_SETOWN or F_SETSIG, which send signals.
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032)
# Terminal questions and close-on-exec; never TIOCSTI or FIOSETOWN.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_PRCTL = (
    _linux.PR_SET_NAME,
    _linux.PR_GET_NAME,
    _linux.PR_GET_DUMPABLE,
    _linux.PR_GET_SECCOMP,
    _linux.PR_GET_NO_NEW_PRIVS,
    _linux.PR_CAPBSET_READ,
    _linux.PR_SET_VMA,
)
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND and the bit of O_TMPFILE that is its own.
_WRITING = 0o3 | 0o100 | 0o1000 | 0o2000 | 0o20000000


def _return(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)


def _refuse(code: int) -> Instruction:
    return _return(_ERRNO | code)


def _argument(index: int) -> Instruction:
    # The low half is enough: the kernel reads these arguments as 32-bit integers.
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _one_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
    block = [_argument(index)]
    for i, value in enumerate(values):
        block.append((_EQUAL, len(values) - i, 0, value & 0xFFFFFFFF))
    return [*block, _refuse(errno.EPERM), _return(_ALLOW)]


def _has_bits(index: int, mask: int) -> list[Instruction]:
    test = (_EQUAL, 1, 0, mask)
    return [_argument(index), (_AND, 0, 0, mask), test, _refuse(errno.EPERM), _return(_ALLOW)]


def _without_bits(index: int, mask: int) -> list[Instruction]:
    test = (_EQUAL, 1, 0, 0)
    return [_argument(index), (_AND, 0, 0, mask), test, _refuse(errno.EACCES), _return(_ALLOW)]


def _rules(pid: int, opening: bool) -> dict[str, list[Instruction]]:
    rules = {name: [_return(_ALLOW)] for name in _PLAIN}
    rules["clone"] = _has_bits(0, _linux.CLONE_THREAD)
    rules["clone3"] = [_refuse(errno.ENOSYS)]  # its flags lie in memory, out of a filter's sight
    rules["fcntl"] = _one_of(1, _FCNTL)
    rules["ioctl"] = _one_of(1, _IOCTL)
    rules["prctl"] = _one_of(0, _PRCTL)
    rules["prlimit64"] = _one_of(0, (0,))
    rules["kill"] = _one_of(0, (pid,))  # abort and raise, on itself
    rules["tgkill"] = _one_of(0, (pid,))
    if opening:
        rules |= {name: [_return(_ALLOW)] for name in _READ_FILES}
        rules["open"] = _without_bits(1, _WRITING)
        rules["openat"] = _without_bits(2, _WRITING)
    return rules


def program(machine: str, pid: int, opening: bool) -> list[Instruction]:
    """The filter for one architecture.

    Args:
        machine: "x86_64" or "aarch64".
        pid: the process's own number, the only one that it may signal.
        opening: whether files may be opened for reading. False where nothing else (Landlock, a
            root of its own) says which ones.

    Returns:
        BPF instructions.
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        _return(_KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        code += [(_GREATER, 0, 1, _X32_BIT), _return(_KILL)]
    for name, block in _rules(pid, opening).items():
        number = _linux.number(name, machine)
        if number >= 0:
            code += [(_EQUAL, 0, len(block), number), *block]
    return [*code, (_GREATER, 0, 1, _LAST_KNOWN), _refuse(errno.ENOSYS), _refuse(errno.EPERM)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(pid: int, opening: bool) -> int:
    """Puts the filter on every thread of this process, for good; needs `no_new_privs`.

    Args:
        pid: see `program`.
        opening: see `program`.

    Returns:
        How many system calls are allowed, with or without conditions.

    Raises:
        OSError: where the kernel or the architecture has no filters.
    """
    machine = _linux.architecture()
    if machine is None:
        raise OSError(errno.ENOSYS, "no table of system calls for this architecture")
    packed = b"".join(struct.pack("=HBBI", *line) for line in program(machine, pid, opening))
    holder = _Program(len(packed) // 8, packed)
    set_filter, every_thread = 1, 1
    result = _linux.syscall("seccomp", set_filter, every_thread, ctypes.byref(holder))
    if result:
        raise OSError(errno.EBUSY, "seccomp: a thread could not be put under the filter")
    names = _rules(pid, opening)
    return sum(_linux.number(name, machine) >= 0 for name in names) - 1
