"""One LIBERO task as a gymnasium environment."""

import functools
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from ._native import Plants, Scenes, Snapshot
from .names import Reading, arranged, space

__all__ = ["SUITES", "EpisodeSnapshot", "LiberoEnv", "scenes_folder"]

# Control steps of an episode in upstream's evaluations, by suite.
SUITES = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520}
CAMERAS = ("agentview", "robot0_eye_in_hand")
ACTION = 7
# The action with which the arm stands still, with the gripper open.
STANDING = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
CONTROL_HZ = 20


def scenes_folder(suite: str) -> Path:
    """Returns the folder of a suite's scenes: the one that `AEGIS_SCENES` names, else the one in the cache of `cargo xtask setup`."""
    if given := os.environ.get("AEGIS_SCENES"):
        return Path(given)
    cache = os.environ.get("AEGIS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aegis"
    return Path(cache) / "scenes" / suite


# Scenes with their textures, 350 MB a task, which live as long as an environment that draws them.
_drawn: "weakref.WeakValueDictionary[tuple, Scenes]" = weakref.WeakValueDictionary()


@functools.lru_cache(maxsize=8)
def _loaded(folder: str, sample_seed: int | None) -> Scenes:
    return Scenes(folder, sample_seed)


def load_scenes(folder: str, sample_seed: int | None, drawn: bool) -> Scenes:
    """Loads a suite. Environments of one process share what they load and compile; of suites that are not drawn, the eight newest are
    kept for environments to come."""
    if not drawn:
        return _loaded(folder, sample_seed)
    key = folder, sample_seed
    if (found := _drawn.get(key)) is None:
        found = _drawn[key] = Scenes(folder, sample_seed)
    return found


def check(cameras: tuple, horizon: int, settle_steps: int) -> None:
    """Refuses settings that no environment can have."""
    if isinstance(cameras, str):
        raise ValueError(f"cameras: found {cameras!r}; valid is several names, such as ({cameras!r},)")
    for name, found, least in (("horizon", horizon, 1), ("settle_steps", settle_steps, 0)):
        if found < least:
            raise ValueError(f"{name}: found {found}; valid is {least} or more control steps")


@dataclass(frozen=True)
class EpisodeSnapshot:
    """An episode in the middle: the plant, the task, and the control steps since the reset."""

    plant: Snapshot
    task: int
    steps: int

    def of_task(self, task: int) -> Snapshot:
        """Returns the plant's part; refuses a snapshot of another task."""
        if not isinstance(self, EpisodeSnapshot):
            raise TypeError(f"snapshot: found {type(self).__name__}; valid is what snapshot() returned")
        if task != self.task:
            raise ValueError(f"snapshot: found one of task {self.task}; valid is one of task {task}")
        return self.plant


class Layout:
    """Where the features of a task are in its observation vector, and the spaces of its observations and actions."""

    def __init__(self, scenes: Scenes, task: int, cameras: tuple, size: int, names: str):
        self.places = {name: slice(first, first + count) for name, first, count in scenes.features(task)}
        self.cameras, self.size, self.names, self.task, self.tasks = tuple(cameras), size, names, task, scenes.task_count
        width = max(place.stop for place in self.places.values())
        blank = {camera: np.zeros((size, size, 3), np.uint8) for camera in cameras}
        self.observation_space = space(self.observation(np.zeros(width), np.zeros(2), blank))
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION,), np.float32)

    def observation(self, vectors: np.ndarray, fingers: np.ndarray, pictures: dict) -> dict:
        """Returns what plants read, under the names asked for. The arrays are copies."""
        features = {name: vectors[..., place].copy() for name, place in self.places.items()}
        return arranged(self.names, Reading(features, fingers, pictures, self.task, self.tasks))


