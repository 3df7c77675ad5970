"""What-if questions: scenarios, sweeps, policies. The room's public names."""

from __future__ import annotations

from gsim_jax.whatif.scenario import Change as Change
from gsim_jax.whatif.scenario import Scenario as Scenario
from gsim_jax.whatif.scenario import add as add
from gsim_jax.whatif.scenario import clip as clip
from gsim_jax.whatif.scenario import read_scenarios as read_scenarios
from gsim_jax.whatif.scenario import replace as replace
from gsim_jax.whatif.scenario import scale as scale
from gsim_jax.whatif.scenario import set_to as set_to
from gsim_jax.whatif.start import Start as Start
from gsim_jax.whatif.start import start_from as start_from
from gsim_jax.whatif.sweep import Model as Model
from gsim_jax.whatif.sweep import sweep as sweep
