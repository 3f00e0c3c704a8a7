"""Many LIBERO environments of one task, stepped together on several threads without Python's lock."""

import os
from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ._native import Plants
from .environment import ACTION, STANDING, SUITES, EpisodeSnapshot, Layout, check, load_scenes, scenes_folder

__all__ = ["LiberoVectorEnv"]


class LiberoVectorEnv(gymnasium.vector.VectorEnv):
    """`num_envs` environments of a LIBERO task, as `LiberoEnv` is one. Observations and actions have a first axis of `num_envs`.

    `reset(seed=N)` begins initial states N, N + 1, … modulo their number, `reset(seed=[…])` or `options={"initial_state": […]}` the given
    ones. An episode that ended begins anew with the next `step`, whose action is not executed there (gymnasium's next-step autoreset), at
    the initial state `num_envs` further.
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
    ):
        if num_envs < 1:
            raise ValueError(f"num_envs: found {num_envs}; valid is 1 or more")
        self.num_envs, self.task, self.render_mode = num_envs, task, None
        self.scenes = load_scenes(os.fspath(scenes or scenes_folder(suite)), sample_seed, bool(cameras))
        self.instruction, self.initial_states = self.scenes.instruction(task), self.scenes.initial_states(task)
        self.horizon = SUITES.get(suite, max(SUITES.values())) if horizon is None else horizon
        check(cameras, self.horizon, settle_steps)
        self._settle_steps = settle_steps
        self._layout = Layout(self.scenes, task, cameras, size, names)
        self.single_observation_space = self._layout.observation_space
        self.single_action_space = self._layout.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        threads = min(num_envs, threads or os.cpu_count() or 1)
        self._plants = Plants(self.scenes, num_envs, threads, (list(cameras), size, size) if cameras else None)
        self._next = np.zeros(num_envs, dtype=np.int64)
        self._steps, self._ended = np.zeros(num_envs, dtype=np.int64), None

    def reset(self, *, seed: int | list | None = None, options: dict | None = None):
        super().reset(seed=seed if isinstance(seed, int) else None)
        states = (options or {}).get("initial_state")
        if states is None:
            if seed is None:
                states = self.np_random.integers(self.initial_states, size=self.num_envs)
            else:
                seeds = seed + np.arange(self.num_envs) if isinstance(seed, int) else np.array(seed)
                states = seeds % self.initial_states
        states = np.broadcast_to(np.asarray(states, dtype=np.int64), self.num_envs)
        self._open()
        vectors = self._begin(np.arange(self.num_envs), states)
        self._next = (states + self.num_envs) % self.initial_states
        self._steps[:], self._ended = 0, np.zeros(self.num_envs, dtype=bool)
        return self._observed(vectors), {"initial_state": states.copy()}

    def step(self, actions):
        if self._ended is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before step()")
        actions = np.ascontiguousarray(actions, dtype=np.float64)
        if actions.shape != (self.num_envs, ACTION):
            raise ValueError(f"actions: found shape {actions.shape}; valid is ({self.num_envs}, {ACTION})")
        begins = self._ended.copy()
        vectors, success = self._open().step(actions, begins.tolist())
        if begins.any():
            numbers = np.flatnonzero(begins)
            fresh = self._begin(numbers, self._next[numbers])
            vectors = vectors if vectors.shape[1] else np.zeros((self.num_envs, fresh.shape[1]))
            vectors[numbers] = fresh
            self._next[numbers] = (self._next[numbers] + self.num_envs) % self.initial_states
        self._steps = np.where(begins, 0, self._steps + 1)
        truncated = (self._steps >= self.horizon) & ~success
        self._ended = success | truncated
        return self._observed(vectors), success.astype(np.float64), success.copy(), truncated, {"is_success": success.copy()}

    def snapshot(self, number: int) -> EpisodeSnapshot:
        """Keeps the episode of one environment as it is now, for this one or any other of the same suite and task."""
        if self._ended is None or self._ended[number]:
            raise gymnasium.error.ResetNeeded(f"environment {number}: no episode is on; valid is reset() before snapshot()")
        return EpisodeSnapshot(self._open().save(number), self.task, int(self._steps[number]))

    def restore(self, snapshots: EpisodeSnapshot | Sequence[EpisodeSnapshot]) -> dict:
        """Goes on with kept episodes, bit for bit: every environment with the same one, or each with its own. Returns the observations.
        Initial states after their ends go on as if they had begun here."""
        each = [snapshots] * self.num_envs if isinstance(snapshots, EpisodeSnapshot) else list(snapshots)
        if len(each) != self.num_envs:
            raise ValueError(f"snapshots: found {len(each)}; valid is one, or {self.num_envs}")
        kept = [EpisodeSnapshot.of_task(one, self.task) for one in each]
        vectors = np.stack([self._open().resume(number, one) for number, one in enumerate(kept)])
        self._steps[:], self._ended = [one.steps for one in each], np.zeros(self.num_envs, dtype=bool)
        return self._observed(vectors)

    def close_extras(self, **_) -> None:
        self._plants = None

    def _open(self) -> Plants:
        if self._plants is None:
            raise gymnasium.error.ClosedEnvironmentError("the environments are closed; valid are new ones")
        return self._plants

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
