"""Programs that write, create, remove or leave something somewhere."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

CASES = (
    Case("overwrites the canary", "open('@CANARY@', 'w').write('gone')"),
    Case("appends to the canary", "open('@CANARY@', 'a').write('more')"),
    Case("truncates the canary", "import os\nos.truncate('@CANARY@', 0)"),
    Case("removes the canary", "import os\nos.remove('@CANARY@')"),
    Case("renames the canary", "import os\nos.rename('@CANARY@', '@CANARY@.old')"),
    Case("changes the canary's mode", "import os\nos.chmod('@CANARY@', 0o777)"),
    Case("changes the canary's time", "import os\nos.utime('@CANARY@', (0, 0))"),
    Case("links to the canary", "import os\nos.link('@CANARY@', '@FOLDER@/x')"),
    Case("makes a symbolic link", "import os\nos.symlink('@CANARY@', '@FOLDER@/x')"),
    Case("makes a folder", "import os\nos.mkdir('@FOLDER@/x')"),
    Case("makes a device", "import os\nos.mkfifo('@FOLDER@/x')"),
    Case("writes beside the canary", "open('@FOLDER@/x', 'w').write('x')"),
    Case("writes where it stands", "open('x', 'w').write('x')"),
    Case("writes a temporary file", "import tempfile\ntempfile.TemporaryFile().write(b'x')"),
    Case(
        "writes into the package",
        "import gsim_jax\nopen(list(gsim_jax.__path__)[0] + '/x.py', 'w')",
    ),
    Case("writes into jax", "import jax, os\nopen(os.path.dirname(jax.__file__) + '/x.py', 'w')"),
    Case("overwrites jax", "import jax\nopen(jax.__file__, 'a').write('# x')"),
    Case(
        "data base", "import sqlite3\nsqlite3.connect('@FOLDER@/x').execute('create table t (a)')"
    ),
    Case(
        "shared memory",
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory('x', True, 64)",
    ),
    Case(
        "shared memory, old",
        "import ctypes\nassert ctypes.CDLL(None).shmget(4711, 4096, 0o1600) >= 0, 'refused'",
    ),
    Case("file in memory", "import os\nos.memfd_create('x')"),
    Case(
        "disk bomb",
        "f = open('@FOLDER@/x', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))",
    ),
    Case(
        "mounts", "import ctypes\nassert ctypes.CDLL(None).mount(b'x', b'/', b'tmpfs', 0, 0) == 0"
    ),
    Case("changes its root", "import os\nos.chroot('/')"),
    Case("leaves its folder", "import os\nos.chdir('/')"),
    Case(
        "enters namespaces",
        "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0, 'refused'",
    ),
)
