"""One LIBERO task as a gymnasium environment."""

import functools
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from ._checks import acted, check_settings, counted, known
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


def load_scenes(suite: str, scenes: str | os.PathLike | None, sample_seed: int | None, drawn: bool) -> Scenes:
    """Loads a suite from a folder, by default that of `scenes_folder`. Environments of one process share what they load and compile; of
    suites that are not drawn, the eight newest are kept for the next environments."""
    folder = os.fspath(scenes or scenes_folder(suite))
    try:
        if not drawn:
            found = _loaded(folder, sample_seed)
        elif (found := _drawn.get((folder, sample_seed))) is None:
            found = _drawn[folder, sample_seed] = Scenes(folder, sample_seed)
    except FileNotFoundError as error:
        hint = f"valid is one of {', '.join(SUITES)}, whose scenes `cargo xtask setup` exports, or the folder of one in AEGIS_SCENES"
        raise FileNotFoundError(f"suite {suite!r}: {error}; {hint}") from None
    if found.name != suite:
        raise ValueError(f"suite: found {suite!r}, but {folder} is {found.name}; valid is {found.name!r}, or another folder")
    return found


def steps_of(suite: str, horizon: int | None) -> int:
    """Returns the control steps of an episode: the given number, else upstream's for the suite, else the largest of any suite."""
    return SUITES.get(suite, max(SUITES.values())) if horizon is None else horizon


def checked_state(scenes: Scenes, task: int, state, sampled: bool) -> int:
    """Returns the number of an initial state; refuses one that the task lacks."""
    count = scenes.initial_states(task)
    try:
        return counted("initial_state", state, 0, 2**31 if sampled else count - 1)
    except ValueError:
        raise ValueError(f"initial_state: found {state!r}; valid is 0 to {count - 1}, or more with a sample_seed") from None


@dataclass(frozen=True)
class EpisodeSnapshot:
    """Saved state of an unfinished episode: the plant, the task, and the control steps since the reset."""

    plant: Snapshot
    suite: str
    task: int
    steps: int


def plant_of(snapshot: EpisodeSnapshot, suite: str, task: int) -> Snapshot:
    """Returns the plant's part of a snapshot; refuses one of another task."""
    if not isinstance(snapshot, EpisodeSnapshot):
        raise TypeError(f"snapshot: found {type(snapshot).__name__}; valid is what snapshot() returned")
    if (suite, task) != (snapshot.suite, snapshot.task):
        found = f"task {snapshot.task} of {snapshot.suite}"
        raise ValueError(f"snapshot: found one of {found}; valid is one of task {task} of {suite}")
    return snapshot.plant


class Layout:
    """The indices of a task's features in its observation vector, and the spaces of its observations and actions."""

    def __init__(self, scenes: Scenes, task: int, cameras: tuple, size: int, names: str):
        self.places = {name: slice(first, first + count) for name, first, count in scenes.features(task)}
        self.cameras, self.size, self.names, self.task, self.tasks = tuple(cameras), size, names, task, scenes.task_count
        width = max(place.stop for place in self.places.values())
        blank = {camera: np.zeros((size, size, 3), np.uint8) for camera in cameras}
        self.observation_space = space(self.observation(np.zeros(width), np.zeros(2), blank))
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION,), np.float32)

    def observation(self, vectors: np.ndarray, fingers: np.ndarray, pictures: dict) -> dict:
        """Returns the plants' observations under the requested names. The arrays are copies."""
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
    observation spaces. Then the arm stands still for `settle_steps` control steps, as upstream's evaluations let objects fall. With
    `sample_seed`, initial states past the recorded ones are sampled as upstream places the objects.
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
        check_settings(cameras, size, names, horizon, settle_steps, sample_seed)
        self.render_mode, self.suite = render_mode, suite
        shown = cameras or (CAMERAS[:1] if render_mode else ())
        self.scenes = load_scenes(suite, scenes, sample_seed, bool(shown))
        self.horizon = steps_of(suite, horizon)
        self._sampled = sample_seed is not None
        self._max_episode_steps = self.horizon  # As LeRobot asks for it.
        self._settle_steps = settle_steps
        self._layout = Layout(self.scenes, counted("task", task, 0, self.scenes.task_count - 1), cameras, size, names)
        self.observation_space, self.action_space = self._layout.observation_space, self._layout.action_space
        self._plants = Plants(self.scenes, 1, 1, (list(shown), size, size) if shown else None)
        self._steps = None  # Control steps of the episode; None before the first reset, and once it has ended.

    @property
    def task(self) -> int:
        """Number of the task of the episode that began last."""
        return self._layout.task

    @property
    def instruction(self) -> str:
        """The instruction of the task."""
        return self.scenes.instruction(self.task)

    @property
    def task_description(self) -> str:
        """The instruction of the task, under LeRobot's name."""
        return self.instruction

    @property
    def initial_states(self) -> int:
        """Number of recorded initial states of the task."""
        return self.scenes.initial_states(self.task)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        options, plants = known(options, ("initial_state", "task")), self._open()
        layout = self._layout
        task = counted("options['task']", options.get("task", layout.task), 0, layout.tasks - 1)
        if task != layout.task:
            layout = Layout(self.scenes, task, layout.cameras, layout.size, layout.names)
            if layout.observation_space != self.observation_space:
                raise ValueError(f"task: found {task}, whose objects differ from those of task {self.task}; valid is another environment")
        state, count = options.get("initial_state"), self.scenes.initial_states(task)
        if state is None:
            state = int(self.np_random.integers(count)) if seed is None else seed % count
        state = checked_state(self.scenes, task, state, self._sampled)
        self._steps = None
        vector = plants.reset([(0, task, state)])[0]
        self._layout = layout
        for _ in range(self._settle_steps):
            vector = plants.step(STANDING[None], [False])[0][0]
        self._steps = 0
        return self._observed(vector), {"initial_state": state, "instruction": self.instruction, "is_success": False}

    def step(self, action):
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before step()")
        vectors, success = self._open().step(acted("action", action, (ACTION,))[None], [False])
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
        """Saves the episode, for this environment or another one of the same suite and task."""
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before snapshot()")
        return EpisodeSnapshot(self._open().save(0), self.suite, self.task, self._steps)

    def restore(self, snapshot: "EpisodeSnapshot") -> dict:
        """Resumes a saved episode, bit for bit; returns its observation. May be called any number of times."""
        vector = self._open().resume(0, plant_of(snapshot, self.suite, self.task))
        self._steps = snapshot.steps
        return self._observed(vector)

    def state(self) -> np.ndarray:
        """Returns the whole dynamic state, float64, for comparisons bit for bit."""
        if not len(state := self._open().state(0)):
            raise gymnasium.error.ResetNeeded("no episode is on; valid is reset() before state()")
        return state

    def close(self) -> None:
        self._plants = None

    def _open(self) -> Plants:
        if self._plants is None:
            raise gymnasium.error.ClosedEnvironmentError("the environment is closed; valid is a new one")
        return self._plants

    def _observed(self, vector: np.ndarray) -> dict:
        pictures = self._plants.frames(0) if self._layout.cameras else []
        return self._layout.observation(vector, self._plants.finger_velocities()[0], {name: found[0] for name, found in pictures})
