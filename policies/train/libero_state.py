"""The eight numbers that public LIBERO policies read of the robot, from the observation vector of a demonstration.

They are robosuite's `robot0_eef_pos`, `robot0_eef_quat` as a rotation vector by its `quat2axisangle`, and
`robot0_gripper_qpos`. The vector has the rotation of the grip site, which is turned by −90° about z against the hand of
`robot0_eef_quat`."""

import numpy as np

STATE = ["x", "y", "z", "axis_angle_1", "axis_angle_2", "axis_angle_3", "finger_1", "finger_2"]

# Where the vector has them; `policies/src/layout.rs` defines it.
_POSITION, _COLUMNS, _FINGERS, _JOINTS = slice(0, 3), slice(3, 9), slice(9, 11), slice(11, 18)
# The Panda: by how much each link is turned against the one before at joint angle 0, about x, and the hand against the
# last, about z. Joints turn about z.
_LINKS = np.deg2rad([0.0, -90.0, 90.0, 90.0, -90.0, 90.0, 90.0])
_HAND = np.deg2rad(-45.0)


def libero_state(observation: np.ndarray) -> np.ndarray:
    """Returns float32[rows, 8] for observations, float32[rows, 88]. The arithmetic is in float64."""
    rows = observation.astype(np.float64)
    rotation = _hand_rotation(rows[:, _COLUMNS])
    turned = axis_angle(_signed(_quaternion(rotation), hand_quaternion(rows[:, _JOINTS])))
    return np.concatenate([rows[:, _POSITION], turned, rows[:, _FINGERS]], axis=1).astype(np.float32)


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Returns the rotation vectors of unit quaternions x, y, z, w, as robosuite's `quat2axisangle`: by angles of 0 to
    2π, so that the two quaternions of one rotation give different vectors."""
    w = np.clip(quaternion[:, 3:], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    scale = np.divide(2.0 * np.arccos(w), sine, out=np.zeros_like(sine), where=sine > 0.0)
    return quaternion[:, :3] * scale


def hand_quaternion(joints: np.ndarray) -> np.ndarray:
    """Returns the hand's quaternion x, y, z, w for joint angles, as the product that the simulator takes along the arm.
    Its sign is the one that `robot0_eef_quat` has; a rotation matrix does not have this sign."""
    product = np.zeros((len(joints), 4))
    product[:, 3] = 1.0
    for link, angles in zip(_LINKS, joints.T):
        product = _product(product, _turn(0, np.full(len(joints), link)))
        product = _product(product, _turn(2, angles))
    return _product(product, _turn(2, np.full(len(joints), _HAND)))


def _hand_rotation(columns: np.ndarray) -> np.ndarray:
    """Returns the hand's rotation, [rows, 3, 3], from the first two columns of the grip site's."""
    first, second = columns[:, :3], columns[:, 3:]
    # By +90° about z, the hand's x axis is the site's y axis, and its y axis the site's −x axis.
    return np.stack([second, -first, np.cross(first, second)], axis=2)


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Returns a quaternion x, y, z, w of each rotation, of either sign. It is computed from the largest component,
    which none of the rounding of the matrix is divided by a small number in (Shepperd, 1978)."""
    m = rotation
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    yz, zx, xy = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    sums = m + m.transpose(0, 2, 1)
    # Row k is 4·q_k·(x, y, z, w), for q_k one of x, y, z, w.
    candidates = np.stack(
        [
            np.stack([1 + xx - yy - zz, sums[:, 0, 1], sums[:, 0, 2], yz], axis=1),
            np.stack([sums[:, 0, 1], 1 - xx + yy - zz, sums[:, 1, 2], zx], axis=1),
            np.stack([sums[:, 0, 2], sums[:, 1, 2], 1 - xx - yy + zz, xy], axis=1),
            np.stack([yz, zx, xy, 1 + xx + yy + zz], axis=1),
        ],
        axis=1,
    )
    largest = np.argmax(np.einsum("rkk->rk", candidates), axis=1)
    found = candidates[np.arange(len(m)), largest]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _signed(quaternion: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Returns the quaternions with the sign that has them on the side of `along`."""
    return np.where((quaternion * along).sum(1, keepdims=True) < 0.0, -quaternion, quaternion)


def _turn(axis: int, angle: np.ndarray) -> np.ndarray:
    turned = np.zeros((len(angle), 4))
    turned[:, axis], turned[:, 3] = np.sin(angle / 2), np.cos(angle / 2)
    return turned


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    a, b, w, v = left[:, :3], right[:, :3], left[:, 3:], right[:, 3:]
    return np.concatenate([w * b + v * a + np.cross(a, b), w * v - (a * b).sum(1, keepdims=True)], axis=1)
