"""Observed trajectories as dense arrays with masks, and the task that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.task.schema import Schema


@dataclass(frozen=True, eq=False)
class Trajectories:
    """n trajectories padded to the longest one (``rows``). All arrays are NumPy.

    Only rows ``0 .. length - 1`` of a trajectory exist; t is the row's number. Padding rows are
    unseen and zero. A missing entry is 0 in the array and False in the mask, never a NaN.

    Attributes:
        ids: the trajectories' names as written in the tables.
        length: int32[n], rows per trajectory.
        states: variable -> int32 or float32[n, rows, *shape], 0 where unseen.
        seen: variable -> bool[n, rows, *shape]. A state whose column holds sums over several
            steps is itself not seen; the sums are in `outputs`.
        inputs: input -> array[n, rows, *shape], the default where the table gives nothing; with a
            calendar also ``weekday`` (0 = Monday) and ``day_of_year`` (1..366).
        attributes: attribute -> array[n].
        outputs: float32[n, rows, V] in the order of ``schema.outputs``, 0 where unseen.
        outputs_seen: bool[n, rows, V].
        dates: datetime64[s][n, rows] (NaT in padding rows) where the tables give dates, else None.
    """

    ids: tuple[str, ...]
    length: np.ndarray
    states: dict[str, np.ndarray]
    seen: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    attributes: dict[str, np.ndarray]
    outputs: np.ndarray
    outputs_seen: np.ndarray
    dates: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> int:
        """Rows of the longest trajectory."""
        return int(self.outputs.shape[1])

    @property
    def exists(self) -> np.ndarray:
        """bool[n, rows]: True for rows that are part of a trajectory, False for padding."""
        return np.arange(self.rows)[None, :] < self.length[:, None]

    def take(self, indices: Sequence[int] | np.ndarray) -> Trajectories:
        """The trajectories at these positions, in this order, padded as before.

        Args:
            indices: positions in ``range(len(self))``; repeats are allowed (bootstrap).

        Raises:
            IndexError: a position is outside the range.
        """
        picked = np.asarray(indices, dtype=np.int64).reshape(-1)

        def pick(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: array[picked] for name, array in arrays.items()}

        return Trajectories(
            ids=tuple(self.ids[i] for i in picked),
            length=self.length[picked],
            states=pick(self.states),
            seen=pick(self.seen),
            inputs=pick(self.inputs),
            attributes=pick(self.attributes),
            outputs=self.outputs[picked],
            outputs_seen=self.outputs_seen[picked],
            dates=None if self.dates is None else self.dates[picked],
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A task folder as read: what is to be simulated, and the data.

    Attributes:
        path: the folder.
        schema: variables, inputs, rules and the description.
        train: data that parameters are fitted to.
        validation: data that candidates are ranked on; None means that ranking is in-sample.
        test: data that is looked at once, at the end.
    """

    path: Path
    schema: Schema
    train: Trajectories
    validation: Trajectories | None = None
    test: Trajectories | None = None

    @property
    def splits(self) -> dict[str, Trajectories]:
        """The splits that exist, by name."""
        named: dict[str, Any] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return {name: split for name, split in named.items() if split is not None}
