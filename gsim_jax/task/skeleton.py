"""A task folder to fill in."""

from __future__ import annotations

from pathlib import Path

TASK_TOML = """\
# A task: what is to be simulated, and the data that show it. A line that begins with "# " is an
# explanation; one that begins with "#" and no blank is an option: take the # away to use it.
# 'gsim profile DIR' shows what the data say.

name = "example"
title = "An infection in a closed community"  # one line for reports
step = "day"                                  # time between two rows
horizon = 20                                  # steps; a full trajectory has horizon + 1 rows

# State variables: what changes by itself. kind is one of
#   count     a whole number, not negative       real      any number
#   flag      0 or 1                             category  a code 0, 1, 2, ...
[state.well]
kind = "count"
doc = "people who are not ill"
unit = "people"

[state.ill]
kind = "count"
#max = 100                # bounds; a count has min = 0 by itself
doc = "people who are ill"
unit = "people"

#[state.bed]
#kind = "category"
#shape = [3]              # an array, with columns bed[0], bed[1], bed[2]
#exchangeable = "slot"    # arrays of this name describe the same things, which have no order
#observed = false         # no table has columns for it

# Numbers computed from a row; they are scored like states, and tables may have columns for them.
[derived.share_ill]
value = "ill / (well + ill)"
doc = "share of the community that is ill"

# Decisions and forcing that come with the data; the value in row t acts on the step t -> t + 1.
#[input.lockdown]
#kind = "flag"
#default = 0              # without a default every row must give a value

# Fixed numbers, inline or from a file (.csv without a header, or .npy).
[constant.population]
value = 30
doc = "people in the community"

#[constant.contacts]
#file = "contacts.csv"
#shape = [3, 3]

# A number of each trajectory, the same in all its rows (the size of a site).
#[attribute.beds]
#kind = "count"

# What must hold in every row. Names of the row, initial.X, previous.X; + - * / // % **,
# comparisons, and/or/not, abs min max sum mean.
[[rule]]
name = "nobody comes or goes"
holds = "well + ill == population"

# Tidy tables, .csv or .parquet: columns trajectory, t (0, 1, 2, ...) or date (2024-03-31), then the
# variables above. An empty cell means not observed. Several tables of a split are put together.
[data]
train = ["train.csv"]
#validation = ["validation.csv"]  # candidates are ranked on it; without it, on the training data
#test = ["test.csv"]
# aggregate.ill = "sum:7" says that the column ill holds sums over 7 steps.
# Instead of train, validation and test, one table can be divided by time:
#   table = "all.csv"
#   split = { validation_from = 14, test_from = 18 }
"""

DESCRIPTION = """\
# An infection in a closed community

Write here what an expert would tell a newcomer: what the system is, what happens in it and why,
what drives it, what is known to hold, how the data were recorded and what they leave out. This text
goes to whoever proposes simulators, together with task.toml.

The example: thirty people live together. An illness passes between them; those who are ill get well
again and can fall ill again.
"""

_ILL = {
    "a": (1, 2, 3, 5, 8, 10, 13, 14, 16, 15, 17, 16, 18, 15, 16, 17, 15, 16, 18, 17, 16),
    "b": (3, 4, 7, 9, 11, 14, 15, 17, 16, 18, 16, 17, 15, 17, 18, 16, 17, 16, 15, 17, 18),
}


def new_task(directory: str | Path) -> Path:
    """Writes a commented task folder that loads without problems.

    Args:
        directory: the folder; it is made where it does not exist.

    Returns:
        The folder.

    Raises:
        FileExistsError: one of the files is there already; nothing is written then.
        NotADirectoryError: the path is a file.
    """
    folder = Path(directory)
    rows = ["trajectory,t,well,ill"]
    rows += [f"{name},{t},{30 - ill},{ill}" for name, c in _ILL.items() for t, ill in enumerate(c)]
    files = {
        "task.toml": TASK_TOML,
        "description.md": DESCRIPTION,
        "train.csv": "\n".join(rows) + "\n",
    }
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"expected a folder, got the file {str(folder)!r}")
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise FileExistsError(
            f"{str(folder)!r} already has {', '.join(present)}: choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
