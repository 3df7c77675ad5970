"""Programs that forge, break or withhold the reply, or change what writes it."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

_FORGE = "import os, struct\n"

CASES = (
    Case("exits", "import os\nos._exit(0)", ("crash",)),
    Case("exits with a status", "import os\nos._exit(3)", ("crash",)),
    Case("aborts", "import os\nos.abort()", ("crash",)),
    Case("reads nowhere", "import ctypes\nctypes.string_at(8)", ("crash",)),
    Case("leaves politely", "import sys\nsys.exit(0)"),
    Case("closes every descriptor", "import os\nos.closerange(0, 64)", ("crash",)),
    Case("closes the reply and stays", "import os, time\nos.close(4)\ntime.sleep(60)", ("crash",)),
    Case("garbage", _FORGE + "os.write(4, b'hello world' * 10)\nos._exit(0)", ("reply",)),
    Case(
        "half a reply",
        _FORGE + "os.write(4, b'D' + struct.pack('>I', 90) + b'{')\nos._exit(0)",
        ("crash",),
    ),
    Case(
        "half a reply, then silence",
        _FORGE + "import time\nos.write(4, b'D')\ntime.sleep(60)",
        ("time-limit", "output-limit", "reply"),
    ),
    Case(
        "two replies",
        _FORGE + "os.write(4, (b'D' + struct.pack('>I', 2) + b'{}') * 2)\nos._exit(0)",
        ("reply",),
    ),
    Case(
        "lies about its length",
        _FORGE + "os.write(4, b'D' + struct.pack('>I', 2**32 - 1) + b'{}')\nos._exit(0)",
        ("output-limit",),
    ),
    Case(
        "forged error that plays with the terminal",
        _FORGE
        + """
words = b'{"problems": [{"code": "A B", "line": 999999, "message": "\\\\u001b[2J\\\\u202eoops"}]}'
os.write(4, b"E" + struct.pack(">I", len(words)) + words)
os._exit(0)
""",
    ),
    Case(
        "forged error that is deep",
        _FORGE
        + "words = b'[' * 60000\n"
        + "os.write(4, b'E' + struct.pack('>I', len(words)) + words)\nos._exit(0)",
        ("reply",),
    ),
    Case(
        "forged error that is a huge number",
        _FORGE
        + "words = b'9' * 60000\n"
        + "os.write(4, b'E' + struct.pack('>I', len(words)) + words)\nos._exit(0)",
        ("reply",),
    ),
    Case(
        "pickle",
        """
class Bomb:
    def __reduce__(self):
        import os
        return os.system, ("echo > @FOLDER@/x",)
RESULT = Bomb()
""",
    ),
    Case(
        "pickle as bytes",
        _FORGE
        + """
import pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("echo > @FOLDER@/x",)
words = pickle.dumps(Bomb())
os.write(4, b"P" + struct.pack(">I", len(words)) + words)
os._exit(0)
""",
        ("reply",),
    ),
    Case("not a number", "RESULT = float('nan')"),
    Case(
        "an error that fights back",
        """
class Trap(Exception):
    def __str__(self):
        raise ValueError("no words")
raise Trap()
""",
    ),
    Case("an error with endless words", "raise ValueError('x' * 10**8)", ("trace", "crash")),
    Case(
        "an error that is a group",
        "try:\n    raise ExceptionGroup('g', [ValueError(1)])\n"
        "except* ValueError:\n    raise KeyError('k')",
    ),
    Case(
        "replaces json",
        "import json\njson.dumps = lambda *a, **k: 'not json at all'",
        ("document",),
    ),
    Case(
        "replaces modules",
        """
import sys
for name in list(sys.modules):
    if name.startswith(("json", "gsim_jax", "jax")):
        sys.modules[name] = None
RESULT = "done"
""",
        ("document", "trace", "crash"),
        "done",
    ),
    Case(
        "changes jax for those who come after",
        """
import jax, jax.numpy as jnp
jnp.exp = jax.numpy.sin = lambda x: "changed"
jax.make_jaxpr = None
RESULT = "changed"
""",
        ("document",),
        "changed",
    ),
    Case(
        "goes on after the reply",
        """
import atexit, threading, time
def later():
    time.sleep(0.2)
    open("@FOLDER@/x", "w").write("x")
threading.Thread(target=later, daemon=True).start()
atexit.register(later)
RESULT = 1
""",
        ("document",),
        1,
    ),
    Case(
        "calls back from compiled code",
        """
import jax, jax.numpy as jnp
def steal(x):
    open("@FOLDER@/x", "w").write("x")
    return x
RESULT = float(jax.pure_callback(steal, jnp.float32(0), jnp.float32(1)))
""",
    ),
)
