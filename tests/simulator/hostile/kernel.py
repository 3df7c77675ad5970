"""Programs that know Linux well: each asks the kernel for one thing that could open a way out."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

_RAW = """
import ctypes, os, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
def call(numbers, *arguments):
    if numbers[column] < 0:
        raise OSError("refused: no such call here")
    raw = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    found = libc.syscall(numbers[column], *raw)
    if found < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return found
"""

_CALLS = {
    "faults of memory handled by itself": "RESULT = call((323, 282), 0)",
    "counters of the processor": "RESULT = call((298, 241), bytes(128), 0, -1, -1, 0)",
    "a program for the kernel": "RESULT = call((321, 280), 5, bytes(128), 128)",
    "a key ring": "RESULT = call((248, 217), b'user', b'gsim', b'x', 1, -3)",
    "somebody's key": "RESULT = call((249, 218), b'user', b'OPENAI_API_KEY', 0, -3)",
    "a descriptor of the parent": (
        "handle = call((434, 434), @PARENT@, 0)\nRESULT = call((438, 438), handle, 3, 0)"
    ),
    "comparing with the parent": "RESULT = call((312, 272), os.getpid(), @PARENT@, 0, 0, 0)",
    "writing the parent's memory": (
        "b = ctypes.create_string_buffer(b'x' * 8)\n"
        "v = struct.pack('=QQ', ctypes.addressof(b), 8)\n"
        "RESULT = call((311, 271), @PARENT@, v, 1, v, 1, 0)"
    ),
    "a program in memory, run": (
        "fd = call((319, 279), b'x', 0)\nRESULT = call((322, 281), fd, b'', 0, 0, 0x1000)"
    ),
    "another personality": "RESULT = call((135, 92), 0x0040000)",
    "a filter that asks it": ("RESULT = call((317, 277), 1, 8, struct.pack('=HQ', 1, 0))"),
    "a timer that signals another": (
        "event = struct.pack('=QiiQ', 0, 9, 4, @PARENT@) + bytes(40)\n"
        "RESULT = call((222, 107), 1, event, bytes(8))"
    ),
    "a queue of messages": "RESULT = call((240, 180), b'gsim', 0o102, 0o600, 0)",
    "messages of the old kind": "RESULT = call((68, 186), 4711, 0o1600)",
    "semaphores of the old kind": "RESULT = call((64, 190), 4711, 1, 0o1600)",
    "first place on the processor": "RESULT = call((144, 119), 0, 1, struct.pack('=i', 99))",
    "memory that never leaves": "RESULT = call((151, 230), 3)",
    "first place at the disk": "RESULT = call((251, 30), 1, 0, 0x2000)",
    "requests to the disk": "RESULT = call((206, 0), 128, bytes(8))",
    "copying without reading": ("r, w = os.pipe()\nRESULT = call((276, 77), r, w, 1, 0)"),
    "watching files": "RESULT = call((294, 26), 0)",
    "watching every file": "RESULT = call((300, 262), 0, 0)",
    "a lock on jax": (
        "import jax\nfd = os.open(jax.__file__, os.O_RDONLY)\nRESULT = call((73, 32), fd, 2)"
    ),
    "a lease on jax": (
        "import fcntl, jax\nRESULT = fcntl.fcntl(os.open(jax.__file__, os.O_RDONLY), 1024, 1)"
    ),
    "a larger pipe": "import fcntl\nRESULT = fcntl.fcntl(4, 1031, 1 << 20)",
    "notes about a folder": (
        "import fcntl, jax\nfolder = os.path.dirname(jax.__file__)\n"
        "RESULT = fcntl.fcntl(os.open(folder, 0), 1026, 63)"
    ),
    "keys for the terminal": "import fcntl\nRESULT = fcntl.ioctl(0, 0x5412, b'x')",
    "another name for the machine": "RESULT = call((170, 161), b'gsim', 4)",
    "swap": "RESULT = call((167, 224), b'/swap', 0)",
    "a restart": "RESULT = call((169, 142), 0xFEE1DEAD, 672274793, 0x1234567, 0)",
    "ports": "RESULT = call((172, -1), 3)",
    "segments": "RESULT = call((154, -1), 1, bytes(16), 16)",
    "traced by anyone": "assert libc.prctl(0x59616D61, -1, 0, 0, 0) == 0, 'refused'",
    "dumpable again": "assert libc.prctl(4, 1, 0, 0, 0) == 0, 'refused'",
    "a reaper of its own": "assert libc.prctl(36, 1, 0, 0, 0) == 0, 'refused'",
    "speculation": "assert libc.prctl(53, 0, 2, 0, 0) == 0, 'refused'",
    "another command line": "assert libc.prctl(35, 8, 0x1000, 0, 0) == 0, 'refused'",
    "capabilities again": (
        "RESULT = call((126, 91), struct.pack('=Ii', 0x20080522, 0), b'\\xff' * 24)"
    ),
    "a thread in new namespaces": "RESULT = call((272, 97), 0x00020000 | 0x00000400)",
    "a thread outside the group": "RESULT = call((56, 220), 0x00000100 | 0x00000200, 0, 0, 0, 0)",
    "the namespaces of the first process": (
        "RESULT = call((308, 268), os.open('/proc/1/ns/mnt', os.O_RDONLY), 0)"
    ),
    "a mount of the new kind": "RESULT = call((430, 430), b'tmpfs', 0)",
    "a copy of the tree": "RESULT = call((428, 428), -100, b'/', 1)",
    "the root left behind": "RESULT = call((155, 41), b'.', b'.')",
    "pages of others": "RESULT = call((256, 238), @PARENT@, 8, bytes(8), bytes(8))",
    "advice about the parent": (
        "RESULT = call((440, 440), @PARENT@, struct.pack('=QQ', 4096, 4096), 1, 21, 0)"
    ),
    "secret memory": "RESULT = call((447, 447), 0)",
    "a call of tomorrow": "RESULT = call((600, 600), 0)",
    "a call below the table": "RESULT = call((-2, -2), 0)",
    "a queue of signals for the parent": "RESULT = call((129, 138), @PARENT@, 9, bytes(128))",
    "a signal for its keeper": "os.kill(os.getppid() or @ZYGOTE@, 9)",
    "a signal for all threads of the parent": "RESULT = call((200, 130), @PARENT@, 9)",
    "its own memory through /proc": (
        "f = open('/proc/self/mem', 'r+b', 0)\nf.seek(0x400000)\nRESULT = f.read(8).hex()"
    ),
    "the reply opened anew": "RESULT = os.open('/proc/self/fd/4', os.O_RDWR)",
    "the root by way of /proc": "RESULT = os.listdir('/proc/self/root/../../..')",
    "the cgroups": "open('/sys/fs/cgroup/cgroup.procs', 'w').write(str(os.getpid()))",
    "how cores are dumped": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/sh')",
    "system requests": "open('/proc/sysrq-trigger', 'w').write('c')",
    "the random device, for writing": "os.write(os.open('/dev/urandom', os.O_WRONLY), b'x')",
    "a terminal": "RESULT = os.openpty()",
    "the controlling terminal": "os.write(os.open('/dev/tty', os.O_RDWR), b'x')",
    "a parent folder, step by step": (
        "fd = os.open('/', os.O_RDONLY)\n"
        "for _ in range(20):\n    fd = os.open('..', os.O_RDONLY, dir_fd=fd)\n"
        "RESULT = os.listdir(fd)\nassert 'etc' in RESULT, 'refused'"
    ),
    "a handle of a path": (
        "RESULT = os.open('@FOLDER@', os.O_PATH)\nos.open('canary.txt', 0, dir_fd=RESULT)"
    ),
    "a file without a name": "RESULT = os.open('/', os.O_TMPFILE | os.O_RDWR)",
    "a shared map of a package, for writing": (
        "import jax, mmap\nfd = os.open(jax.__file__, os.O_RDONLY)\n"
        "mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_WRITE)[0] = 0"
    ),
}

# The first process of a PID namespace is deaf to its own signals.
_OWN = ("document", "time-limit", "crash", "memory-limit", "trace")
_OTHER = (
    Case(
        "replies for somebody else",
        """
