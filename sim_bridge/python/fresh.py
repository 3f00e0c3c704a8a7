"""Upstream episodes that all begin as the first episode of a new environment, without the seconds that a reset takes.
This module restores the state that upstream keeps between episodes."""

import copy

from upstream import mujoco, open_task

# Null action: no motion, gripper open.
NULL = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]


class Fresh:
    """An environment that begins every episode as a newly opened environment would.

    A second `env.reset()` does not achieve this: upstream keeps the samplers of drawers and knobs from earlier resets.
    Each of these samplers draws again, so later draws, such as a cabinet's position, differ for the same seed.
    """

    def __init__(self, suite, index: int):
        self.env = open_task(suite, index)
        self.initial_states = suite.get_task_init_states(index)
        self.positions = slice(1, 1 + self.env.sim.model.nq)
        model, data = self.env.sim.model._model, self.env.sim.data._data
        self._data = mujoco.MjData(model)
        mujoco.mj_copyData(self._data, model, data)
        self._controller = self._arrays(self.env.robots[0].controller)
        self._fingers = copy.copy(self.env.robots[0].gripper.current_action)

    @staticmethod
    def _arrays(controller) -> dict:
        # All attributes except the reference to the simulation, which does not change.
        return {name: copy.copy(value) for name, value in vars(controller).items() if name != "sim"}

    def begin(self, state) -> None:
        """Restores the state of the new environment, then sets an initial state as upstream's evaluation does."""
        env, robot = self.env, self.env.robots[0]
        mujoco.mj_copyData(env.sim.data._data, env.sim.model._model, self._data)
        vars(robot.controller).update({name: copy.copy(value) for name, value in self._controller.items()})
        robot.gripper.current_action = copy.copy(self._fingers)
        env.env.timestep, env.env.done = 0, False
        env.set_init_state(state)

    def step(self, action) -> bool:
        """Executes an action; returns whether the goal is met after it."""
        met = bool(self.env.step(action)[2])
        # Upstream refuses to step a finished episode; the comparison continues.
        self.env.env.done = False
        return met

    def state(self):
        return self.env.get_sim_state()
