"""Serves upstream LIBERO, in lock-step or at its control rate, to controllers that implement docs/reference/protocol.md.

    python serve_libero.py --suite libero_spatial --name upstream --listen tcp/127.0.0.1:7447
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "link/python"))

from aegis_link import arguments, serve  # noqa: E402
from aegis_plant import Plant  # noqa: E402
from aegis_schema import channel, vector  # noqa: E402
from fresh import Fresh  # noqa: E402
from upstream import mujoco, open_suite  # noqa: E402


JOINTS = [f"joint{number}" for number in range(1, 8)]
XYZ, XYZW = ["x", "y", "z"], ["x", "y", "z", "w"]
CHANNELS = [
    *(channel(f"delta_{axis}", "1 is 0.05 m a control step, world frame", (-1, 1), 0) for axis in XYZ),
    *(channel(f"delta_rotation_{axis}", "1 is 0.5 rad a control step, world frame", (-1, 1), 0) for axis in XYZ),
    channel("gripper", "1 closes, -1 opens", (-1, 1), -1),
]


def objects_of(name: str) -> list:
    """Returns the features of an object."""
    return [
        vector(f"object/{name}/position", XYZ, "m, world frame: root body"),
        vector(f"object/{name}/quaternion", XYZW, "world frame: root body"),
    ]


class Libero(Plant):
    """A plant with one open upstream environment: opening another task closes the present one, because each environment
    takes hundreds of megabytes."""

    action_width, lock_step, channels = len(CHANNELS), True, CHANNELS

    def __init__(self, suite_name: str):
        self.suite = open_suite(suite_name)
        self.tasks = self.suite.get_num_tasks()
        self.task, self.upstream, self.start = None, None, 0.0
        self.open(0)
        self.period_ns = round(1e9 / self.env.env.control_freq)

    @property
    def env(self):
        return self.upstream.env

    @property
    def features(self) -> list:
        return [
            vector("joint_positions", JOINTS, "rad"),
            vector("joint_velocities", JOINTS, "rad/s"),
            vector("eef_position", XYZ, "m, world frame: grip site"),
            vector("eef_quaternion", XYZW, "world frame: hand body"),
            vector("eef_site_quaternion", XYZW, "world frame: grip site"),
            vector("gripper_positions", ["finger1", "finger2"], "m"),
            *(feature for name in self.env.env.objects_dict for feature in objects_of(name)),
        ]

    def open(self, task: int) -> None:
        """Opens the task's environment, unless it is already open, and closes the previous one."""
        if task == self.task:
            return
        if self.upstream is not None:
            self.env.close()
        self.task, self.upstream = None, None
        self.upstream = Fresh(self.suite, task)
        self.task = task

    def reset(self, task: int, initial_state: int) -> dict:
        if task >= self.tasks:
            raise ValueError(f"unknown task {task}; valid are 0 to {self.tasks - 1}")
        self.open(task)
        states = self.upstream.initial_states
        if initial_state >= len(states):
            raise ValueError(f"unknown initial state {initial_state} of task {task}; valid are 0 to {len(states) - 1}")
        # A further `env.reset()` would move the fixtures of a task with a drawer.
        self.upstream.begin(states[initial_state])
        self.start = self.env.sim.data.time
        return self.observation()

    def step(self, action: list) -> tuple[dict, bool]:
        # The end of an episode is the controller's decision, so success does not end the episode here.
        success = self.upstream.step(np.asarray(action, dtype=np.float64))
        if not all(map(math.isfinite, self.env.get_sim_state())):
            raise RuntimeError("the simulation diverged")
        return self.observation(), success

    def hold(self) -> tuple[dict, bool]:
        # Upstream's actions are changes of pose: zero moves neither the arm nor the fingers.
        return self.step([0.0] * self.action_width)

    def state(self) -> list:
        """Returns time, positions and velocities; then the controller's target position, target orientation row by row and
        normalised finger commands; then the solver's warm start."""
        robot = self.env.robots[0]
        controller = robot.controller
        fingers = np.broadcast_to(robot.gripper.current_action, len(robot.gripper.actuators))
        parts = (
            self.env.get_sim_state(),
            controller.goal_pos,
            np.ravel(controller.goal_ori),
            fingers,
            self.env.sim.data.qacc_warmstart,
        )
        return np.concatenate(parts).tolist()

    def observation(self) -> dict:
        domain, data, model, robot = self.env.env, self.env.sim.data, self.env.sim.model, self.env.robots[0]
        site = model.site_name2id(robot.controller.eef_name)
        hand = model.body_name2id(robot.robot_model.eef_name)
        orientation = np.empty(4)
        mujoco.mju_mat2Quat(orientation, data.site_xmat[site].ravel())
        values = {
            "joint_positions": [data.get_joint_qpos(name) for name in robot.robot_joints],
            "joint_velocities": [data.get_joint_qvel(name) for name in robot.robot_joints],
            "eef_position": data.site_xpos[site],
            "eef_quaternion": np.roll(data.body_xquat[hand], -1),
            "eef_site_quaternion": np.roll(orientation, -1),
            "gripper_positions": [data.get_joint_qpos(name) for name in robot.gripper_joints],
        }
        for key, item in domain.objects_dict.items():
            body = model.body_name2id(item.root_body)
            values[f"object/{key}/position"] = data.body_xpos[body]
            values[f"object/{key}/quaternion"] = np.roll(data.body_xquat[body], -1)
        return {
            "plant_time": float(data.time - self.start),
            "task": self.task,
            "instruction": self.env.language_instruction,
            "values": values,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="libero_spatial", help="default: %(default)s")
    given = arguments(parser, "upstream")
    serve(Libero(given.pop("suite")), **given)