import os, struct
frame = b"D" + struct.pack(">I", 2) + b"{}"
for fd in [*range(4), *range(5, 1024)]:
    try:
        os.write(fd, frame)
    except OSError:
        pass
RESULT = "tried"
""",
        ("document",),
        "tried",
    ),
    Case(
        "reads every descriptor",
        """
import os
RESULT = []
for fd in range(1024):
    try:
        RESULT.append(os.pread(fd, 100, 0).hex())
    except OSError:
        pass
RESULT = [r for r in RESULT if r]
""",
        ("document",),
        [],
    ),
    Case(
        "waits for a second request", "import os\nRESULT = os.read(3, 100).hex()", ("document",), ""
    ),
    Case("stops itself", "import os\nos.kill(os.getpid(), 19)", _OWN),
    Case("kills itself", "import os\nos.kill(os.getpid(), 9)", _OWN),
    Case(
        "a storm of alarms",
        """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1e-5, 1e-5)
while True:
    pass
""",
        ("time-limit",),
    ),
    Case(
        "swallows what would end it",
        """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    pass
""",
        ("time-limit",),
    ),
    Case(
        "drips its reply",
        """
import os, struct, time
for byte in b"D" + struct.pack(">I", 1000) + b" " * 1000:
    os.write(4, bytes([byte]))
    time.sleep(0.1)
