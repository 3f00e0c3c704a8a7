"""The guard: a fitted probe and a gate, asked at each chunk boundary."""

from os import PathLike, fspath

import numpy as np

from ._checks import counted, encoded
from ._native import Decision
from ._native import Guard as _Guard
from .probe import merged, own_steps

__all__ = ["Decision", "Guard"]


class Guard:
    """A probe and a gate within one episode. Decisions are those of `aegis run` and `aegis experiment` on the same numbers, bit for bit."""

    def __init__(self, native: _Guard):
        self._native = native

    @classmethod
    def load(cls, path: str | PathLike, limits: dict | None = None, rule: dict | None = None) -> "Guard":
        """Reads a probe file.

        `limits` changes fields of the table `[gate]` of a plan's template, such as `horizon_steps`, `chunk_steps`, `guard_fraction`,
        `budget_fraction`, `duty_cap`, `hold_chunks`, `return_chunks` and `whole_holds`. `rule` is the table `[rule]`, by default
        `{"kind": "conformal"}`. What a probe file says of its own episodes, `horizon_steps` and `chunk_steps`, is taken from it. Raises
        ValueError for a file that is no probe, for a setting that is unknown or not valid, and for another horizon or chunk than the
        probe's.
        """
        given = dict(limits or {})
        for name, own in own_steps(path).items():
            if given.setdefault(name, own) != own:
                raise ValueError(f"limits.{name}: found {given[name]}; valid is {own}, for which {fspath(path)} was fitted")
        rule = {"kind": "conformal"} if rule is None else rule
        return cls(_Guard.load(fspath(path), encoded("limits", merged("gate", given)), encoded("rule", rule)))

    def reset(self) -> None:
        """Begins an episode."""
        self._native.reset()

    def boundary(self, step: int, activation: np.ndarray, disagreement: float | None = None) -> Decision:
        """Decides who drives the chunk that begins at control step `step`.

        `activation` is the weak policy's activation of its newest inference, `[width]` or `[tokens, width]`, which is averaged over
        tokens in float64. Call it once for each boundary, in order; a step is a multiple of `chunk_steps` within the horizon.
        `disagreement` is the distance between both policies' chunks, for the rule that reads it. Where `decision.driver` is "strong", the weak policy's chunk is not executed.
        """
        values = np.asarray(activation)
        if values.ndim == 2 and values.dtype.kind in "fiu" and len(values):
            values = values.mean(axis=0, dtype=np.float64)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ValueError(
                f"activation: found shape {np.shape(activation)} of {values.dtype}; valid is [width] or [tokens, width] of numbers"
            )
        return self._native.boundary(self._step(step), np.ascontiguousarray(values, dtype=np.float64), disagreement)

    def decide(self, step: int, score: float, disagreement: float | None = None) -> Decision:
        """Decides as `boundary` does, by a score that was computed before, 0 to 1; NaN is the highest risk."""
        return self._native.decide(self._step(step), score, disagreement)

    @staticmethod
    def _step(step: int) -> int:
        return counted("step", step, 0, 2**32 - 1)

    @property
    def width(self) -> int:
        """Number of values of an activation."""
        return self._native.width

    @property
    def chunk_steps(self) -> int:
        """Control steps between boundaries."""
        return self._native.chunk_steps
