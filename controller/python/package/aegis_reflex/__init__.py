"""The probe, the gate and the paired statistics of AEGIS, in somebody else's loop.

    guard = Guard.load("probe.json", limits={"horizon_steps": 300, "chunk_steps": 10})
    guard.reset()
    decision = guard.boundary(step, activation)    # decision.driver is "weak" or "strong"

`fit_probe` fits the probe on rollouts that `ActivationRecorder` or any other program wrote; `aegis_reflex.statistics` has exact paired
tests. Arrays are numpy's; wrong arguments raise ValueError or TypeError with the argument, what was found and what is valid.
"""

from . import statistics
from .guard import Decision, Guard
from .probe import calibrate, defaults, evaluate, fit_probe
from .recorder import ActivationRecorder

__all__ = ["ActivationRecorder", "Decision", "Guard", "calibrate", "defaults", "evaluate", "fit_probe", "statistics"]
