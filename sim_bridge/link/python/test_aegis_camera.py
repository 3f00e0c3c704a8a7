"""Tests of cameras that are read on a thread of their own."""

import queue
import threading
import time
import unittest

import numpy as np

from aegis_camera import CameraThread

SECONDS = 10


class Cameras(unittest.TestCase):
    def setUp(self):
        self.pictures = queue.Queue()
        self.cameras = CameraThread(self.pictures.get)

    def frames(self):
        """Returns the next frames that the thread hands out."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            found = self.cameras.new_frames()
            if found:
                return found
            time.sleep(0.001)
        self.fail("no frame came")

    def test_a_frame_is_handed_out_once_with_the_time_before_it_was_read(self):
        before = time.monotonic_ns()
        rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        self.pictures.put([{"camera": "front", "rgb": rgb}, {"camera": "top", "jpeg": b"\xff", "width": 4, "height": 3, "taken_ns": 5}])
        front, top = self.frames()
        self.assertEqual((front["width"], front["height"], front["encoding"], front["data"]), (2, 2, "rgb", rgb.tobytes()))
        self.assertLess(front["taken_ns"], time.monotonic_ns())
        self.assertGreater(front["taken_ns"], before - SECONDS * 10**9)
        self.assertEqual(top, {"camera": "top", "width": 4, "height": 3, "encoding": "jpeg", "data": b"\xff", "taken_ns": 5})
        self.assertEqual(self.cameras.new_frames(), [])

    def test_the_newest_frame_of_a_camera_is_kept(self):
        read = threading.Semaphore(0)

        def pictures():
            read.acquire()
            return [{"camera": "front", "rgb": np.full((1, 1, 3), next(shades), np.uint8)}]

        shades = iter(range(256))
        cameras = CameraThread(pictures)
        read.release(3)
        until, found = time.monotonic() + SECONDS, []
        while time.monotonic() < until and b"\x02\x02\x02" not in found:
            found += [one["data"] for one in cameras.new_frames()]
        self.assertEqual(found[-1], b"\x02\x02\x02")

    def test_a_camera_that_fails_once_is_read_again(self):
        self.pictures.put([{"camera": "front", "rgb": np.zeros((1, 1), np.float32)[..., None]}])
        self.pictures.put([{"camera": "front", "rgb": np.zeros((1, 1, 3), np.uint8)}])
        self.assertEqual(self.frames()[0]["data"], b"\0\0\0")


if __name__ == "__main__":
    unittest.main()
