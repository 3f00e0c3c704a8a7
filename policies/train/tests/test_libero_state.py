"""The robot's state of public LIBERO policies: against quaternions that the simulator gave, and against lerobot's own
conversion.

    python -m unittest discover -s policies/train/tests -p test_libero_state.py
"""

import sys
import unittest
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from lerobot.processor.env_processor import LiberoProcessorStep

from libero_state import axis_angle, hand_quaternion, libero_state

# Joint angles; first two columns of the grip site's rotation; quaternion x, y, z, w of the body `robot0_right_hand`,
# which is robosuite's `robot0_eef_quat`. By MuJoCo 3.17 from an exported scene of LIBERO-Spatial: the start of an
# episode, then angles drawn within the joints' limits.
POSES = [
    ([0, -0.161037, 0, -2.444597, 0, 2.226752, 0.785398],
     [-0.00049199282, 0.99999988, 2.7979232e-05, 0.99838674, 0.00049278775, -0.056777443],
     [0.9995966, 0.0002462945, -0.02840018, -6.9976309e-06]),
    ([0.724878, 1.400417, 1.597488, -2.395728, -1.157956, 3.275796, -2.86679],
     [0.066020436, 0.97019842, 0.23314445, -0.0069774406, 0.23409739, -0.97218811],
     [-0.69659821, -0.060320624, 0.70700081, 0.10612358]),
    ([1.86139, 1.047348, -0.185804, -2.162097, -1.283935, 0.943358, -0.318261],
     [-0.67917687, -0.37927435, 0.62838662, 0.23501416, -0.92344264, -0.30335134],
     [-0.18669767, 0.32708732, -0.52488742, 0.76331583]),
    ([0.026355, 0.18861, 2.871226, -0.692229, 0.70798, 3.71088, -1.649672],
     [-0.88626375, 0.43811849, -0.15029556, -0.46131133, -0.80579955, 0.37132055],
     [0.12303171, 0.16350297, 0.83900086, -0.50418998]),
    ([-1.968935, 0.39677, -2.642674, -2.964688, 0.086275, 1.740097, 2.41732],
     [0.17193005, 0.65012372, -0.74012108, 0.98130218, -0.047039394, 0.1866369],
     [-0.90519075, 0.06047605, -0.075442423, -0.41386083]),
    ([0.748814, 0.049773, -0.018117, -2.32876, -2.828958, 0.707856, 1.112749],
     [0.72721999, -0.65932634, -0.19089229, 0.68231412, 0.72468464, 0.096330725],
     [0.10737196, -0.0059031805, 0.39850733, 0.91083935]),
]  # fmt: skip
# Of the rotation vector, for matrices that are rounded to float32.
TOLERANCE = 2e-6


class State(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        joints, columns, quaternions = (np.array(part) for part in zip(*POSES))
        cls.joints, cls.quaternions = joints, quaternions
        cls.observation = np.random.default_rng(1).normal(size=(len(POSES), 88)).astype(np.float32)
        cls.observation[:, 3:9], cls.observation[:, 11:18] = columns, joints
        cls.state = libero_state(cls.observation)

    def test_is_what_lerobot_makes_of_the_simulators_quaternion(self):
        robot = {
            "eef": {"pos": torch.from_numpy(self.observation[:, :3]), "quat": torch.from_numpy(self.quaternions)},
            "gripper": {"qpos": torch.from_numpy(self.observation[:, 9:11])},
        }
        theirs = LiberoProcessorStep().observation({"observation.robot_state": robot})["observation.state"].numpy()
        self.assertEqual((self.state.dtype, self.state.shape), (theirs.dtype, theirs.shape))
        self.assertEqual(self.state[:, [0, 1, 2, 6, 7]].tobytes(), theirs[:, [0, 1, 2, 6, 7]].tobytes())
        np.testing.assert_allclose(self.state[:, 3:6], theirs[:, 3:6], atol=TOLERANCE)

    def test_the_sign_is_that_of_the_simulators_quaternion(self):
        # Angles beyond π are those of quaternions whose w is negative.
        angle = np.linalg.norm(self.state[:, 3:6], axis=1)
        np.testing.assert_array_equal(angle > np.pi, self.quaternions[:, 3] < 0)
        self.assertTrue((angle > np.pi).any() and (angle < np.pi).any())

    def test_joint_angles_give_the_hand(self):
        # The robot's description rounds the quaternion of the hand.
        np.testing.assert_allclose(hand_quaternion(self.joints), self.quaternions, atol=3e-4)

    def test_no_rotation_and_a_whole_turn_are_zero_vectors(self):
        none = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 1.0000001]])
        np.testing.assert_array_equal(axis_angle(none), np.zeros((3, 3)))


if __name__ == "__main__":
    unittest.main()
