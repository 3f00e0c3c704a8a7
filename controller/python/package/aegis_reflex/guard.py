"""The guard: a fitted probe and a gate, asked at each chunk boundary."""

import json
from os import PathLike, fspath

import numpy as np

from ._native import Decision
from ._native import Guard as _Guard
from .probe import merged

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
        `{"kind": "conformal"}`. Raises ValueError for a file that is no probe, and for a setting that is unknown or not valid.
        """
        rule = {"kind": "conformal"} if rule is None else rule
        return cls(_Guard.load(fspath(path), json.dumps(merged("gate", limits)), json.dumps(rule)))

    def reset(self) -> None:
        """Begins an episode."""
        self._native.reset()

    def boundary(self, step: int, activation: np.ndarray, disagreement: float | None = None) -> Decision:
        """Decides who drives the chunk that begins at control step `step`.

        `activation` is the weak policy's activation of its newest inference, `[width]` or `[tokens, width]`, which is averaged over
        tokens in float64. Call it once for each boundary, in order. `disagreement` is the distance between both policies' chunks, for
        the rule that reads it. Where `decision.driver` is "strong", the weak policy's chunk is not executed.
        """
        values = np.asarray(activation)
        if values.ndim == 2:
            values = values.mean(axis=0, dtype=np.float64)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ValueError(
                f"activation: found shape {np.shape(activation)} of {values.dtype}; valid is [width] or [tokens, width] of numbers"
            )
        return self._native.boundary(step, np.ascontiguousarray(values, dtype=np.float64), disagreement)

    def decide(self, step: int, score: float, disagreement: float | None = None) -> Decision:
        """Decides as `boundary` does, by a score that was computed before, 0 to 1; NaN is the highest risk."""
        return self._native.decide(step, score, disagreement)

    @property
    def width(self) -> int:
        """Number of values of an activation."""
        return self._native.width

    @property
    def chunk_steps(self) -> int:
        """Control steps between boundaries."""
        return self._native.chunk_steps
