"""A run with a conversation in a process of its own, to be killed from outside.

    python -m tests.search.talker TASK OUT URL

starts the run in OUT, or continues it where there is one. The key is that of the environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gsim_jax.calibrate.guess import Guess
from gsim_jax.propose import ChatOptions, ChatProposer
from gsim_jax.search import resume, run
from tests.search.chatting import LIMITS, OPTIONS
from tests.search.town import SEED, make_small


def main() -> None:
    """Runs to the end, or until somebody kills this process."""
    task, out, url = sys.argv[1:]
    make_small(setattr)
    if (Path(out) / "run.json").is_file():
        resume(out, connection={"base_url": url})
        return
    proposer = ChatProposer(ChatOptions(**{**OPTIONS, "base_url": url}))
    run(task, proposer=proposer, seed=SEED, out=out, calibrator=Guess(), **LIMITS)


if __name__ == "__main__":
    main()
