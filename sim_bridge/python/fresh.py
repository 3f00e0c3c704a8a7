"""Upstream episodes that all begin as the first one in a fresh environment does, without the seconds of a reset.
Owns what upstream remembers between episodes."""

import copy

from upstream import mujoco, open_task

# The action that stays where it is, gripper open.
NULL = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]


class Fresh:
    """An environment that begins every episode as one that has just been opened would.

    A second `env.reset()` would not do: upstream keeps the samplers of drawers and knobs from earlier resets, each of
    them draws again, and whatever is drawn after them (where a cabinet stands) comes out different under one seed.
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
        # All but the reference to the simulation, which stays.
        return {name: copy.copy(value) for name, value in vars(controller).items() if name != "sim"}

    def begin(self, state) -> None:
        """Undoes all that earlier episodes left, then does what upstream's evaluation does with an initial state."""
        env, robot = self.env, self.env.robots[0]
        mujoco.mj_copyData(env.sim.data._data, env.sim.model._model, self._data)
        vars(robot.controller).update({name: copy.copy(value) for name, value in self._controller.items()})
        robot.gripper.current_action = copy.copy(self._fingers)
        env.env.timestep, env.env.done = 0, False
        env.set_init_state(state)

    def step(self, action) -> bool:
        """Whether the goal holds after the action."""
        met = bool(self.env.step(action)[2])
        # Upstream refuses to step a finished episode; the comparison goes on.
        self.env.env.done = False
        return met

    def state(self):
        return self.env.get_sim_state()
