"""Programs that take time, memory, threads, descriptors or room without end."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

TIME = ("time-limit",)
MEMORY = ("memory-limit", "trace", "crash", "time-limit")  # whichever limit comes first

CASES = (
    Case("endless loop", "x = 1\nwhile True:\n    x = x + 1", TIME),
    Case(
        "endless loop that catches everything",
        """
def spin():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
spin()
""",
        TIME,
    ),
    Case(
        "endless loop with the alarm off",
        """
import signal
signal.setitimer(signal.ITIMER_PROF, 0)
signal.signal(signal.SIGPROF, signal.SIG_IGN)
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True:
    pass
""",
        TIME,
    ),
    Case(
        "endless loop in two threads",
        """
import threading
def spin():
    while True:
        pass
threading.Thread(target=spin).start()
spin()
""",
        TIME,
    ),
    Case("sleep", "import time\ntime.sleep(60)", TIME),
    Case("waits for nobody", "import threading\nthreading.Event().wait()", TIME),
    Case(
        "endless loop in compiled code",
        """
from jax import lax
import jax.numpy as jnp
RESULT = int(lax.while_loop(lambda x: x >= 0, lambda x: (x + 1) % 1000, jnp.int32(0)))
""",
        TIME,
    ),
    Case(
        "endless loop while tracing",
        "import jax\ndef f(x):\n    while True:\n        x = x + 1\njax.make_jaxpr(f)(1.0)",
        MEMORY,
    ),
    Case("huge power", "RESULT = 10 ** 10 ** 8 % 7", TIME),
    Case("slow expression", "import re\nRESULT = bool(re.match('(a+)+$', 'a' * 60 + 'b'))", TIME),
    Case("list without end", "x = []\nwhile True:\n    x.append(bytes(1 << 20))", MEMORY),
    Case("one huge block", "x = bytearray(1 << 40)", MEMORY),
    Case("huge map", "import mmap\nmmap.mmap(-1, 1 << 42)", MEMORY),
    Case("huge array", "import jax.numpy as jnp\nx = jnp.ones(10**11)", MEMORY),
    Case("huge text", "x = 'a' * 10**12", MEMORY),
    Case(
        "doubling text",
        "x = 'ab'\nwhile True:\n    x = x + x",
        MEMORY,
    ),
    Case(
        "threads without end",
        """
import threading, time
threading.stack_size(65536)
while True:
    threading.Thread(target=time.sleep, args=(60,)).start()
""",
        ("crash", "trace", "memory-limit"),
    ),
    Case("descriptors without end", "import os\nx = []\nwhile True:\n    x.append(os.dup(0))"),
    Case("pipes without end", "import os\nx = []\nwhile True:\n    x.append(os.pipe())"),
    Case("recursion", "def f():\n    f()\nf()"),
    Case(
        "recursion in C",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    return [f]\n"
        "x = []\nfor _ in range(10**6):\n    x = [x]\nRESULT = x == eval('x')\nrepr(x)",
        MEMORY,
    ),
    Case("huge document", "RESULT = 'x' * (1 << 23)", ("output-limit",)),
    Case(
        "deep document",
        "RESULT = []\nfor _ in range(10**5):\n    RESULT = [RESULT]",
        MEMORY,
    ),
    Case("endless document", "RESULT = []\nRESULT.append(RESULT)"),
    Case(
        "flood on standard output",
        "import os\nfor _ in range(2000):\n    os.write(1, bytes(65536))\n    print('x' * 1000)",
        ("document", "time-limit"),
    ),
    Case(
        "flood on the reply",
        "import os\nwhile True:\n    os.write(4, b'D' * 65536)",
        ("output-limit",),
    ),
)
