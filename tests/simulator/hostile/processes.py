"""Programs that start others, stay behind, or lay hands on the processes around them."""

from __future__ import annotations

from tests.simulator.hostile.case import Case
from tests.simulator.hostile.syscalls import REFUSED

_RAW = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
"""

CASES = (
    Case("subprocess", "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo > @FOLDER@/x'])"),
    Case(
        "system", "import os\nif os.system('echo > @FOLDER@/x') != 0:\n    raise OSError('refused')"
    ),
    Case("popen", "import os\nRESULT = os.popen('cat @CANARY@').read()"),
    Case("exec", "import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 60'])"),
    Case("exec of the interpreter", "import os, sys\nos.execv(sys.executable, ['python'])"),
    Case("spawn", "import os\nos.posix_spawn('/bin/sleep', ['sleep', '60'], {})"),
    Case("fork bomb", "import os\nwhile True:\n    os.fork()"),
    Case(
        "daemon",
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
        open("@FOLDER@/x", "w")
    os._exit(0)
""",
    ),
    Case("session", "import os\nos.setsid()"),
    Case("process group", "import os\nos.setpgid(0, 0)"),
    Case(
        "multiprocessing", "import multiprocessing\nmultiprocessing.Process(target=print).start()"
    ),
    Case(
        "pool of processes",
        """
from concurrent.futures import ProcessPoolExecutor
RESULT = ProcessPoolExecutor(2).submit(abs, -1).result(timeout=1)
""",
    ),
    Case(
        "clone by number",
        _RAW
        + """
SIGCHLD = 17
pid = libc.syscall((56, 220)[column], SIGCHLD, 0, 0, 0, 0)
if pid == 0:
    libc.sleep(60)
assert pid >= 0, "refused"
""",
    ),
    Case(
        "clone3 by number",
        _RAW
        + """
import struct
arguments = ctypes.create_string_buffer(struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
pid = libc.syscall(435, arguments, 88)
if pid == 0:
    libc.sleep(60)
assert pid >= 0, "refused"
""",
    ),
    Case("vfork", _RAW + "pid = libc.vfork()\nassert pid >= 0, 'refused'"),
    Case("kills the parent", "import os\nos.kill(@PARENT@, 9)"),
    Case("kills the zygote", "import os\nos.kill(@ZYGOTE@, 9)"),
    Case("kills everybody", "import os\nos.kill(-1, 9)"),
    Case("kills its group", "import os\nos.kill(0, 9)"),
    Case("kills a group", "import os\nos.killpg(@ZYGOTE@, 9)"),
    Case(
        "kills a thread",
        _RAW + "assert libc.syscall((234, 131)[column], @PARENT@, @PARENT@, 9) == 0, 'refused'",
    ),
    Case(
        "kills through a handle",
        "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(@PARENT@), 9)",
    ),
    Case(
        "signal by ownership of a pipe",
        """
import fcntl, os
r, w = os.pipe()
fcntl.fcntl(r, 8, @PARENT@)  # F_SETOWN
fcntl.fcntl(r, 10, 9)  # F_SETSIG
fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)
os.write(w, b"x")
""",
    ),
    Case(
        "limits of the parent",
        "import resource\nresource.prlimit(@PARENT@, resource.RLIMIT_CPU, (1, 1))",
    ),
    Case("limits of itself", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    Case("processors of the parent", "import os\nos.sched_setaffinity(@PARENT@, {0})"),
    Case("priority of the parent", "import os\nos.setpriority(0, @PARENT@, 19)"),
    Case("traces the parent", _RAW + "assert libc.ptrace(16, @PARENT@, 0, 0) == 0, 'refused'"),
    Case("traces the zygote", _RAW + "assert libc.ptrace(16, @ZYGOTE@, 0, 0) == 0, 'refused'"),
    Case(
        "reads the parent's memory",
        _RAW
        + """
import struct
buffer = ctypes.create_string_buffer(64)
mine = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), 64))
theirs = ctypes.create_string_buffer(struct.pack("=QQ", 0x400000, 64))
assert libc.process_vm_readv(@PARENT@, mine, 1, theirs, 1, 0) > 0, "refused"
RESULT = buffer.raw.hex()
""",
    ),
    Case(
        "outlives its parent",
        _RAW + "assert libc.prctl(1, 0, 0, 0, 0) == 0, 'refused'",
    ),
    Case("takes the filter off", _RAW + "assert libc.prctl(22, 0, 0, 0, 0) == 0, 'refused'"),
    Case("becomes root", "import os\nos.setuid(0)"),
    Case(
        "every refused system call",
        _RAW
        + f"table = {REFUSED!r}\n"
        + """
for name, numbers in table.items():
    if numbers[column] >= 0:
        if libc.syscall(numbers[column], 0, 0, 0, 0, 0, 0) >= 0 and name not in ("prlimit64",):
            RESULT = name
            raise SystemExit(f"{name} went through")
        if ctypes.get_errno() not in (1, 13, 38) and name != "prlimit64":
            raise SystemExit(f"{name} was tried: errno {ctypes.get_errno()}")
RESULT = "all refused"
""",
        ("document",),
        "all refused",
    ),
)
