"""What hostile programs are let loose on: a secret, listeners, and a sandbox without a guard."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task.problems import SimulatorError
from tests.simulator.hostile.case import Case
from tests.simulator.sources import SIR_SIGNATURE

ENTRY = "payload:run"
HERE = str(Path(__file__).parent)
SECRET = "the-canary-sings-7c1f"


@dataclass
class Ending:
    """How one program ended: a code or "document", what came back, and how long it took."""

    code: str
    reply: str
    seconds: float
    error: SimulatorError | None = None
    raw: bytes = b""

    @property
    def result(self) -> Any:
        """What the program left in RESULT."""
        return json.loads(self.reply)["result"]


@dataclass
class World:
    """The things that programs attack, and what happened to them."""

    folder: Path
    heard: list[str] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    port: int = 0

    @property
    def canary(self) -> Path:
        """The secret file."""
        return self.folder / "canary.txt"

    def open(self) -> None:
        """Writes the secret and starts to listen."""
        self.folder.mkdir(exist_ok=True)
        self.canary.write_text(SECRET)
        (self.folder / "canary_module.py").write_text(f"SECRET = {SECRET!r}\n")
        os.utime(self.canary, (1e9, 1e9))
        self.before = self.state()
        tcp = socket.create_server(("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", self.port))
        local = socket.socket(socket.AF_UNIX)
        local.bind(str(self.folder.parent / "listener"))
        local.listen()
        self.sockets = [tcp, udp, local]
        for each in self.sockets:
            threading.Thread(target=self._listen, args=(each,), daemon=True).start()

    def _listen(self, server: socket.socket) -> None:
        try:
            if server.type == socket.SOCK_DGRAM:
                self.heard.append(f"a packet: {server.recv(100)!r}")
            else:
                server.accept()
                self.heard.append("a connection")
        except OSError:
            return

    def state(self) -> dict[str, Any]:
        """Everything about the folder that a program could change."""
        return {
            path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime)
            for path in sorted(self.folder.iterdir())
        }

    def close(self) -> None:
        """Stops listening."""
        for each in self.sockets:
            each.close()

    def holes(self, sandbox: Sandbox) -> dict[str, object]:
        """Values for the holes of a case."""
        sandbox.status()
        return {
            "CANARY": self.canary,
            "FOLDER": self.folder,
            "PORT": self.port,
            "SOCKET": self.folder.parent / "listener",
            "PARENT": os.getpid(),
            "ZYGOTE": sandbox.pid,
        }


def run(sandbox: Sandbox, source: str) -> Ending:
    """Lets one program loose."""
    start = time.monotonic()
    try:
        raw = sandbox.trace(source, SIR_SIGNATURE, "hostile.py")
    except SimulatorError as error:
        code, reply = error.problems[0].code, str(error)
        return Ending(code, reply, time.monotonic() - start, error)
    reply = raw.decode("utf-8", "replace")
    return Ending("document", reply, time.monotonic() - start, raw=raw)


def run_all(world: World, sandbox: Sandbox, cases: tuple[Case, ...]) -> dict[str, Ending]:
    """Lets them all loose, four at a time."""
    holes = world.holes(sandbox)
    with ThreadPoolExecutor(4) as pool:
        endings = pool.map(lambda case: run(sandbox, case.fill(holes)), cases)
        return {case.name: ending for case, ending in zip(cases, endings, strict=True)}


def processes_with(mark: str) -> list[int]:
    """Processes whose command line holds a text."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                found.append(int(name))
    return found
