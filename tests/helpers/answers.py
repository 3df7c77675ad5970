"""Replies for the small town of `tests.search.town`: fixtures, never recordings of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.helpers.fault_server import fenced
from tests.search.town import FALL, FILES, RECOVER, simulator

_PLACE = re.compile(r"# Round (\d+), proposal (\d+) of")

#: Its guesses are good, so that it wins without any calibration.
RIGHT = (
    simulator("People fall ill and recover", True, True)
    .replace('"p": Uniform(0.0, 1.0, guess=0.2)', f'"p": Uniform(0.0, 1.0, guess={FALL})')
    .replace('"q": Uniform(0.0, 1.0, guess=0.2)', f'"q": Uniform(0.0, 1.0, guess={RECOVER})')
)
WRONG = ("only falling ill", "only recovering")


def place(body: Mapping[str, Any]) -> tuple[int, int]:
    """Round and proposal of a request, from 1, as its first question names them."""
    found = _PLACE.search(body["messages"][1]["content"])
    assert found is not None
    return int(found.group(1)), int(found.group(2))


def repairs(body: Mapping[str, Any]) -> bool:
    """Whether a request sends something back."""
    return len(body["messages"]) > 2


def variant(round_: int, slot: int) -> str:
    """A wrong program of its own for each place: guesses differ, so no two are equal."""
    title = WRONG[(round_ + slot) % 2]
    return FILES[title].replace("guess=0.2", f"guess=0.2{round_}{slot}")


def town(body: Mapping[str, Any], last: int = 2, refused: int = 2) -> str:
    """Wrong programs, one that is refused and mended when sent back, and the right one at last.

    Args:
        body: The request.
        last: The round, from 1, whose first proposal is right.
        refused: The proposal, from 1, that imports something at first; 0 for none.
    """
    round_, slot = place(body)
    if round_ >= last and slot == 1:
        return fenced(RIGHT)
    source = variant(round_, slot)
    if (round_, slot) == (1, refused) and not repairs(body):
        source = "import os\n" + source
    return fenced(source)
