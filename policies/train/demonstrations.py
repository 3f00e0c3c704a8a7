"""Reads demonstrations that `aegis demonstrate` wrote, checks them and splits them into episodes.
This module defines what a valid file is. An error names file, field, what was found and what is valid."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

LAYOUT = "libero-lowdim-v1"
TASKS = 10
ACTION = 7
# Length of the vector in LAYOUT, which `policies/src/layout.rs` defines. It begins with ROBOT_VALUES of the robot, and
# its last TASKS components are the task, one-hot.
OBSERVATION = 88
ROBOT_VALUES = 18
# The schema of exported suites that this code reads.
SUITE_SCHEMA = 2

TENSORS = {
    "observation": (np.float32, (OBSERVATION,)),
    "action": (np.float32, (ACTION,)),
    "clean": (np.uint8, ()),
    "episode": (np.int64, ()),
    "task": (np.int64, ()),
}
# Of a file with pictures: for each picture its row, and by camera the pictures, uint8[pictures, height, width, 3].
FRAME_ROW, FRAMES = "frame_row", "frames."


class DataError(ValueError):
    """Raised for a file that cannot be used; the message names the fault."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of an episode, in the file: one of each camera before each step, from the file's row `first` on."""

    path: Path
    sizes: dict[str, tuple[int, int]]
    first: int

    def take(self, camera: str, first: int, end: int) -> np.ndarray:
        """Reads those of the steps `first` to before `end`, uint8[steps, height, width, 3], top row first."""
        with safe_open(self.path, framework="np") as file:
            return file.get_slice(FRAMES + camera)[self.first + first : self.first + end]


@dataclass(frozen=True)
class Episode:
    """One demonstration. Its last step reached the goal, as `aegis demonstrate` keeps only those; or a part of one,
    whose last step did so if `reached`.

    `observation` float32[steps, 88] is what policies read before the step. `action` float32[steps, 7] is the expert's
    action. `clean` bool[steps] is true where the plant was sent that action. `pictures` is None for a file that has none.
    """

    task: int
    observation: np.ndarray
    action: np.ndarray
    clean: np.ndarray
    pictures: Pictures | None = None
    reached: bool = True

    def __len__(self) -> int:
        return len(self.action)

    def part(self, first: int, end: int) -> "Episode":
        """Returns the steps `first` to before `end`."""
        pictures = self.pictures and replace(self.pictures, first=self.pictures.first + first)
        steps, reached = slice(first, end), self.reached and end == len(self)
        return Episode(self.task, self.observation[steps], self.action[steps], self.clean[steps], pictures, reached)


def clean_parts(episodes: list[Episode]) -> list[Episode]:
    """Returns the longest parts of episodes in which every action was the one sent, in their order."""
    parts = []
    for episode in episodes:
        changes = np.flatnonzero(np.diff(episode.clean, prepend=False, append=False))
        parts += [episode.part(first, end) for first, end in zip(changes[::2], changes[1::2])]
    return parts


def read_suite(suite: Path) -> tuple[str, list[str]]:
    """Returns the name of a suite that `export_scenes.py` wrote, and the instructions of its tasks in the suite's order."""
    name, names = (_field(suite / "suite.json", field) for field in ("suite", "tasks"))
    if not isinstance(names, list) or len(names) != TASKS:
        found = f"{len(names)} tasks" if isinstance(names, list) else repr(names)
        raise DataError(f"{suite / 'suite.json'}: tasks: found {found}; valid is a list of {TASKS}, as in {LAYOUT}")
    instructions = []
    for task in range(len(names)):
        path = suite / f"tasks/{task:02}/task.json"
        instruction = _field(path, "language")
        if not isinstance(instruction, str) or not instruction.strip():
            raise DataError(f"{path}: language: found {instruction!r}; valid is an instruction in words")
        # A LeRobotDataset identifies a task by its instruction, so instructions must differ.
        if instruction in instructions:
            other = instructions.index(instruction)
            raise DataError(f"{path}: language: found the words of task {other}; valid are words of its own")
        instructions.append(instruction)
    return name, instructions


def _field(path: Path, field: str):
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SUITE_SCHEMA:
        raise DataError(f"{path}: schema: found {schema!r}; valid is {SUITE_SCHEMA}")
    if field not in content:
        raise DataError(f"{path}: {field}: is missing")
    return content[field]


