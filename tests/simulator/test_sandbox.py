"""The sandbox as a caller sees it: documents, messages, limits, layers, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gsim_jax.simulator import _warm
from gsim_jax.simulator.sandbox import Layer, Sandbox, isolation_level
from gsim_jax.task.problems import SimulatorError
from tests.simulator.hostile.world import ENTRY, HERE, processes_with
from tests.simulator.sources import SIR, SIR_SIGNATURE


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as shared:
        yield shared


@pytest.fixture(scope="module")
def bare():
    """A sandbox whose entry runs the source as it is."""
    with Sandbox(entry=ENTRY, path=[HERE], wall=6.0, cpu=1.0) as shared:
        yield shared


def refusal(box: Sandbox, source: str, filename: str = "simulator.py") -> SimulatorError:
    with pytest.raises(SimulatorError) as caught:
        box.trace(source, {}, filename)
    return caught.value


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone_within(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_a_program_comes_back_as_a_document(sandbox) -> None:
    document = json.loads(sandbox.trace(SIR, SIR_SIGNATURE))
    assert document["format"] == "gsim-program"
    assert document["submodules"] == ["infection", "recovery"]
    laws = [o.get("law") for o in document["functions"]["infection"]["operations"]]
    assert laws.count("binomial") == 1


def test_the_same_bytes_from_another_sandbox(sandbox) -> None:
    with Sandbox() as other:
        assert other.trace(SIR, SIR_SIGNATURE) == sandbox.trace(SIR, SIR_SIGNATURE)


def test_the_order_of_sets_is_the_same_in_every_sandbox(bare) -> None:
    source = "RESULT = list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    with Sandbox(entry=ENTRY, path=[HERE]) as other:
        assert other.trace(source, {}) == bare.trace(source, {})


def test_mistakes_come_back_with_their_line_and_file(sandbox) -> None:
    source = SIR.replace('state["I"] / n', 'state["X"] / n')
    with pytest.raises(SimulatorError) as caught:
        sandbox.trace(source, SIR_SIGNATURE, "mine.py")
    problem = caught.value.problems[0]
    assert problem.line == 1 + source[: source.index('state["X"]')].count("\n")
    assert problem.file == "mine.py"
    assert "X" in problem.message


def test_warm_traces_take_well_under_a_second(sandbox) -> None:
    sandbox.trace(SIR, SIR_SIGNATURE)
    times = []
    for number in range(5):
        start = time.perf_counter()
        sandbox.trace(f"{SIR}\nK = {number}\n", SIR_SIGNATURE)
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 1.0


def test_the_same_source_again_is_not_traced_again(sandbox) -> None:
    first = sandbox.trace(SIR, SIR_SIGNATURE)
    start = time.perf_counter()
    assert sandbox.trace(SIR, SIR_SIGNATURE) == first
    assert time.perf_counter() - start < 0.02
    narrower = {"states": SIR_SIGNATURE["states"], "inputs": {}}
    assert sandbox.trace(SIR, narrower) == first, "t is not used"


def test_eight_at_once(sandbox) -> None:
    sources = [f"{SIR}\nM = {number}\n" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(lambda source: sandbox.trace(source, SIR_SIGNATURE), sources))
    assert len(set(documents)) == 1, "an unused constant leaves no trace"


def test_arrays_may_be_made_at_the_top_of_a_file(sandbox) -> None:
    source = SIR.replace("LATENT = {}", "LATENT = {}\nK = jnp.array([1.0, 2.0])")
    source = source.replace('params["beta"] *', 'params["beta"] * K[1] *')
    document = json.loads(sandbox.trace(source, SIR_SIGNATURE))
    assert document["functions"]["infection"]["operations"]


def test_the_warm_process_has_one_thread_and_no_backend(sandbox) -> None:
    sandbox.trace(SIR, SIR_SIGNATURE)
    interpreter = next(layer for layer in sandbox.status() if layer.name == "interpreter")
    assert "threads" not in interpreter.detail
    assert len(os.listdir(f"/proc/{sandbox.pid}/task")) == 1


def test_nothing_that_one_program_does_reaches_the_next(bare) -> None:
    bare.trace("import jax.numpy, json\njax.numpy.exp = json.loads = None", {})
    later = "import jax.numpy, json\nRESULT = callable(jax.numpy.exp) and json.loads('[1]')"
    assert json.loads(bare.trace(later, {}))["result"] == [1]


def test_a_loop_without_end_is_told_with_its_line() -> None:
    # The child has a tenth of its limit left to say where it was: time enough on a busy machine.
    with Sandbox(entry=ENTRY, path=[HERE], wall=60.0, cpu=2.0) as box:
        error = refusal(box, "x = 1\ny = 2\nwhile True:\n    x = x + y\n")
    assert error.problems[0].code == "time-limit"
    assert error.problems[0].line in (3, 4)
    assert "2 s of processor time" in str(error)


def test_the_wall_limit_holds_within_a_fifth() -> None:
    stubborn = """
