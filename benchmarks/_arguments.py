"""What the benchmarks' command lines have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Numbers(click.ParamType):
    """Whole numbers with commas between, a tuple in the order given.

    Args:
        expected: what a message says is expected.
        fits: whether numbers are as expected.
    """

    name = "numbers"

    def __init__(self, expected: str, fits: Callable[[tuple[int, ...]], bool]) -> None:
        self.expected, self.fits = expected, fits

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """``1,7,20`` as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(part) for part in value.split(","))
        except ValueError:
            found = ()
        if not found or not self.fits(found):
            self.fail(f"expected {self.expected}; got {value!r}", param, ctx)
        return found
