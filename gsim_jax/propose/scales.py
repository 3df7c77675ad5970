"""Sizes read from the data, so that priors fit tasks of any magnitude."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema


@dataclass(frozen=True)
class Scales:
    """Orders of magnitude.

    Attributes:
        size: largest value seen of each variable, at least 1 for counts and positive for reals.
        step: typical change per step of each variable, positive.
        whole: size of everything that moves between pools.
        steps: length of the data in steps.
        unit: of time, a word.
    """

    size: dict[str, float] = field(default_factory=dict)
    step: dict[str, float] = field(default_factory=dict)
    whole: float = 1000.0
    steps: int = 100
    unit: str = "day"

    @classmethod
    def read(cls, schema: Schema, profile: Profile, whole: str = "") -> Scales:
        """Scales of a task.

        Args:
            schema: its schema.
            profile: what its data show.
            whole: constant or attribute that all pools add up to, where there is one.
        """
        size, step = {}, {}
        for name, state in schema.states.items():
            seen = profile.variables.get(name)
            least = 1.0 if state.kind != "real" else 1e-6
            top = _number(seen and max(abs(_number(seen.minimum)), abs(_number(seen.maximum))))
            spread = _number(seen and seen.increment_sd) + abs(
                _number(seen and seen.increment_mean)
            )
            size[name] = max(top, least)
            step[name] = max(spread, 1e-3 * size[name])
        total = sum(size.values()) or 1000.0
        if whole in schema.constants:
            total = float(schema.constants[whole].value)
        steps = int(schema.horizon or 0) or 100
        return cls(size, step, max(total, 1.0), steps, schema.step or "step")

    def pools(self) -> dict[str, object]:
        """Placeholders of flow mechanisms."""
        whole = self.whole
        return {
            "step": self.unit,
            "scale": max(1, round(whole)),
            "low_scale": max(1, round(whole / 50)),
            "high_scale": number(whole),
            "low_contact": number(0.02 / whole),
            "mid_contact": number(1 / whole),
            "high_contact": number(50 / whole),
            "middle": number(self.steps / 2),
            "fade": number(6 / self.steps),
            "minus_fade": number(-6 / self.steps),
        }

    def level(self, name: str, unit: str) -> dict[str, object]:
        """Placeholders of level mechanisms."""
        step = self.step.get(name, 1.0)
        return {
            "step": self.unit,
            "unit": unit or "1",
            "x_size": number(self.size.get(name, 1.0)),
            "x_step": number(step),
            "low_step": number(step / 100),
            "high_step": number(step * 10),
        }


def number(value: float) -> str:
    """Three significant digits, as Python writes a float."""
    return repr(float(f"{value:.3g}"))


def _number(value: float | None) -> float:
    return float(value) if value is not None and value == value else 0.0
