"""Payload of both peers: the scenes, the policy's chunk, and the files that the server's and the driver's processes write.
Owns the payload and is independent of either peer."""

import argparse
import json
import socket
import time
from pathlib import Path

import numpy as np

HOST = "127.0.0.1"
INSTRUCTION = "pick up the black bowl between the plate and the ramekin and place it on the plate"
TASK = 0
OBJECTS = (
    "akita_black_bowl_1",
    "akita_black_bowl_2",
    "cookies_1",
    "glazed_rim_porcelain_ramekin_1",
    "plate_1",
    "wooden_cabinet_1",
    "flat_stove_1",
)
CAMERAS = ("agentview", "robot0_eye_in_hand")
PICTURE = (128, 128, 3)
CHUNK, ACTION_WIDTH = 10, 7
ACTION = 0.125
# Number of scenes, shown in turn. Successive scenes lie 2 rad apart, since LeRobot drops an observation within 1 of the last.
SCENES = 8
PATIENCE_S = 180.0


def scenes(pictures: bool) -> list[dict]:
    """Returns observations of a LIBERO-Spatial scene, the same in every run."""
    random = np.random.default_rng(7)
    made = []
    for index in range(SCENES):
        joints = random.uniform(-0.5, 0.5, 7)
        joints[0] = 2.0 * (index % 2)
        scene = {
            "step": index,
            "plant_time": 0.05 * index,
            "joint_positions": joints,
            "end_effector": _pose(random),
            "gripper": np.array([0.04, -0.04]),
            "objects": {name: _pose(random) for name in OBJECTS},
            "pictures": {},
        }
        if pictures:
            scene["pictures"] = {camera: random.integers(0, 256, PICTURE, dtype=np.uint8) for camera in CAMERAS}
        made.append(scene)
    return made


def _pose(random: np.random.Generator) -> np.ndarray:
    """Returns a random pose: position in metres, and unit quaternion w, x, y, z."""
    orientation = random.normal(size=4)
    return np.concatenate([random.uniform(-0.3, 1.2, 3), orientation / np.linalg.norm(orientation)])


def answer() -> np.ndarray:
    return np.full((CHUNK, ACTION_WIDTH), ACTION, dtype=np.float32)


def check(actions: np.ndarray) -> None:
    """Raises RuntimeError for a chunk that is not the no-op policy's."""
    if actions.dtype != np.float32 or not np.array_equal(actions, answer()):
        raise RuntimeError(f"the answer is not the policy's chunk: {actions.dtype} {actions.shape}")


def wait_for(port: int) -> None:
    """Waits until a server listens on the port."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise TimeoutError(f"nothing listens on port {port} after {PATIENCE_S:.0f} s") from None
            time.sleep(0.2)


def arguments() -> argparse.Namespace:
    """Parses the arguments with which `peers_servers.py` starts each of a peer's two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("serve", "drive"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--times", type=int, default=0)
    parser.add_argument("--source", type=Path)
    return parser.parse_args()


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
