"""LIBERO plants that are stepped without Python's lock."""

from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Scenes:
    """Scenes of a suite, loaded once. Plants share what is compiled of them."""

    def __init__(self, folder: str, sample_seed: int | None = None) -> None:
        """Loads a suite from the folder that setup exported it to. With a seed, it has sampled initial states past the recorded ones."""
    @property
    def name(self) -> str: ...
    @property
    def task_count(self) -> int: ...
    def instruction(self, task: int) -> str: ...
    def initial_states(self, task: int) -> int: ...
    def features(self, task: int) -> list[tuple[str, int, int]]:
        """Returns name, first index and number of values of each feature of a task's observation vector."""

@final
class Snapshot:
    """An episode in the middle, kept for any plant of the same suite."""

@final
class Plants:
    """Plants of one suite, stepped together."""

    def __init__(
        self, scenes: Scenes, count: int, threads: int, cameras: tuple[list[str], int, int] | None = None
    ) -> None:
        """Makes `count` plants. `cameras` are names, width and height of the pictures that `frames` returns."""
    def reset(self, starts: list[tuple[int, int, int]]) -> NDArray[np.float64]:
        """Begins episodes, each of a plant, a task and an initial state. Returns their observations in this order, `[starts, width]`."""
    def step(self, actions: NDArray[np.float64], skipped: list[bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Executes one control step on every plant, with actions `[plants, 7]`. Returns observations `[plants, width]` and whether each goal
        is met. Plants whose `skipped` is true are left as they are, and their rows are zeros."""
    def frames(self, number: int) -> list[tuple[str, NDArray[np.uint8]]]:
        """Draws a plant's pictures: the name of each camera with its picture `[1, height, width, 3]`, row 0 at the top."""
    def finger_velocities(self) -> NDArray[np.float64]:
        """Returns the fingers' velocities of every plant, m/s, `[plants, 2]`."""
    def save(self, number: int) -> Snapshot: ...
    def resume(self, number: int, snapshot: Snapshot) -> NDArray[np.float64]:
        """Goes on with a kept episode, bit for bit. Returns its observation, `[width]`."""
    def state(self, number: int) -> NDArray[np.float64]:
        """Returns everything that decides what a plant does next."""
