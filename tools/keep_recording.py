"""Copies the conversation of a run into a folder of recordings, with a README that says what it is.

    python tools/keep_recording.py RUN TO --by "who answered: the model and where it ran"

TO then holds `chat/` (every request and reply), and `gsim run TASK --proposer replay:TO` plays it
back. A recording is what was really said: nothing in it is edited, and what answered has to be
named.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

README = """\
# A recorded conversation

{by}

| | |
|---|---|
| task | {task}: {title} |
| model asked for | {model} |
| prompts | version {prompts} |
| length | {rounds} rounds, {proposals} proposals each, {replies} replies |
| run with | gsim_jax {version}, seed {seed}, calibrator {calibrator} |
| ended | {reason}; best candidate {best} |

`chat/` holds every request and every reply as it was sent and received, numbered by round, slot and
attempt; nothing is edited, only the key of the account would be taken out. To play it back:

```
gsim run TASK --proposer replay:{here} --seed {seed}{more}
```

A request that differs from the recorded one (another version of the prompts, other numbers on
another machine) is a warning, with `--strict` an error.
"""


def main() -> int:
    """Copies; exit status 2 where something is missing or in the way."""
    parser = argparse.ArgumentParser(description="Keeps the conversation of a run.")
    parser.add_argument("run", type=Path, help="a run folder with chat/ in it")
    parser.add_argument("to", type=Path, help="a new folder")
    parser.add_argument("--by", required=True, help="who answered: the model, and where it ran")
    given = parser.parse_args()
    chat = given.run / "chat"
    if not any(chat.glob("r*.reply.json")):
        return _refuse(f"expected a run folder with chat/r*.reply.json; {given.run} has none")
    if given.to.exists() and any(given.to.iterdir()):
        return _refuse(f"expected a new or empty folder; {given.to} holds something")
    words = README.format(**_facts(given.run), by=given.by.strip(), here=given.to)
    shutil.copytree(chat, given.to / "chat", ignore=shutil.ignore_patterns("*.tmp"))
    (given.to / "README.md").write_text(words, encoding="utf-8")
    print(f"{given.to}: {len(list(chat.glob('r*.reply.json')))} replies")
    return 0


def _facts(run: Path) -> dict[str, Any]:
    """What the README says, read off the run's record."""
    configuration = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    requests = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((run / "chat").glob("r*.request.json"))
    ]
    ends = {event["event"]: event for event in events if event["event"] in ("stop", "end")}
    return {
        "task": configuration["task"]["name"],
        "title": configuration["task"]["title"],
        "model": requests[0]["body"].get("model"),
        "prompts": ", ".join(sorted({request["prompt_version"] for request in requests})),
        "rounds": 1 + max(request["round"] for request in requests),
        "proposals": 1 + max(request["slot"] for request in requests),
        "replies": len(list((run / "chat").glob("r*.reply.json"))),
        "version": configuration["versions"].get("gsim_jax"),
        "seed": configuration["seed"],
        "calibrator": configuration["calibrator"],
        "more": " --calibrate none" if configuration["calibrator"] == "guess" else "",
        "reason": ends.get("stop", {}).get("reason", "not yet"),
        "best": ends.get("end", {}).get("best"),
    }


def _refuse(words: str) -> int:
    print(words, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
