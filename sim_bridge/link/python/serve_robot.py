"""Template for serving a robot, free-running: replace `read_sensors`, `send_command` and `stop`.

    python serve_robot.py --name robot --listen tcp/127.0.0.1:7447
    python serve_robot.py --name robot --listen tls/0.0.0.0:7447 --keys keys/plant    # reachable from other machines

The robot in this template is SIMULATED: seven joints that follow velocity commands exactly. No hardware moves.
"""

import argparse

from aegis_link import arguments, serve
from aegis_plant import Plant
from aegis_schema import channel, vector

PERIOD_NS = 50_000_000
JOINTS = 7
NAMES = [f"joint{number}" for number in range(1, JOINTS + 1)]


class Robot(Plant):
    """A robot with joint velocity commands (radians per second) and no gripper, one task, no cameras."""

    action_width, tasks, period_ns = JOINTS, 1, PERIOD_NS
    # What policies may read, by name, and what they command. Add whatever your robot measures: a gripper, forces, the tip's pose as
    # `vector("eef_position", ["x", "y", "z"], "m, base frame")`, which 3D views show too.
    features = [vector("joint_positions", NAMES, "rad")]
    channels = [channel(f"{name}_velocity", "rad/s", (-1.0, 1.0), still=0.0) for name in NAMES]
    # A robot with cameras adds `camera("front", HEIGHT, WIDTH)` to its features, and `new_frames` by `aegis_camera.CameraThread`.

    def __init__(self):
        self.joints, self.steps = [0.0] * JOINTS, 0

    def read_sensors(self) -> list:
        """REPLACE: return the joint positions from the robot's driver, radians. Here: the simulated positions."""
        return list(self.joints)

    def send_command(self, velocities: list) -> None:
        """REPLACE: send the velocities to the robot's driver, limited as the robot needs. Here: simulated motion."""
        self.joints = [q + v * PERIOD_NS / 1e9 for q, v in zip(self.joints, velocities)]

    def stop(self) -> None:
        """REPLACE: bring the robot to a standstill by its own means. Here: a simulated joint stands still without a command."""

    def reset(self, task: int, initial_state: int) -> dict:
        # A robot cannot be put into a given state: an operator has arranged the scene, and the robot stands still until it gets a
        # command. `initial_state` is the number of the arrangement, as the robot file's `starts` count them.
        if task:
            raise ValueError(f"unknown task {task}; valid is 0")
        self.steps = 0
        return self.observation()

    def step(self, action: list) -> tuple[dict, bool]:
        self.send_command(action)
        self.steps += 1
        return self.observation(), False

    def hold(self) -> tuple[dict, bool]:
        # Sends nothing. `hold` is called only while the robot already stands still: after `reset` and after `stop`.
        self.steps += 1
        return self.observation(), False

    def observation(self) -> dict:
        return {
            "plant_time": self.steps * PERIOD_NS / 1e9,
            "task": 0,
            "instruction": "follow the controller",
            "values": {"joint_positions": self.read_sensors()},
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    serve(Robot(), **arguments(parser, "robot"))