import signal, time
signal.signal(signal.SIGALRM, signal.SIG_IGN)
while True:
    time.sleep(1)
"""
    with Sandbox(entry=ENTRY, path=[HERE], wall=2.0) as box:
        box.status()
        start = time.perf_counter()
        error = refusal(box, stubborn)
        took = time.perf_counter() - start
    assert error.problems[0].code == "time-limit"
    assert 2.0 <= took < 2.4 + 0.4, "start and burial of the child come on top"


def test_source_and_memory_have_bounds(bare) -> None:
    assert refusal(bare, "#" * 70_000).problems[0].code == "size"
    with pytest.raises(ValueError, match="2147483648 bytes or more"):
        Sandbox(memory=1 << 30)
    with pytest.raises(ValueError, match="one of namespaces, seccomp, walk"):
        Sandbox(require="docker")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected some of namespaces"):
        Sandbox(without=["everything"])
    with pytest.raises(ValueError, match="positive"):
        Sandbox(wall=0)


def test_layers_are_reported_as_they_came_out(bare) -> None:
    layers = {layer.name: layer for layer in bare.status()}
    assert {"limits", "capabilities", "seccomp", "files", "network", "cleanup"} <= set(layers)
    assert layers["limits"].active
    assert "4096 MiB" in layers["limits"].detail
    assert all(layer.detail for layer in layers.values())


@pytest.mark.parametrize(
    ("on", "level"),
    [
        ({"seccomp", "files", "network", "pid namespace", "network namespace"}, "namespaces"),
        ({"seccomp", "files", "network", "landlock"}, "seccomp"),
        ({"seccomp", "files", "network", "pid namespace"}, "seccomp"),
        ({"seccomp", "network", "pid namespace", "network namespace"}, "walk"),
        ({"pid namespace", "network namespace", "files", "network"}, "walk"),
        (set(), "walk"),
    ],
)
def test_levels(on: set[str], level: str) -> None:
    names = ("seccomp", "files", "network", "pid namespace", "network namespace", "landlock")
    assert isolation_level([Layer(name, name in on, "") for name in names]) == level


def test_nothing_runs_below_the_required_level(tmp_path) -> None:
    without = ["namespaces"]
    with Sandbox(entry=ENTRY, path=[HERE], without=without, require="namespaces") as box:
        error = refusal(box, "RESULT = 1")
    assert error.problems[0].code == "isolation"
    assert "'namespaces' is required, 'seccomp' holds here" in str(error)
    assert "pid namespace: left out by request" in str(error)
    # The layers come first and the program after them: here it never arrives.
    everything = ["namespaces", "mount", "landlock", "seccomp"]
    target = tmp_path / "written"
    with Sandbox(entry=ENTRY, path=[HERE], without=everything, require="seccomp") as box:
        error = refusal(box, f"import os\nos.mkdir({str(target)!r})")
    assert error.problems[0].code == "isolation"
    assert not target.exists()


@pytest.mark.parametrize(
    "without",
    [
        ["namespaces"],
        pytest.param(["mount", "landlock"], marks=pytest.mark.slow),
        pytest.param(["namespaces", "landlock"], marks=pytest.mark.slow),
    ],
    ids="+".join,
)
def test_programs_trace_with_fewer_layers(without: list[str]) -> None:
    with Sandbox(without=without, require="seccomp") as box:
        assert json.loads(box.trace(SIR, SIR_SIGNATURE))["submodules"]
        source = SIR.replace("LATENT = {}", "LATENT = {}\nK = jnp.array([1.0, 2.0])")
        assert json.loads(box.trace(source, SIR_SIGNATURE))["submodules"]


def test_weak_isolation_warns_and_what_it_leaves_behind_is_walked(tmp_path) -> None:
    marker = tmp_path / "pids"
    daemon = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open({str(marker)!r}, "w") as file:  # no bytes: the size limit holds here too
            pass
        time.sleep(60)
    os._exit(0)
time.sleep(0.5)
RESULT = os.listdir({str(tmp_path)!r})
"""
    everything = ["namespaces", "mount", "landlock", "seccomp"]
    with Sandbox(entry=ENTRY, path=[HERE, str(tmp_path)], without=everything) as box:
        assert box.level() == "walk"
        with pytest.warns(RuntimeWarning, match="weak isolation"):
            found = json.loads(box.trace(daemon, {}))["result"]
        assert found == ["pids"], "the daemon ran"
        assert processes_with(str(tmp_path)) == [box.pid]


