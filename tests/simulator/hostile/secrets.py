"""Programs that look for the environment, for files, for descriptors and for memory of others."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

CASES = (
    Case("environment", "import os\nRESULT = dict(os.environ)", ("document",), {}),
    Case(
        "environment through libc",
        """
import ctypes
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
RESULT = [str(libc.getenv(n)) for n in (b"GSIM_CANARY", b"HOME", b"OPENAI_API_KEY", b"PATH")]
""",
        ("document",),
        ["None"] * 4,
    ),
    Case("environment in /proc", "RESULT = open('/proc/self/environ').read()"),
    Case("environment of the parent", "RESULT = open('/proc/@PARENT@/environ').read()"),
    Case("environment of the zygote", "RESULT = open('/proc/@ZYGOTE@/environ').read()"),
    Case(
        "memory of the parent",
        "f = open('/proc/@PARENT@/mem', 'rb')\nf.seek(0x400000)\nRESULT = f.read(64).hex()",
    ),
    Case("memory of the zygote, for writing", "RESULT = open('/proc/@ZYGOTE@/mem', 'r+b').read(1)"),
    Case("maps of the parent", "RESULT = open('/proc/@PARENT@/maps').read()"),
    Case("command lines", "import os\nRESULT = [p for p in os.listdir('/proc') if p.isdigit()]"),
    Case("canary file", "RESULT = open('@CANARY@').read()"),
    Case(
        "canary file through libc",
        """
import ctypes
libc = ctypes.CDLL(None)
fd = libc.open(b"@CANARY@", 0)
if fd < 0:
    raise OSError("refused")
RESULT = fd
""",
    ),
    Case("canary file by a relative path", "RESULT = open('../../../../..' + '@CANARY@').read()"),
    Case(
        "canary file through linecache and tokenize",
        "import linecache, tokenize\nRESULT = linecache.getlines('@CANARY@')",
        ("document",),
        [],
    ),
    Case("canary file through numpy", "import numpy\nRESULT = numpy.fromfile('@CANARY@').tolist()"),
    Case("canary file through jnp", "import jax.numpy\nRESULT = str(jax.numpy.load('@CANARY@'))"),
    Case("canary file through mmap", "import mmap, os\nmmap.mmap(os.open('@CANARY@', 0), 0)"),
    Case(
        "canary folder as a module",
        "import sys\nsys.path.insert(0, '@FOLDER@')\nimport canary_module\nRESULT = 1",
    ),
    Case("canary folder listed", "import os\nRESULT = os.listdir('@FOLDER@')"),
    Case(
        "canary file through openat2",
        """
import ctypes, os, struct
how = ctypes.create_string_buffer(24)
fd = ctypes.CDLL(None).syscall(437, -100, b"@CANARY@", how, 24)
if fd < 0:
    raise OSError("refused")
RESULT = os.read(fd, 100).decode()
""",
    ),
    Case(
        "canary file through a handle",
        """
import ctypes
libc = ctypes.CDLL(None)
handle = ctypes.create_string_buffer(b"\\x80" + bytes(200))
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, b"@CANARY@", handle, ctypes.byref(mount), 0) < 0:
    raise OSError("refused")
RESULT = libc.open_by_handle_at(3, handle, 0)
""",
    ),
    Case(
        "passwords",
        "import pwd\nRESULT = [e.pw_name for e in pwd.getpwall()]",
        ("trace", "document"),
        [],
    ),
    Case("shadow file", "RESULT = open('/etc/shadow').read()"),
    Case(
        "keys at home",
        """
import glob, os
RESULT = [p for home in ("/root", "/home/*", os.path.expanduser("~"))
          for p in glob.glob(home + "/.ssh/*") + glob.glob(home + "/.aws/*")]
""",
        ("document",),
        [],
    ),
    Case("root listed", "import os\nRESULT = os.listdir('/')"),
    Case("devices", "RESULT = [open(d, 'rb').read(1) for d in ('/dev/mem', '/dev/vda')]"),
    Case("kernel log", "RESULT = open('/dev/kmsg').read(10)"),
    Case(
        "beside the package",
        """
import os, gsim_jax
RESULT = open(os.path.join(os.path.dirname(list(gsim_jax.__path__)[0]), "pyproject.toml")).read()
""",
    ),
    Case(
        "inherited descriptors",
        """
import os, stat
RESULT = []
for fd in range(256):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        continue
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        RESULT.append([fd, mode])
""",
        ("document",),
        [],
    ),
    Case(
        "strings in its own memory",
        """
import gc
RESULT = [o for o in gc.get_objects() if isinstance(o, dict) and "GSIM_CANARY" in o]
RESULT = len(RESULT)
""",
        ("document",),
        0,
    ),
    Case(
        "frames of the worker",
        """
import sys
frame, RESULT = sys._getframe(), []
while frame is not None:
    RESULT.append(sorted(k for k in frame.f_locals if "canary" in k.lower()))
    frame = frame.f_back
RESULT = sum(RESULT, [])
""",
        ("document",),
        [],
    ),
    Case(
        "subclasses without builtins",
        """
__builtins__ = {}
kinds = ().__class__.__base__.__subclasses__()
wrap = [k for k in kinds if k.__name__ == "_wrap_close"][0]
RESULT = wrap.__init__.__globals__["popen"]("cat @CANARY@").read()
""",
    ),
)
