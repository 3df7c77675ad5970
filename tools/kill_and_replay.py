"""Kills a run that talks to a model at random instants, resumes it, looks at what is asked again.

    python tools/kill_and_replay.py --kills 20

The model is a server on loopback that answers with fixtures after a random while and counts. Each
kill has a run of its own. It has to end as the uninterrupted run does, and nothing may be asked
twice but what was under way at the kill. Exit status 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gsim_jax.propose.chat_record import ChatRecord, Place  # noqa: E402
from tests.helpers.answers import town  # noqa: E402
from tests.helpers.fault_server import FaultServer  # noqa: E402
from tests.search.chatting import candidates  # noqa: E402
from tests.search.town import write_task  # noqa: E402


@dataclass(frozen=True)
class Bench:
    """Where runs are made.

    Attributes:
        task: The task folder.
        server: Who answers and counts.
        url: Its address.
        environment: Of the processes.
    """

    task: Path
    server: FaultServer
    url: str
    environment: dict[str, str]

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """Begins a run, or continues the one in `out`."""
        command = [sys.executable, "-m", "tests.search.talker", str(self.task), str(out), self.url]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def finish(self, out: Path) -> None:
        """Runs to the end."""
        status = self.start(out).wait(600)
        if status:
            raise SystemExit(f"the run in {out} ended with status {status}")


def main() -> int:
    """Prints one line per kill."""
    parser = argparse.ArgumentParser(description="Kills runs that talk to a model, resumes them.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    scratch = Path(tempfile.mkdtemp(prefix="kill-and-replay-"))
    delays = random.Random(given.seed + 1)
    server = FaultServer(town, delay=lambda: delays.uniform(0.0, 1.0))
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "OPENAI_API_KEY": "sk-of-a-tool-that-kills",
    }
    with server.serve() as url:
        task = write_task(scratch / "task")
        bench = Bench(task, server, url, {**os.environ, **cache})
        bench.finish(scratch / "warm")  # compiles once for all
        begin = time.monotonic()
        bench.finish(scratch / "whole")
        length = time.monotonic() - begin
        whole = candidates(scratch / "whole")
        print(f"an uninterrupted run takes {length:.1f} s and {len(server.calls) // 2} requests")
        fine: list[bool] = []
        number = 0
        while len(fine) < given.kills:
            number += 1
            found = _killed(bench, scratch / f"run-{number}", chance.uniform(0.0, length), whole)
            fine += [] if found is None else [found]
    shutil.rmtree(scratch)
    print(f"{sum(fine)} of {len(fine)} kills ended as they should")
    return 0 if all(fine) else 1


def _killed(bench: Bench, out: Path, wait: float, whole: dict) -> bool | None:
    """One kill, one resumption; None where the run was quicker."""
    bench.server.calls.clear()
    process = bench.start(out)
    try:
        process.wait(wait)
        return None
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    answered = {place for place in _places(out) if ChatRecord(out / "chat").reply(place)}
    asked = len(bench.server.calls)
    before = [call.digest for call in bench.server.calls]
    bench.finish(out)
    after = bench.server.calls[asked:]
    kept = {bench.server.calls[i].digest for i in range(asked)}
    again = [call for call in after if call.digest in kept]
    needless = [call for call in again if _has_reply(call.body, out, answered)]
    same = candidates(out) == whole
    pending = len(set(before)) - len(answered)
    print(
        f"killed after {wait:5.1f} s: {asked} asked, {len(answered)} answered, "
        f"{pending} under way; "
        f"{len(again)} asked again, {len(needless)} of them needlessly; "
        f"{'the same end' if same else 'ANOTHER END'}",
        flush=True,
    )
    return same and not needless


def _places(out: Path) -> list[Place]:
    chat = out / "chat"
    return ChatRecord(chat).places() if chat.is_dir() else []


def _has_reply(body: dict, out: Path, answered: set[Place]) -> bool:
    """Whether the reply to a request was on disk when the run was killed."""
    record = ChatRecord(out / "chat")
    return any((record.request(place) or {}).get("body") == body for place in answered)


if __name__ == "__main__":
    sys.exit(main())
