"""A guard in a plain loop: a point that its weak policy steers to a mark, and sometimes past it, with a backup that always finds it.

    python guard_in_a_loop.py

Nothing of AEGIS runs here but the probe and the gate. Replace `Weak`, `strong` and the plant in `episode` by yours.
"""

import tempfile
from pathlib import Path

import numpy as np

from aegis_reflex import Guard, fit_probe

HORIZON, CHUNK = 60, 5  # Control steps of an episode, and of a chunk.


class Weak:
    """Steers towards the mark through a random hidden layer, and away from it where the mark lies far to the left."""

    hidden = np.random.default_rng(0).normal(size=(16, 2))

    def infer(self, position: float, mark: float) -> tuple[float, np.ndarray]:
        activation = np.tanh(self.hidden @ [position, mark])
        return (0.02 if mark > -0.6 else -0.03) * np.sign(mark - position), activation


def strong(position: float, mark: float) -> float:
    return 0.04 * np.sign(mark - position)


def episode(seed: int, guard: Guard | None, rows: dict | None = None) -> bool:
    """Runs one episode; returns whether the mark was reached. Records the activation of each inference in `rows`."""
    mark = np.random.default_rng(seed).uniform(-1.0, 1.0)
    position, weak = 0.0, Weak()
    first = len(rows["step"]) if rows else 0
    if guard:
        guard.reset()
    for step in range(0, HORIZON, CHUNK):
        velocity, activation = weak.infer(position, mark)
        if guard and guard.boundary(step, activation).driver == "strong":
            velocity = strong(position, mark)
        if rows:
            for name, value in (("task", 0), ("episode", seed), ("step", step), ("activation", activation)):
                rows[name].append(value)
        for _ in range(CHUNK):
            position += velocity
            if abs(mark - position) < 0.05:
                break
        if abs(mark - position) < 0.05:
            break
    reached = bool(abs(mark - position) < 0.05)
    if rows:
        rows["success"] += [reached] * (len(rows["step"]) - first)
    return reached


with tempfile.TemporaryDirectory() as folder:
    rows = {name: [] for name in ("task", "episode", "step", "activation", "success")}
    for seed in range(200):
        episode(seed, None, rows)
    probe = Path(folder) / "probe.json"
    fit_probe({name: np.array(values) for name, values in rows.items()}, probe, horizon_steps=HORIZON, chunk_steps=CHUNK)
    guard = Guard.load(probe, {"horizon_steps": HORIZON, "chunk_steps": CHUNK, "guard_fraction": 0.1, "hold_chunks": 6})
alone = sum(episode(seed, None) for seed in range(1000, 1200))
guarded = sum(episode(seed, guard) for seed in range(1000, 1200))
print(f"weak alone reached {alone} of 200 marks, with the guard {guarded}")
