"""The layout of a LeRobotDataset of demonstrations: features, their names, and the columns of an episode.
This module defines how the observation vector is split: state followed by environment state is the whole vector."""

import numpy as np
from demonstrations import TASKS, Episode

# Rows per second; one row per control step.
FPS = 20
ROBOT = "panda"

# In the order of `policies/src/encode.rs`.
_OBJECTS = ("akita_black_bowl_1", "akita_black_bowl_2", "cookies_1", "glazed_rim_porcelain_ramekin_1", "plate_1")
_AXES = ("x", "y", "z")
_ROTATION = [f"rotation_{row}{column}" for column in (0, 1) for row in (0, 1, 2)]

STATE = [
    *(f"grip_{axis}" for axis in _AXES),
    *(f"grip_{entry}" for entry in _ROTATION),
    *(f"finger_{finger}" for finger in (1, 2)),
    *(f"joint_{joint}" for joint in range(1, 8)),
]
ENVIRONMENT = [
    f"{name}_{component}"
    for name in _OBJECTS
    for component in (*_AXES, *(f"relative_{axis}" for axis in _AXES), *_ROTATION)
] + [f"task_{task}" for task in range(TASKS)]
ACTION = [*(f"delta_{axis}" for axis in _AXES), *(f"delta_rotation_{axis}" for axis in _AXES), "gripper"]


def _vector(names: list[str]) -> dict:
    return {"dtype": "float32", "shape": (len(names),), "names": names}


def _flag() -> dict:
    return {"dtype": "bool", "shape": (1,), "names": None}


FEATURES = {
    "observation.state": _vector(STATE),
    "observation.environment_state": _vector(ENVIRONMENT),
    "action": _vector(ACTION),
    "clean": _flag(),
    "next.success": _flag(),
    "next.done": _flag(),
}


def columns(episode: Episode, index: int, instruction: str) -> dict:
    """Returns an episode as the buffer for `LeRobotDataset.save_episode`, which fills in `index` and `task_index` itself.

    Vectors are passed as float64, which represents every float32 exactly, and stored as float32 with the same bits. The
    statistics, such as a mean of squares minus a squared mean, are then sums of float64. Flags are passed as uint8 and
    stored as bool, because lerobot cannot compute a histogram of bool.
    """
    steps = np.arange(len(episode))
    last = steps == len(episode) - 1
    observation = episode.observation.astype(np.float64)
    return {
        "size": len(episode),
        "task": [instruction] * len(episode),
        "episode_index": index,
        "frame_index": steps,
        "timestamp": steps / FPS,
        "index": None,
        "task_index": None,
        "observation.state": observation[:, : len(STATE)],
        "observation.environment_state": observation[:, len(STATE) :],
        "action": episode.action.astype(np.float64),
        "clean": episode.clean.astype(np.uint8),
        "next.success": last.astype(np.uint8),
        "next.done": last.astype(np.uint8),
    }
