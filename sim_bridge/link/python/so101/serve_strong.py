"""Serves the maker's scripted controller for `SO101PickPlace-v0` as a policy of AEGIS: the strong one.

    python serve_strong.py --name so101-strong --listen tcp/127.0.0.1:7451

The controller looks at the arm before each action, and a policy of AEGIS returns several actions at once. This policy therefore puts
a simulator of its own into the observed state and lets the controller act there for the length of a chunk. It remembers nothing:
`phase` tells from the observation alone how far the task has come, so that it takes over from whatever state the weak policy left.
"""

import argparse
import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lerobot_env_so101.scripted import PickPlaceController
from lerobot_env_so101.scripted.pick_place import GRASP_HEIGHT, LIFT_HEIGHT, Phase

import serve_so101
from serve_so101 import CHANNELS, FEATURES, So101

sys.path.append(str(Path(__file__).resolve().parents[1]))

from aegis_policy import Policy  # noqa: E402
from aegis_serve_policy import arguments, serve  # noqa: E402

HORIZON = 5  # Half a second: each action of a chunk costs a step of the simulator.
ALIGNED = 0.012  # Metres, horizontally: the jaws are above the block, or the block is at the goal.
RESTS = 0.004  # Metres above its place on the table.
OPEN = 1.2  # Radians: the jaws clear the block on both sides.
HELD = (0.3, 0.6)  # Radians: jaws with the block between them stop at 0.41, empty ones at -0.17.
STILL = 0.1  # Radians a second: the jaws have stopped.
PACKAGES = ("lerobot-env-so101", "mujoco", "numpy")


def digest() -> str:
    """Returns the SHA-256 of what decides the actions: these two files, and the packages' versions."""
    files = [Path(file).read_bytes() for file in (__file__, serve_so101.__file__)]
    return hashlib.sha256(b"".join(files) + " ".join(map(version, PACKAGES)).encode()).hexdigest()


class Controller(PickPlaceController):
    """The maker's controller, begun in the middle of the task."""

    def __init__(self, values: dict):
        super().__init__()
        # It would take the block's height at its beginning for the table's, and the block may be in the air.
        self._phase, self._table_z = phase(values), values["goal_position"][2]

    def next(self, values: dict) -> np.ndarray:
        """Returns the next action."""
        return self.act(values["eef_position"], values["object/block/position"], values["goal_position"])


class Strong(Policy):
    model = digest()
    horizon, width = HORIZON, len(CHANNELS)
    names = [one["name"] for one in CHANNELS]
    features = [one["name"] for one in FEATURES]
    remembers = False

    def __init__(self):
        self.simulator = So101()

    def infer(self, observation):
        values, actions = observation.values, []
        self.simulator.restore(values)
        controller = Controller(values)
        for _ in range(self.horizon):
            actions.append(controller.next(values))
            values = self.simulator.step(actions[-1])[0]["values"]
        return np.array(actions)


def phase(values: dict) -> Phase:
    """Returns the phase that the controller would be in if it had driven so far."""
    jaws, block, goal = values["eef_position"], values["object/block/position"], values["goal_position"]
    opening, speed = values["joint_positions"][-1], abs(values["joint_velocities"][-1])
    is_closing, was_lifted = values["gripper_command"][0] < 0.5, values["block_was_lifted"][0] > 0.5
    over, rise = jaws[2] - block[2], block[2] - goal[2]
    is_above, is_at_goal = apart(jaws, block) < ALIGNED, apart(block, goal) < ALIGNED
    is_around = is_above and abs(over - GRASP_HEIGHT) < ALIGNED
    if is_around and is_closing and HELD[0] < opening < HELD[1] and speed < STILL:
        if is_at_goal:
            return Phase.OPEN if was_lifted and rise < RESTS else Phase.LOWER
        return Phase.TRAVERSE if rise > LIFT_HEIGHT - ALIGNED else Phase.LIFT
    if is_at_goal and was_lifted and rise < RESTS:
        return Phase.RETREAT
    # Jaws that close go on closing; open ones close once they are low enough.
    if is_around and opening > HELD[0] and (is_closing or (opening > OPEN and over < GRASP_HEIGHT + RESTS)):
        return Phase.CLOSE
    return Phase.DESCEND if is_above and opening > OPEN else Phase.HOVER


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the horizontal distance of two points, metres."""
    return float(np.linalg.norm(one[:2] - other[:2]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    serve(Strong, **arguments(parser, "so101-strong"))
