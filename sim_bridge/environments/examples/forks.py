"""Searches for actions in LIBERO: forks an episode into sixteen environments, keeps the best branch, and forks that one again.

    python forks.py

Each round restores one snapshot in every environment, moves each along a direction of its own, and keeps the one whose gripper came
nearest to the bowl. Replace `distance` by what you search for, and the random directions by your policy's samples.
"""

import numpy as np

from aegis_libero import LiberoEnv, LiberoVectorEnv

BRANCHES, STEPS, ROUNDS = 16, 8, 3


def distance(observation: dict) -> np.ndarray:
    """Metres from the grip site to a point 5 cm above the bowl."""
    above = observation["object/akita_black_bowl_1/position"] + [0.0, 0.0, 0.05]
    return np.linalg.norm(above - observation["eef_position"], axis=-1)


def main() -> None:
    one, many = LiberoEnv(task=0), LiberoVectorEnv(BRANCHES, task=0)
    observation, _ = one.reset(seed=3)
    before = distance(observation)
    kept, draw = one.snapshot(), np.random.default_rng(0)
    for number in range(ROUNDS):
        many.restore(kept)
        actions = np.zeros((BRANCHES, 7))
        actions[:, :3] = draw.uniform(-1.0, 1.0, (BRANCHES, 3))
        actions[:, 6] = -1.0
        for _ in range(STEPS):
            observation, *_ = many.step(actions)
        best = int(distance(observation).argmin())
        kept = many.snapshot(best)
        print(f"round {number + 1}: branch {best} is {100 * distance(observation)[best]:.1f} cm away")
    after = distance(one.restore(kept))
    print(f"from {100 * before:.1f} cm to {100 * after:.1f} cm in {ROUNDS * STEPS} steps, with {ROUNDS * STEPS * BRANCHES} simulated")


if __name__ == "__main__":
    main()
