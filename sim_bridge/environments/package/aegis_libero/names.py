"""The names and shapes of a plant's observation in Python."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

__all__ = ["NAMES", "Reading", "arranged", "space"]

# Pictures of LeRobot's LIBERO environment, by camera.
LEROBOT_PICTURES = {"agentview": "image", "robot0_eye_in_hand": "image2"}


@dataclass(frozen=True)
class Reading:
    """Observation of a plant, for one plant or with a first axis of plants.

    `features` are float64 by the plant's own names, quaternions as x, y, z, w; `fingers` are the fingers' velocities, `[…, 2]` in m/s;
    `pictures` are uint8 by camera, `[…, height, width, 3]`, row 0 at the top; `task` is the number of the task out of `tasks`.
    """

    features: Mapping[str, np.ndarray]
    fingers: np.ndarray
    pictures: Mapping[str, np.ndarray]
    task: int
    tasks: int

    def objects(self) -> list[str]:
        """Returns the names of the movable objects, in the plant's order."""
        return [name.split("/")[1] for name in self.features if name.endswith("/position")]


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Returns the rotation matrices of unit quaternions x, y, z, w: `[…, 4]` to `[…, 3, 3]`."""
    x, y, z, w = np.moveaxis(quaternion, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def upside_down(picture: np.ndarray) -> np.ndarray:
    """Returns pictures with their rows from the bottom, as robosuite returns them."""
    return np.ascontiguousarray(picture[..., ::-1, :, :])


def aegis(reading: Reading) -> dict:
    """The plant's own names, and `pixels/CAMERA` with row 0 at the top."""
    return dict(reading.features) | {f"pixels/{camera}": picture for camera, picture in reading.pictures.items()}


def upstream(reading: Reading) -> dict:
    """The names of LIBERO's `OffScreenRenderEnv`. Its poses relative to the hand and its concatenations are left out."""
    found, positions = reading.features, reading.features["joint_positions"]
    named = {
        "robot0_joint_pos": positions,
        "robot0_joint_pos_cos": np.cos(positions),
        "robot0_joint_pos_sin": np.sin(positions),
        "robot0_joint_vel": found["joint_velocities"],
        "robot0_eef_pos": found["eef_position"],
        "robot0_eef_quat": found["eef_quaternion"],
        "robot0_gripper_qpos": found["gripper_positions"],
        "robot0_gripper_qvel": reading.fingers,
    }
    for name in reading.objects():
        named[f"{name}_pos"], named[f"{name}_quat"] = found[f"object/{name}/position"], found[f"object/{name}/quaternion"]
    return named | {f"{camera}_image": upside_down(picture) for camera, picture in reading.pictures.items()}


def lerobot(reading: Reading) -> dict:
    """The nested names of LeRobot's LIBERO environment with `obs_type="pixels_agent_pos"`."""
    found = reading.features
    state = {
        "eef": {
            "pos": found["eef_position"],
            "quat": found["eef_quaternion"],
            "mat": rotation(found["eef_site_quaternion"]),
        },
        "gripper": {"qpos": found["gripper_positions"], "qvel": reading.fingers},
        "joints": {"pos": found["joint_positions"], "vel": found["joint_velocities"]},
    }
    pictures = {LEROBOT_PICTURES.get(camera, camera): upside_down(picture) for camera, picture in reading.pictures.items()}
    return {"robot_state": state} | ({"pixels": pictures} if pictures else {})


def poses(reading: Reading) -> dict:
    """`agent_pos` and `environment_state`, as the columns that `lerobot_dataset.py --layout lowdim` writes: the end effector's position
    and two columns of its rotation matrix, fingers, joints; then for each object the position, the position seen from the end effector
    along the world's axes, and two columns of the rotation matrix; then one number for each task, 1 for this one."""
    found, here = reading.features, reading.features["eef_position"]

    def columns(quaternion: np.ndarray) -> list[np.ndarray]:
        matrix = rotation(quaternion)
        return [matrix[..., 0], matrix[..., 1]]

    agent = [here, *columns(found["eef_site_quaternion"]), found["gripper_positions"], found["joint_positions"]]
    around = []
    for name in reading.objects():
        position = found[f"object/{name}/position"]
        around += [position, position - here, *columns(found[f"object/{name}/quaternion"])]
    one_hot = np.zeros((*here.shape[:-1], reading.tasks))
    one_hot[..., reading.task] = 1.0
    return {"agent_pos": np.concatenate(agent, axis=-1), "environment_state": np.concatenate([*around, one_hot], axis=-1)}


NAMES = {"aegis": aegis, "upstream": upstream, "lerobot": lerobot, "poses": poses}


def arranged(names: str, reading: Reading) -> dict:
    """Returns an observation under these names."""
    if names not in NAMES:
        raise ValueError(f"names: found {names!r}; valid are {', '.join(NAMES)}")
    return NAMES[names](reading)


def space(found: dict) -> spaces.Dict:
    """Returns the space of observations with the arrangement of this one."""

    def of(value) -> spaces.Space:
        if isinstance(value, dict):
            return space(value)
        lowest, highest = (0, 255) if value.dtype == np.uint8 else (-np.inf, np.inf)
        return spaces.Box(lowest, highest, value.shape, value.dtype)

    return spaces.Dict({name: of(value) for name, value in found.items()})
