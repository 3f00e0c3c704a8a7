"""Cameras that are read on a thread of their own, for `Plant.new_frames`, which must not wait."""

import sys
import threading
import time
from collections.abc import Callable


class CameraThread:
    """Reads cameras until the process ends, and keeps the newest frame of each that has not been handed out yet.

    `read` waits for the next pictures and returns them as a list of maps with `camera`, the name among the plant's features, and
    `rgb`, an array uint8 `[height, width, 3]` with row 0 at the top, or `jpeg`, the bytes of a file, with `width` and `height`.
    A frame is stamped with the time before `read` was called, unless it has a `taken_ns` of its own, the `time.monotonic_ns()` at
    which the camera took it. An exception of `read` is printed once for each text, and `read` is called again after a second: the
    controller misses the frames meanwhile.

        class Arm(Plant):
            features = [..., camera("front", 240, 320)]

            def __init__(self):
                self.cameras = CameraThread(lambda: [{"camera": "front", "rgb": driver.read()}])

            def new_frames(self):
                return self.cameras.new_frames()
    """

    def __init__(self, read: Callable[[], list]):
        self._read, self._lock, self._fresh, self._told = read, threading.Lock(), {}, set()
        threading.Thread(target=self._film, name="cameras", daemon=True).start()

    def new_frames(self) -> list:
        """Returns the frames that were taken since the last call, at most one of each camera."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        return list(fresh.values())

    def _film(self) -> None:
        while True:
            before = time.monotonic_ns()
            try:
                frames = [frame(before, **picture) for picture in self._read()]
            except Exception as error:  # A camera that fails must not end the thread: it may come back.
                text = f"cameras: {type(error).__name__}: {error}"
                if text not in self._told:
                    self._told.add(text)
                    print(text, file=sys.stderr, flush=True)
                time.sleep(1)
                continue
            with self._lock:
                self._fresh.update({one["camera"]: one for one in frames})


def frame(before: int, camera: str, taken_ns: int | None = None, **picture) -> dict:
    """Returns a frame of the protocol from one that `read` returned; `before` is its stamp where it has none of its own."""
    stamp = before if taken_ns is None else taken_ns
    if "jpeg" in picture:
        size = {"width": picture["width"], "height": picture["height"]}
        return {"camera": camera, **size, "encoding": "jpeg", "data": bytes(picture["jpeg"]), "taken_ns": stamp}
    height, width, colours = picture["rgb"].shape
    if colours != 3 or picture["rgb"].dtype != "uint8":
        found = f"{picture['rgb'].dtype} {picture['rgb'].shape}"
        raise ValueError(f"camera {camera}: rgb: found {found}; valid is uint8 [height, width, 3]")
    return {
        "camera": camera,
        "width": width,
        "height": height,
        "encoding": "rgb",
        "data": picture["rgb"].tobytes(),
        "taken_ns": stamp,
    }
