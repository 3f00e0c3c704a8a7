"""The layouts of a LeRobotDataset of demonstrations: features, their names, the columns of an episode, and what of the
plant a policy that was trained on them reads.

`lowdim` has poses and no pictures: state followed by environment state is the whole observation vector. `libero` has
the columns of public LIBERO data sets: eight numbers of the robot, and both cameras where the file has pictures."""

from dataclasses import dataclass

import numpy as np
from demonstrations import ROBOT_VALUES, TASKS, Episode
from libero_state import STATE as LIBERO_STATE
from libero_state import libero_state

# Rows per second; one row per control step.
FPS = 20
ROBOT = "panda"

# In the order of `policies/src/layout.rs`.
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

# The column of each camera in public LIBERO data sets. Their pictures are upstream's turned by 180°; upstream's rows
# begin at the bottom, so those are the plant's pictures with left and right exchanged.
CAMERAS = {"agentview": "observation.images.image", "robot0_eye_in_hand": "observation.images.image2"}

# What fills each input, in the form of the exporter's --read.
_LOWDIM_READS = {
    "observation.state": "eef_position,eef_site_quaternion:rotation_6d,gripper_positions,joint_positions",
    "observation.environment_state": ",".join(
        [
            f"{one}/position,{one}/position:relative_to=eef_position,{one}/quaternion:rotation_6d"
            for one in (f"object/{name}" for name in _OBJECTS)
        ]
        + [f"task:one_hot={TASKS}"]
    ),
}
_LIBERO_READS = {"observation.state": "eef_position,eef_quaternion:axis_angle,gripper_positions"}


def _vector(names: list[str]) -> dict:
    return {"dtype": "float32", "shape": (len(names),), "names": names}


def _flag() -> dict:
    return {"dtype": "bool", "shape": (1,), "names": None}


@dataclass(frozen=True)
class Layout:
    """One way to write a demonstration. `cameras` maps the cameras that are written to height and width of their
    pictures."""

    name: str
    cameras: dict[str, tuple[int, int]]

    @property
    def features(self) -> dict:
        """The features in LeRobot's form."""
        pictures = {
            CAMERAS[camera]: {"dtype": "image", "shape": (*size, 3), "names": ["height", "width", "channel"]}
            for camera, size in self.cameras.items()
        }
        vectors = {name: _vector(names) for name, names in self._vectors.items()}
        flags = {name: _flag() for name in ("clean", "next.success", "next.done")}
        return {**pictures, **vectors, "action": _vector(ACTION), **flags}

    @property
    def _vectors(self) -> dict[str, list[str]]:
        if self.name == "libero":
            return {"observation.state": LIBERO_STATE}
        return {"observation.state": STATE, "observation.environment_state": ENVIRONMENT}

    @property
    def reads(self) -> dict[str, str]:
        """The plant's features of each input of a policy, in the form of the exporter's `--read`."""
        if self.name == "lowdim":
            return _LOWDIM_READS
        return _LIBERO_READS | {CAMERAS[camera]: f"{camera}:flip" for camera in self.cameras}

    def vectors(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        """Splits or converts observations, float32[rows, 88], into float32 columns."""
        if self.name == "libero":
            return {"observation.state": libero_state(observation)}
        return {
            "observation.state": observation[:, :ROBOT_VALUES],
            "observation.environment_state": observation[:, ROBOT_VALUES:],
        }

    def pictures(self, episode: Episode, first: int, end: int) -> dict[str, np.ndarray]:
        """Returns the pictures of an episode's steps `first` to before `end`, uint8[steps, height, width, 3] by
        column."""
        return {CAMERAS[camera]: episode.pictures.take(camera, first, end)[:, :, ::-1] for camera in self.cameras}


NAMES = ("lowdim", "libero")


def columns(layout: Layout, episode: Episode, index: int, instruction: str, pictures: dict[str, list[str]]) -> dict:
    """Returns an episode as the buffer for `LeRobotDataset.save_episode`, which fills in `index` and `task_index` itself.
    `pictures` are the files of each picture column.

    Vectors are passed as float64, which represents every float32 exactly, and stored as float32 with the same bits. The
    statistics, such as a mean of squares minus a squared mean, are then sums of float64. Flags are passed as uint8 and
    stored as bool, because lerobot cannot compute a histogram of bool.
    """
    steps = np.arange(len(episode))
    last = (steps == len(episode) - 1) & episode.reached
    vectors = {name: column.astype(np.float64) for name, column in layout.vectors(episode.observation).items()}
    return {
        "size": len(episode),
        "task": [instruction] * len(episode),
        "episode_index": index,
        "frame_index": steps,
        "timestamp": steps / FPS,
        "index": None,
        "task_index": None,
        **pictures,
        **vectors,
        "action": episode.action.astype(np.float64),
        "clean": episode.clean.astype(np.uint8),
        "next.success": last.astype(np.uint8),
        "next.done": last.astype(np.uint8),
    }
