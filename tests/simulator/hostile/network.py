"""Programs that try to reach a listener, a name server, or a neighbour on this machine."""

from __future__ import annotations

from tests.simulator.hostile.case import Case

CASES = (
    Case("tcp", "import socket\nsocket.create_connection(('127.0.0.1', @PORT@), 1).send(b'x')"),
    Case(
        "udp",
        """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"x", ("127.0.0.1", @PORT@))
""",
    ),
    Case("tcp over ipv6", "import socket\nsocket.create_connection(('::1', @PORT@), 1).send(b'x')"),
    Case(
        "unix socket",
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('@SOCKET@')\ns.send(b'x')",
    ),
    Case(
        "abstract unix socket",
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(chr(0) + 'gsim')",
    ),
    Case("pair of sockets", "import socket\nsocket.socketpair()"),
    Case("raw packets", "import socket\nsocket.socket(17, 3, 3)"),
    Case("netlink", "import socket\nsocket.socket(16, 3, 0)"),
    Case("vsock", "import socket\nsocket.socket(40, 1, 0)"),
    Case("name server", "import socket\nRESULT = socket.getaddrinfo('example.org', 80)"),
    Case("name server, old", "import socket\nRESULT = socket.gethostbyname('example.org')"),
    Case(
        "web",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:@PORT@/', timeout=1)",
    ),
    Case(
        "asyncio",
        "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', @PORT@))",
    ),
    Case(
        "socket by number",
        """
import ctypes, platform
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
fd = ctypes.CDLL(None).syscall(number, 2, 1, 0)
if fd < 0:
    raise OSError("refused")
RESULT = fd
""",
    ),
    Case(
        "socket by the 32-bit table",
        """
import ctypes, mmap, platform
assert platform.machine() == "x86_64", "refused: there is no such table"
code = mmap.mmap(-1, 4096, prot=7)
# mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; ret
code.write(bytes.fromhex("53b867010000bb02000000b90100000031d2cd805bc3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
RESULT = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
assert RESULT >= 0, "refused"
""",
        ("crash", "trace"),
    ),
    Case(
        "socket by the x32 table",
        """
import ctypes, platform
assert platform.machine() == "x86_64", "refused: there is no such table"
fd = ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0)
assert fd >= 0, "refused"
""",
        ("crash", "trace"),
    ),
    Case(
        "ring of requests",
        """
import ctypes
fd = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))
if fd < 0:
    raise OSError("refused")
RESULT = fd
""",
    ),
)
