"""How long the straight runs of code are that compilers make of a program.

Element-by-element operations that feed one another are fused into one block of machine code. Such
blocks grow without a loop in sight when a file loops in Python, and LLVM's scheduler in jaxlib 0.10
takes all memory on a block of some 500 multiply-adds (seen with AVX-512; `-disable-post-ra` avoids
it), so their length is limited before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gsim_jax.simulator.code import Code
from gsim_jax.simulator.evaluate import Function
from gsim_jax.simulator.vocabulary import TABLE

# Operations that end a run: what they compute is stored before others read it.
_STORED = frozenset(
    {
        "argmax", "argmin", "convolve", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum",
        "dot", "draw", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod",
        "reduce_sum", "reduce_xor", "scan", "scatter_add", "scatter_max", "scatter_min",
        "scatter_mul", "scatter_set", "scatter_sub", "sort", "top_k",
    }
)  # fmt: skip


def longest_run(functions: Mapping[str, Function], order: Sequence[str]) -> tuple[int, str]:
    """The most element-by-element operations that hang together, and the function they end in.

    Args:
        functions: functions by name.
        order: names in the order of one step; outputs of one hang together with their readers.
    """
    # A run is a set of operations, kept as the bits of an integer.
    produced: dict[str, int] = {}
    longest, where, used = 0, "", 0
    for name in order:
        function = functions[name]
        runs = [_run_of(path, produced) for path in function.paths]
        results, most, used = _runs(function.code, runs, used)
        produced |= dict(zip(function.outputs, results, strict=True))
        if most > longest:
            longest, where = most, name
    return longest, where


def _run_of(path: tuple[str, ...], produced: Mapping[str, int]) -> int:
    made_before = path[0] == "outputs" or path[:2] == ("inputs", "outputs")
    return produced.get(path[-1], 0) if made_before else 0


def _runs(code: Code, inputs: Sequence[int], used: int) -> tuple[list[int], int, int]:
    values, longest = list(inputs), 0
    for step in code.steps:
        run = 0
        for operand in step.ins:
            run |= values[operand] if isinstance(operand, int) else 0
        if step.operation not in _STORED and TABLE[step.operation].elementwise:
            run |= 1 << used
            used += 1
        longest = max(longest, run.bit_count())
        if step.body is not None:
            _, inside, used = _runs(step.body, [0] * len(step.body.inputs), used)
            longest = max(longest, inside)
        values.extend([0 if step.operation in _STORED else run] * len(step.outs))
    results = [values[operand] if isinstance(operand, int) else 0 for operand in code.outputs]
    return results, longest, used
