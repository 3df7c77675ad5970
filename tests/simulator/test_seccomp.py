"""The system-call filter, run instruction by instruction for both architectures."""

from __future__ import annotations

import errno

import pytest

from gsim_jax.simulator import _linux, _seccomp
from tests.simulator.hostile.syscalls import REFUSED

ALLOW, KILL = "allow", "kill"
MACHINES = tuple(_linux.ARCHITECTURES)
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 77


def decide(
    program: list[_seccomp.Instruction], arch: int, number: int, *arguments: int
) -> str | int:
    """What a classic BPF machine makes of one system call: "allow", "kill" or an errno."""
    words = {0: number & 0xFFFFFFFF, 4: arch}
    for i, argument in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        words[16 + 8 * i] = argument & 0xFFFFFFFF
        words[20 + 8 * i] = argument >> 32 & 0xFFFFFFFF
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x20:
            accumulator = words[constant]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            at += if_true if accumulator == constant else if_false
        elif code == 0x25:
            at += if_true if accumulator > constant else if_false
        elif code == 0x06:
            if constant == 0x7FFF0000:
                return ALLOW
            return KILL if constant == 0x80000000 else constant & 0xFFFF
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(params=MACHINES)
def call(request):
    machine = request.param
    program = _seccomp.program(machine, PID, opening=True)

    def ask(name: str, *arguments: int) -> str | int:
        number = _linux.number(name, machine)
        if number < 0:
            pytest.skip(f"{machine} has no {name}")
        return decide(program, ARCH[machine], number, *arguments)

    ask.machine, ask.program = machine, program
    return ask


def test_programs_are_well_formed(call) -> None:
    for at, (code, if_true, if_false, constant) in enumerate(call.program):
        assert 0 <= constant < 2**32
        assert max(if_true, if_false) < 256
        if code in (0x15, 0x25):
            assert at + 1 + max(if_true, if_false) < len(call.program)
    assert len(call.program) < 4096
    assert call.program[-1][0] == 0x06


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("machine", MACHINES)
def test_what_reaches_out_is_refused(machine: str, name: str) -> None:
    number = REFUSED[name][_linux.ARCHITECTURES[machine]]
    if number < 0:
        pytest.skip(f"{machine} has no {name}")
    arguments = (PID + 1,) if name == "prlimit64" else (0,)
    program = _seccomp.program(machine, PID, opening=True)
    assert decide(program, ARCH[machine], number, *arguments) in (errno.EPERM, errno.ENOSYS)


def test_threads_can_be_made_and_processes_cannot(call) -> None:
    thread = 0x003D0F00  # what pthread_create asks for
    fork = 0x01200011
    assert call("clone", thread) == ALLOW
    assert call("clone", fork) == errno.EPERM
    assert call("clone", 0x4111) == errno.EPERM, "vfork"
    assert call("clone3") == errno.ENOSYS, "so that the C library falls back to clone"


def test_files_open_for_reading_only(call) -> None:
    assert call("openat", -100, 0, 0o2000000) == ALLOW
    for flags in (0o1, 0o2, 0o100, 0o1000, 0o2001, 0o20200002):
        assert call("openat", -100, 0, flags) == errno.EACCES
    closed = _seccomp.program(call.machine, PID, opening=False)
    number = _linux.number("openat", call.machine)
    assert decide(closed, ARCH[call.machine], number, -100, 0, 0) == errno.EPERM


def test_signals_reach_the_process_itself_only(call) -> None:
    assert call("tgkill", PID, PID, 6) == ALLOW
    assert call("kill", PID, 6) == ALLOW
    for other in (0, 1, -1, PID + 1, -PID):
        assert call("kill", other, 9) == errno.EPERM
        assert call("tgkill", other, other, 9) == errno.EPERM


def test_narrow_calls(call) -> None:
    assert call("fcntl", 3, 1) == ALLOW
    assert call("fcntl", 3, 8) == errno.EPERM, "F_SETOWN"
    assert call("ioctl", 0, 0x5401) == ALLOW
    assert call("ioctl", 0, 0x5412) == errno.EPERM, "TIOCSTI"
    assert call("prctl", _linux.PR_SET_NAME) == ALLOW
    assert call("prctl", _linux.PR_SET_PDEATHSIG) == errno.EPERM
    assert call("prlimit64", 0) == ALLOW
    assert call("prlimit64", 1) == errno.EPERM


def test_other_tables_kill(call) -> None:
    assert decide(call.program, 0x40000003, 1) == KILL, "32-bit"
    if call.machine == "x86_64":
        assert decide(call.program, ARCH["x86_64"], 0x40000000 + 1) == KILL


def test_calls_of_later_kernels_do_not_exist(call) -> None:
    for number in (451, 470, 10_000):
        assert decide(call.program, ARCH[call.machine], number) == errno.ENOSYS