""",
        ("time-limit", "crash"),
    ),
    Case(
        "replies as late as it can",
        "import time\ntime.sleep(30)\nRESULT = 1",
        ("time-limit",),
    ),
    Case(
        "an error in the sandbox's own name",
        """
import os, struct
words = b'{"problems": [{"code": "isolation", "message": "switch the guard off"}]}'
os.write(4, b"E" + struct.pack(">I", len(words)) + words)
os._exit(0)
""",
    ),
    Case(
        "threads without stacks",
        _RAW
        + """
flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
libc.mmap.restype = ctypes.c_void_p
code = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_long(0))
# x86_64: pause in a loop, on no stack at all
ctypes.memmove(code, bytes.fromhex("b8220000000f05ebf7"), 9)
stack = libc.mmap(None, ctypes.c_size_t(1 << 16), 3, 0x22, -1, ctypes.c_long(0))
program = bytes.fromhex("b838000000") + b"\\xbf" + struct.pack("<I", flags)
# clone in a loop; children fall through to the pause
program += bytes.fromhex("31d24d31d24d31c00f0585c0") + b"\\x75" + bytes([256 - 24])
program += bytes.fromhex("b8220000000f05ebf7")
assert platform.machine() == "x86_64", "refused: written for another machine"
blob = b"\\x48\\xbe" + struct.pack("<Q", stack + 65000) + program
ctypes.memmove(code, blob, len(blob))
ctypes.CFUNCTYPE(None)(code)()
""",
        ("crash", "trace", "time-limit", "memory-limit"),
    ),
    Case(
        "rewrites the C library under its feet",
        _RAW
        + """
for name in ("write", "read", "close", "getpid"):
    address = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value & ~4095
    assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(8192), 7) == 0, "refused"
    ctypes.memset(address, 0xC3, 64)
RESULT = "rewritten"
""",
        ("document", "crash", "trace", "time-limit"),
    ),
    Case(
        "poisons the tracer for those who come after",
        """
import gc, sys
from gsim_jax.simulator import _reply, _trace
from gsim_jax.simulator.vocabulary import TABLE
_reply.DOCUMENT = b"X"
TABLE.clear()
_trace.trace_source = lambda *a, **k: {"poisoned": True}
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith("gsim_jax"):
        vars(module).clear()
gc.collect()
""",
        ("document", "crash", "reply", "trace"),
    ),
    Case(
        "exhausts descriptors that wait on others",
        "import select\nx = []\nwhile True:\n    x.append(select.epoll())",
    ),
    Case(
        "a stack without end in C",
        "import ctypes\nf = ctypes.CFUNCTYPE(None)(lambda: f())\nf()",
        ("document", "crash", "trace", "memory-limit"),
    ),
    Case("jumps to nowhere", "import ctypes\nctypes.CFUNCTYPE(None)(0xDEAD)()", ("crash",)),
    Case(
        "the old page of system calls",
        """
import ctypes, platform
assert platform.machine() == "x86_64", "refused: there is no such page"
RESULT = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(0xFFFFFFFFFF600400)(None)
RESULT = "told the time" if RESULT > 0 else "refused"
""",
        ("document", "crash", "trace"),
    ),
)

CASES = (
    *(
        Case(f"kernel: {name}", f"{_RAW}\n{source}\n", ("trace", "crash"))
        for name, source in _CALLS.items()
    ),
    *_OTHER,
)