def read_episodes(path: Path) -> list[Episode]:
    """Returns the episodes of one file in the file's order."""
    try:
        with safe_open(path, framework="np") as file:
            # Pictures stay in the file, because those of all episodes may not fit in memory.
            cameras = {name: file.get_slice(name) for name in sorted(file.keys()) if name.startswith(FRAMES)}
            kinds = {name: (one.get_dtype(), one.get_shape()) for name, one in cameras.items()}
            tensors = {name: file.get_tensor(name) for name in file.keys() if name not in cameras}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot read: {error}") from error
    frame_row = tensors.pop(FRAME_ROW, None)
    _check_shapes(path, tensors)
    _check_values(path, tensors)
    sizes = _picture_sizes(path, kinds, frame_row, len(tensors["action"]))
    episode, task = tensors["episode"], tensors["task"]
    starts = np.flatnonzero(np.diff(episode, prepend=episode[0] - 1))
    if (again := len(starts) - len(np.unique(episode))) > 0:
        raise DataError(f"{path}: episode: found {again} that go on after another began; valid is each in one piece")
    episodes = []
    for start, end in zip(starts, [*starts[1:], len(episode)]):
        rows = slice(start, end)
        if (task[rows] != task[start]).any():
            found = sorted(set(task[rows].tolist()))
            raise DataError(f"{path}: task: found {found} in episode {episode[start]}; valid is one per episode")
        clean = tensors["clean"][rows].astype(bool)
        pictures = Pictures(path, sizes, int(start)) if sizes else None
        observation, action = tensors["observation"][rows], tensors["action"][rows]
        episodes.append(Episode(int(task[start]), observation, action, clean, pictures))
    return episodes


def _picture_sizes(path: Path, kinds: dict, frame_row: np.ndarray | None, rows: int) -> dict[str, tuple[int, int]]:
    """Returns height and width of each camera's pictures, of which there has to be one at every row; empty without
    pictures."""
    if not kinds:
        if frame_row is not None:
            raise DataError(f"{path}: {FRAME_ROW}: found without pictures; valid is a tensor {FRAMES}CAMERA beside it")
        return {}
    if frame_row is None:
        raise DataError(f"{path}: {FRAME_ROW}: is missing; valid is the row of each picture")
    if not np.array_equal(frame_row, np.arange(rows)):
        valid = "one at every row, as `aegis demonstrate --frames-every 1` takes them"
        raise DataError(f"{path}: {FRAME_ROW}: found pictures at {len(frame_row)} of {rows} rows; valid is {valid}")
    for name, (dtype, shape) in kinds.items():
        if dtype != "U8" or len(shape) != 4 or shape[0] != rows or shape[3] != 3:
            raise DataError(f"{path}: {name}: found {dtype}{shape}; valid is U8[{rows}, height, width, 3]")
    return {name.removeprefix(FRAMES): (shape[1], shape[2]) for name, (_, shape) in kinds.items()}


def _check_shapes(path: Path, tensors: dict) -> None:
    for name in TENSORS:
        if name not in tensors:
            raise DataError(f"{path}: {name}: is missing; found {', '.join(sorted(tensors)) or 'no tensors'}")
    # An unknown tensor would be lost without a message.
    if unknown := sorted(set(tensors) - set(TENSORS)):
        raise DataError(f"{path}: {unknown[0]}: is unknown; valid are {', '.join(TENSORS)}")
    rows = tensors["action"].shape[:1]
    for name, (dtype, width) in TENSORS.items():
        found = tensors[name]
        if found.dtype != dtype or found.ndim != 1 + len(width) or found.shape[1:] != width:
            valid = f"{np.dtype(dtype)}[{', '.join(map(str, ('rows', *width)))}]"
            raise DataError(f"{path}: {name}: found {found.dtype}{list(found.shape)}; valid is {valid}")
        if found.shape[:1] != rows:
            raise DataError(f"{path}: {name}: found {len(found)} rows; valid is {rows[0]}, as many as action has")
    if rows[0] == 0:
        raise DataError(f"{path}: action: found 0 rows; valid is 1 or more")


def _check_values(path: Path, tensors: dict) -> None:
    def refuse(name: str, bad: np.ndarray, valid: str) -> None:
        if bad.any():
            at = tuple(int(index) for index in np.argwhere(bad)[0])
            place = f"row {at[0]}" + (f", component {at[1]}" if len(at) > 1 else "")
            raise DataError(f"{path}: {name}: found {tensors[name][at]} in {place}; valid is {valid}")

    for name in ("observation", "action"):
        refuse(name, ~np.isfinite(tensors[name]), "a finite number")
    refuse("clean", tensors["clean"] > 1, "0 or 1")
    refuse("task", (tensors["task"] < 0) | (tensors["task"] >= TASKS), f"0 to {TASKS - 1}")
    expected = np.eye(TASKS, dtype=np.float32)[tensors["task"]]
    wrong = np.zeros((len(expected), OBSERVATION), dtype=bool)
    wrong[:, -TASKS:] = tensors["observation"][:, -TASKS:] != expected
    refuse("observation", wrong, f"the task one-hot in its last {TASKS} components")
