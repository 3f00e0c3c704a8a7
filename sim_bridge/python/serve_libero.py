"""Serves upstream LIBERO, in lock-step or at its control rate, to controllers that implement docs/reference/protocol.md.

    python serve_libero.py --suite libero_spatial --name upstream --listen tcp/127.0.0.1:7447
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "link/python"))

from aegis_plant import Plant  # noqa: E402
from aegis_link import arguments, serve  # noqa: E402
from fresh import Fresh  # noqa: E402
from upstream import mujoco, open_suite  # noqa: E402


class Libero(Plant):
    """A plant with one open upstream environment: opening another task closes the present one, because each environment
    takes hundreds of megabytes."""

    action_width, lock_step = 7, True

    def __init__(self, suite_name: str):
        self.suite = open_suite(suite_name)
        self.tasks = self.suite.get_num_tasks()
        self.task, self.upstream, self.start = None, None, 0.0
        self.open(0)
        self.period_ns = round(1e9 / self.env.env.control_freq)

    @property
    def env(self):
        return self.upstream.env

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
        orientation = np.empty(4)
        mujoco.mju_mat2Quat(orientation, data.site_xmat[site].ravel())
        position_of = lambda names: [float(data.get_joint_qpos(name)) for name in names]  # noqa: E731
        return {
            "plant_time": float(data.time - self.start),
            "task": self.task,
            "instruction": self.env.language_instruction,
            "joint_positions": position_of(robot.robot_joints),
            "end_effector": {"position": data.site_xpos[site].tolist(), "orientation": orientation.tolist()},
            "gripper": position_of(robot.gripper_joints),
            "objects": [
                {"name": key, "pose": self.body_pose(model.body_name2id(item.root_body))}
                for key, item in domain.objects_dict.items()
            ],
        }

    def body_pose(self, body: int) -> dict:
        data = self.env.sim.data
        return {"position": data.body_xpos[body].tolist(), "orientation": data.body_xquat[body].tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="libero_spatial", help="default: %(default)s")
    given = arguments(parser, "upstream")
    serve(Libero(given.pop("suite")), **given)