def test_closing_ends_everything(tmp_path) -> None:
    box = Sandbox(entry=ENTRY, path=[HERE, str(tmp_path)], wall=30.0)
    box.status()
    zygote = box.pid
    errors: list[SimulatorError] = []

    def sleep() -> None:
        errors.append(refusal(box, "import time\ntime.sleep(60)"))

    thread = threading.Thread(target=sleep)
    thread.start()
    deadline = time.monotonic() + 10
    family: list[int] = []
    while len(family) < 3 and time.monotonic() < deadline:
        family = processes_with(str(tmp_path))
    box.close()
    thread.join(10)
    assert not thread.is_alive()
    assert zygote in family
    assert gone_within(family, 3)
    assert "closed" in errors[0].problems[0].message, "not told as a fault of the program"
    assert refusal(box, "RESULT = 1").problems[0].code == "isolation"


def test_everything_ends_with_a_killed_parent(tmp_path) -> None:
    program = f"""
import sys, threading, time
from gsim_jax.simulator.sandbox import Sandbox
box = Sandbox(entry={ENTRY!r}, path=[{HERE!r}, {str(tmp_path)!r}], wall=60.0)
box.status()
threading.Thread(target=box.trace, args=("import time\\ntime.sleep(60)", {{}})).start()
time.sleep(1)
print("ready", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        family = processes_with(str(tmp_path))
        family.remove(parent.pid)
        assert len(family) >= 3, "zygote, keeper, child"
        os.kill(parent.pid, signal.SIGKILL)
    assert gone_within(family, 3)


def test_a_process_that_forgets_to_close_leaves_nothing(tmp_path) -> None:
    program = f"""
import os
from gsim_jax.simulator.sandbox import Sandbox
box = Sandbox(entry={ENTRY!r}, path=[{HERE!r}])
print(box.trace("RESULT = 1", {{}}))
if os.fork() == 0:  # a copy of the process that ends first takes nothing away
    raise SystemExit
os.wait()
print(box.trace("RESULT = 2", {{}}))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    run = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["b'{\"result\":1}'", "b'{\"result\":2}'"]
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_survives_the_thread_that_opened_it() -> None:
    boxes: list[Sandbox] = []

    def start() -> None:
        boxes.append(Sandbox(entry=ENTRY, path=[HERE]))
        boxes[0].status()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    pid = boxes[0].pid
    time.sleep(0.2)
    with boxes[0] as box:
        assert box.trace("RESULT = 1", {}) == b'{"result":1}'
        assert box.pid == pid


def test_a_killed_warm_process_is_started_again() -> None:
    with Sandbox(entry=ENTRY, path=[HERE]) as box:
        box.status()
        first = box.pid
        os.kill(first, signal.SIGKILL)
        assert gone_within([first], 3)
        assert box.trace("RESULT = 1", {}) == b'{"result":1}'
        assert box.pid != first


def test_a_tracer_that_does_not_import_says_so() -> None:
    with Sandbox(entry="no_such_module:run", path=[HERE]) as box:
        error = refusal(box, "RESULT = 1")
    assert error.problems[0].code == "isolation"
    assert "no_such_module" in str(error)


def test_the_warm_up_program_is_sound(sandbox) -> None:
    assert sandbox.trace(_warm.SOURCE, _warm.SIGNATURE)
