"""Many LIBERO environments of one task, stepped together on several threads without Python's lock."""

import os
from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ._checks import acted, check_settings, counted, known
from ._native import Plants
from .environment import (
    ACTION,
    STANDING,
    EpisodeSnapshot,
    Layout,
    checked_state,
    load_scenes,
    plant_of,
    steps_of,
)

__all__ = ["LiberoVectorEnv"]

# Most environments at once. MuJoCo reserves 1.3 GB of address space for each, of which it uses a thousandth.
MOST = 4096


class LiberoVectorEnv(gymnasium.vector.VectorEnv):
    """`num_envs` environments of a LIBERO task, as `LiberoEnv` is one. Observations and actions have a first axis of `num_envs`.

    `reset(seed=N)` begins initial states N, N + 1, … modulo their number, `reset(seed=[…])` or `options={"initial_state": […]}` the given
    ones. An episode that ended begins anew with the next `step`, whose action is not executed there (gymnasium's next-step autoreset), at
    the initial state `num_envs` further; `info["initial_state"]` names it. A step or a reset that is refused changes nothing.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        suite: str = "libero_spatial",
        task: int = 0,
        *,
        cameras: tuple = (),
        size: int = 128,
        names: str = "aegis",
        settle_steps: int = 0,
        horizon: int | None = None,
        sample_seed: int | None = None,
        scenes: str | os.PathLike | None = None,
        threads: int | None = None,
        max_episode_steps: int | None = None,
    ):
        horizon = max_episode_steps if horizon is None else horizon
        num_envs = counted("num_envs", num_envs, 1, MOST)
        threads = counted("threads", (os.cpu_count() or 1) if threads is None else threads, 1, 1024)
        check_settings(cameras, size, names, horizon, settle_steps, sample_seed)
        self.num_envs, self.suite, self.render_mode = num_envs, suite, None
        self.scenes = load_scenes(suite, scenes, sample_seed, bool(cameras))
        self.task = task = counted("task", task, 0, self.scenes.task_count - 1)
        self._sampled = sample_seed is not None
        self.instruction, self.initial_states = self.scenes.instruction(task), self.scenes.initial_states(task)
        self.horizon = steps_of(suite, horizon)
        self._settle_steps = settle_steps
        self._layout = Layout(self.scenes, task, cameras, size, names)
        self.single_observation_space = self._layout.observation_space
        self.single_action_space = self._layout.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._plants = Plants(self.scenes, num_envs, min(num_envs, threads), (list(cameras), size, size) if cameras else None)
        self._next, self._states = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs, dtype=np.int64)
        self._steps, self._ended = np.zeros(num_envs, dtype=np.int64), None

    def reset(self, *, seed: int | list | None = None, options: dict | None = None):
        options = known(options, ("initial_state",))
        one = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
        super().reset(seed=int(seed) if one else None)
        self._open()
        states = options.get("initial_state")
        if states is None and seed is None:
            states = self.np_random.integers(self.initial_states, size=self.num_envs)
        elif states is None:
            seeds = [int(seed) + number for number in range(self.num_envs)] if one else self._each("seed", seed)
            states = [counted("seed", each, 0, 2**63) % self.initial_states for each in seeds]
        elif isinstance(states, (int, np.integer)):
            states = [states] * self.num_envs
        each = self._each("initial_state", states)
        states = np.array([checked_state(self.scenes, self.task, state, self._sampled) for state in each], dtype=np.int64)
        self._ended = None
        vectors = self._begin(np.arange(self.num_envs), states)
        self._states = states.copy()
        self._next = (states + self.num_envs) % self.initial_states
        self._steps[:], self._ended = 0, np.zeros(self.num_envs, dtype=bool)
        return self._observed(vectors), self._info(np.zeros(self.num_envs, dtype=bool))

    def step(self, actions):
        if self._ended is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before step()")
        actions = acted("actions", actions, (self.num_envs, ACTION))
        begins = self._ended.copy()
        vectors, success = self._open().step(actions, begins.tolist())
        if begins.any():
            numbers = np.flatnonzero(begins)
            fresh = self._begin(numbers, self._next[numbers])
            vectors = vectors if vectors.shape[1] else np.zeros((self.num_envs, fresh.shape[1]))
            vectors[numbers] = fresh
            self._states[numbers] = self._next[numbers]
            self._next[numbers] = (self._next[numbers] + self.num_envs) % self.initial_states
        self._steps = np.where(begins, 0, self._steps + 1)
        truncated = (self._steps >= self.horizon) & ~success
        self._ended = success | truncated
        return self._observed(vectors), success.astype(np.float64), success.copy(), truncated, self._info(success)

    def snapshot(self, number: int) -> EpisodeSnapshot:
        """Saves the episode of one environment, for this one or any other of the same suite and task."""
        number = counted("number", number, 0, self.num_envs - 1)
        if self._ended is None or self._ended[number]:
            raise gymnasium.error.ResetNeeded(f"environment {number}: no episode is on; valid is reset() before snapshot()")
        return EpisodeSnapshot(self._open().save(number), self.suite, self.task, int(self._steps[number]))

    def restore(self, snapshots: EpisodeSnapshot | Sequence[EpisodeSnapshot]) -> dict:
        """Resumes saved episodes, bit for bit: every environment from the same one, or each from its own. Returns the observations.
        `info["initial_state"]` and the initial states of later episodes stay as they were."""
        each = [snapshots] * self.num_envs if isinstance(snapshots, EpisodeSnapshot) else list(snapshots)
        if len(each) != self.num_envs:
            raise ValueError(f"snapshots: found {len(each)}; valid is one, or {self.num_envs}")
        kept = [plant_of(one, self.suite, self.task) for one in each]
        vectors = np.stack([self._open().resume(number, one) for number, one in enumerate(kept)])
        self._steps[:], self._ended = [one.steps for one in each], np.zeros(self.num_envs, dtype=bool)
        return self._observed(vectors)

    def close_extras(self, **_) -> None:
        self._plants = None

    def _open(self) -> Plants:
        if self._plants is None:
            raise gymnasium.error.ClosedEnvironmentError("the environments are closed; valid are new ones")
        return self._plants

    def _each(self, name: str, values) -> list:
        """Returns one value for each environment."""
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or len(np.shape(values)) != 1:
            raise TypeError(f"{name}: found {values!r}; valid is a whole number, or a list of {self.num_envs}")
        if len(values) != self.num_envs:
            raise ValueError(f"{name}: found {len(values)} values; valid is {self.num_envs}, one for each environment")
        return list(values)

    def _info(self, success: np.ndarray) -> dict:
        return {"initial_state": self._states.copy(), "is_success": success.copy()}

    def _begin(self, numbers: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Begins episodes on the plants of these numbers; returns their observation vectors in this order."""
        vectors = self._plants.reset([(int(number), self.task, int(state)) for number, state in zip(numbers, states)])
        others = np.isin(np.arange(self.num_envs), numbers, invert=True).tolist()
        for _ in range(self._settle_steps):
            vectors = self._plants.step(np.tile(STANDING, (self.num_envs, 1)), others)[0][numbers]
        return vectors

    def _observed(self, vectors: np.ndarray) -> dict:
        pictures = {}
        if self._layout.cameras:
            drawn = [dict(self._plants.frames(number)) for number in range(self.num_envs)]
            pictures = {name: np.concatenate([one[name] for one in drawn]) for name in self._layout.cameras}
        return self._layout.observation(vectors, self._plants.finger_velocities(), pictures)