class LiberoEnv(gymnasium.Env):
    """A LIBERO task. Actions are upstream's: three translations, three rotations, and the gripper (−1 opens, 1 closes), each in −1 to 1.

    Observations are float64 arrays by name, such as `eef_position` and `object/plate_1/position`, and with `cameras` uint8 pictures
    `pixels/NAME`, row 0 at the top. With `names="upstream"` they have the names of LIBERO's own environment, with `"lerobot"` those of
    LeRobot's, with `"poses"` those of the data sets that `lerobot_dataset.py --layout lowdim` writes. They are read after the control
    step; upstream's are two physics steps (4 ms) older. The reward is 1 when the goal is met, which ends the episode, else 0; after
    `horizon` control steps the episode is truncated. `reset(seed=N)` begins initial state N modulo their number, always the same;
    `reset(options={"initial_state": N})` any one, and `reset()` one at random; `options={"task": N}` changes to another task with equal
    observation spaces. Then the arm stands still for `settle_steps` control steps, as upstream's evaluations let objects fall. With `sample_seed`, initial states past the recorded ones are sampled as upstream
    places the objects.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}

    def __init__(
        self,
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
        render_mode: str | None = None,
    ):
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: found {render_mode!r}; valid is None or 'rgb_array'")
        self.render_mode = render_mode
        shown = cameras or (CAMERAS[:1] if render_mode else ())
        self.scenes = load_scenes(os.fspath(scenes or scenes_folder(suite)), sample_seed, bool(shown))
        self.horizon = SUITES.get(suite, max(SUITES.values())) if horizon is None else horizon
        self._sampled = sample_seed is not None
        check(cameras, self.horizon, settle_steps)
        self._max_episode_steps = self.horizon  # As LeRobot asks for it.
        self._settle_steps = settle_steps
        self._layout = Layout(self.scenes, task, cameras, size, names)
        self.observation_space, self.action_space = self._layout.observation_space, self._layout.action_space
        self._plants = Plants(self.scenes, 1, 1, (list(shown), size, size) if shown else None)
        self._steps = None  # Control steps of the episode; None before the first reset, and once it has ended.

    @property
    def task(self) -> int:
        """Number of the task of the episode that began last."""
        return self._layout.task

    @property
    def instruction(self) -> str:
        """The task in words."""
        return self.scenes.instruction(self.task)

    @property
    def task_description(self) -> str:
        """The task in words, as LeRobot asks for it."""
        return self.instruction

    @property
    def initial_states(self) -> int:
        """Number of recorded initial states of the task."""
        return self.scenes.initial_states(self.task)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        if (task := (options or {}).get("task", self.task)) != self.task:
            layout = Layout(self.scenes, task, self._layout.cameras, self._layout.size, self._layout.names)
            if layout.observation_space != self.observation_space:
                raise ValueError(f"task: found {task}, whose objects differ from those of task {self.task}; valid is another environment")
            self._layout = layout
        state = (options or {}).get("initial_state")
        if state is None:
            state = int(self.np_random.integers(self.initial_states)) if seed is None else seed % self.initial_states
        if state < 0 or (state >= self.initial_states and not self._sampled):
            raise ValueError(f"initial_state: found {state}; valid is 0 to {self.initial_states - 1}, or more with a sample_seed")
        plants = self._open()
        vector = plants.reset([(0, self.task, int(state))])[0]
        for _ in range(self._settle_steps):
            vector = plants.step(STANDING[None], [False])[0][0]
        self._steps = 0
        return self._observed(vector), {"initial_state": int(state), "instruction": self.instruction, "is_success": False}

    def step(self, action):
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before step()")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION,):
            raise ValueError(f"action: found shape {action.shape}; valid is ({ACTION},)")
        vectors, success = self._open().step(action[None], [False])
        self._steps += 1
        won, truncated = bool(success[0]), self._steps >= self.horizon
        if won or truncated:
            self._steps = None
        info = {"instruction": self.instruction, "is_success": won}
        return self._observed(vectors[0]), float(won), won, truncated and not won, info

    def render(self):
        if self.render_mode is None:
            return None
        pictures = dict(self._open().frames(0))
        return pictures[next(iter(pictures))][0] if pictures else None

    def snapshot(self) -> "EpisodeSnapshot":
        """Keeps the episode as it is now, for this environment or another one of the same suite and task."""
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before snapshot()")
        return EpisodeSnapshot(self._open().save(0), self.task, self._steps)

    def restore(self, snapshot: "EpisodeSnapshot") -> dict:
        """Goes on with a kept episode, bit for bit; returns its observation. May be called any number of times."""
        vector = self._open().resume(0, EpisodeSnapshot.of_task(snapshot, self.task))
        self._steps = snapshot.steps
        return self._observed(vector)

    def state(self) -> np.ndarray:
        """Returns everything that decides what happens next, float64, for comparisons bit for bit."""
        return self._open().state(0)

    def close(self) -> None:
        self._plants = None

    def _open(self) -> Plants:
        if self._plants is None:
            raise gymnasium.error.ClosedEnvironmentError("the environment is closed; valid is a new one")
        return self._plants

    def _observed(self, vector: np.ndarray) -> dict:
        pictures = self._plants.frames(0) if self._layout.cameras else []
        return self._layout.observation(vector, self._plants.finger_velocities()[0], {name: found[0] for name, found in pictures})
