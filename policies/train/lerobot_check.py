"""Compares a LeRobotDataset, as `lerobot` reads it, with the demonstrations that it was made from.
This module defines equality: every stored value bit for bit, statistics within the rounding of their sums."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from demonstrations import TASKS, DataError, Episode
from lerobot_layout import CAMERAS, ENVIRONMENT, FPS, ROBOT, STATE, Layout
from libero_state import hand_quaternion

CHUNK = 10
BATCH = 256
# Number of differences that are listed; further ones are only counted.
SHOWN = 10
# lerobot computes the standard deviation as √(mean of squares − squared mean). Components are below 4, so the difference
# has a rounding error of 16 · 2⁻⁵², whose root is 6e-8.
STD_TOLERANCE = 1e-7
MEAN_TOLERANCE = 1e-12
# In metres. Positions of up to 4 m are rounded to float32, and one comparison has three of them.
POSITION_TOLERANCE = 1e-6
# In radians, between the stored rotation and the one that the joint angles give. Poses are those before the last
# physics step of 2 ms, joint angles those after it, and the robot's description rounds the hand's quaternion to three
# digits.
ROTATION_TOLERANCE = 0.03


@dataclass
class Report:
    """Result of a check. `differences` is empty if the data set equals its source."""

    summary: str
    differences: list[str]


def check(root: Path, layout: Layout, episodes: list[Episode], instructions: list[str], workers: int) -> Report:
    """Reads every frame through a `DataLoader` with a window of actions, and compares it with its source."""
    # A separate cache. The shared one identifies a file by name and time, and could return a file's old contents.
    with tempfile.TemporaryDirectory() as cache:
        dataset = _open(root, cache)
        rows = _Rows(layout, episodes)
        found = _metadata(dataset.meta, rows, instructions) + _statistics(dataset.meta.stats, rows)
        found += _frames(dataset, rows, instructions, workers) + _names(rows)
        meta = dataset.meta
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        summary = (
            f"{meta.total_frames} frames, {meta.total_episodes} episodes, {meta.total_tasks} tasks, "
            f"{size / 1e6:.1f} MB; {len(rows)} frames compared with windows of {CHUNK} actions"
        )
    if len(found) > SHOWN:
        found = [*found[:SHOWN], f"{len(found) - SHOWN} more"]
    return Report(summary, found)


def _open(root: Path, cache: str):
    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = Path(cache)
    window = {"action": [step / FPS for step in range(CHUNK)]}
    try:
        return LeRobotDataset(f"aegis/{root.name}", root=root, delta_timestamps=window)
    except Exception as error:  # Whatever lerobot and the readers below it raise on a broken folder.
        raise DataError(f"{root}: lerobot cannot open it: {type(error).__name__}: {error}") from error


class _Rows:
    """The source's columns over all episodes, computed independently of `lerobot_layout.columns`."""

    def __init__(self, layout: Layout, episodes: list[Episode]):
        self.layout, self.episodes = layout, episodes
        lengths = np.array([len(episode) for episode in episodes])
        self.tasks = np.array([episode.task for episode in episodes])
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.episode = np.repeat(np.arange(len(episodes)), lengths)
        self.frame = np.arange(len(self.episode)) - self.starts[self.episode]
        ends = np.arange(len(self.episode)) == self.ends[self.episode] - 1
        self.last = ends & np.array([episode.reached for episode in episodes])[self.episode]
        self.observation = np.concatenate([episode.observation for episode in episodes])
        self.action = np.concatenate([episode.action for episode in episodes])
        self.clean = np.concatenate([episode.clean for episode in episodes])
        self.vectors = layout.vectors(self.observation)

    def __len__(self) -> int:
        return len(self.episode)

    def items(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the batch that lerobot should return for these rows."""
        wanted = rows[:, None] + np.arange(CHUNK)
        end = self.ends[self.episode[rows], None]
        return {
            **{name: column[rows] for name, column in self.vectors.items()},
            **{CAMERAS[camera]: self._pictures(camera, rows) for camera in self.layout.cameras},
            "action": self.action[np.minimum(wanted, end - 1)],
            "action_is_pad": wanted >= end,
            "clean": self.clean[rows],
            "next.success": self.last[rows],
            "next.done": self.last[rows],
            "timestamp": (self.frame[rows] / FPS).astype(np.float32),
            "frame_index": self.frame[rows],
            "episode_index": self.episode[rows],
            "index": rows,
            "task_index": self.tasks[self.episode[rows]],
        }

    def _pictures(self, camera: str, rows: np.ndarray) -> np.ndarray:
        """Returns a camera's pictures before consecutive rows as lerobot should return them: float32[rows, 3, height,
        width]."""
        taken = []
        for episode in np.unique(self.episode[rows]):
            steps = self.frame[rows[self.episode[rows] == episode]]
            taken.append(self.episodes[episode].pictures.take(camera, int(steps[0]), int(steps[-1]) + 1))
        # Of the plant's pictures left and right are exchanged, as in public LIBERO data sets.
        mirrored = np.flip(np.concatenate(taken), axis=2).transpose(0, 3, 1, 2)
        return mirrored.astype(np.float32) / np.float32(255)


def _metadata(meta, rows: _Rows, instructions: list[str]) -> list[str]:
    """Compares `info.json`, the tasks, and the rows of each episode; returns the differences."""
    pairs = [
        ("fps", meta.fps, FPS),
        ("robot_type", meta.robot_type, ROBOT),
        ("total_frames", meta.total_frames, len(rows)),
        ("total_episodes", meta.total_episodes, len(rows.starts)),
        ("total_tasks", meta.total_tasks, TASKS),
        ("tasks", list(meta.tasks.index), instructions),
        ("task_index", meta.tasks["task_index"].tolist(), list(range(TASKS))),
    ]
    for name, wanted in rows.layout.features.items():
        pairs.append((f"features.{name}", {**meta.features.get(name, {})}, wanted))
    episodes = meta.episodes
    pairs += [
        ("episode_index", episodes["episode_index"][:], list(range(len(rows.starts)))),
        ("dataset_from_index", episodes["dataset_from_index"][:], rows.starts.tolist()),
        ("dataset_to_index", episodes["dataset_to_index"][:], rows.ends.tolist()),
        ("length", episodes["length"][:], (rows.ends - rows.starts).tolist()),
        ("episodes' tasks", episodes["tasks"][:], [[instructions[task]] for task in rows.tasks]),
    ]
    return [
        f"{name}: found {found!r:.200}; the source says {valid!r:.200}"
        for name, found, valid in pairs
        if found != valid
    ]


def _statistics(stats: dict | None, rows: _Rows) -> list[str]:
    """Compares minimum, maximum, mean, standard deviation and count of each feature with NumPy's over all frames. Those
    of pictures are left out: lerobot takes them from a sample of smaller pictures."""
    columns = {
        **rows.vectors,
        "action": rows.action,
        "clean": rows.clean[:, None],
        "next.success": rows.last[:, None],
        "next.done": rows.last[:, None],
    }
    differences = []
    for name, column in columns.items():
        column = column.astype(np.float64)
        for key, valid, tolerance in (
            ("min", column.min(0), 0.0),
            ("max", column.max(0), 0.0),
            ("mean", column.mean(0), MEAN_TOLERANCE),
            ("std", column.std(0), STD_TOLERANCE),
            ("count", np.array([len(rows)]), 0.0),
        ):
            found = np.asarray((stats or {}).get(name, {}).get(key, np.nan), dtype=np.float64)
            if found.shape != valid.shape:
                differences.append(f"stats {name} {key}: found shape {found.shape}; the source says {valid.shape}")
            elif not (off := np.abs(found - valid)).max() <= tolerance:
                differences.append(f"stats {name} {key}: off by up to {off.max():.2e}; valid is {tolerance:.0e}")
    return differences


def _frames(dataset, rows: _Rows, instructions: list[str], workers: int) -> list[str]:
    """Compares every item, in batches as in a training loop; returns the differences."""
    from torch.utils.data import DataLoader

    differences, begin = [], 0
    for batch in DataLoader(dataset, batch_size=BATCH, num_workers=workers):
        given = len(batch["index"])
        at = np.arange(begin, begin + given)
        begin += given
        if begin > len(rows):
            break
        expected = rows.items(at)
        if unknown := sorted(set(batch) - set(expected) - {"task"}):
            differences.append(f"frames: {unknown[0]}: not in the source")
        for name, valid in expected.items():
            if name not in batch:
                differences.append(f"frame {at[0]}: {name}: is missing")
                continue
            found = batch[name].numpy()
            if found.dtype != valid.dtype or found.shape != valid.shape:
                kinds = f"found {found.dtype}{list(found.shape)}; valid is {valid.dtype}{list(valid.shape)}"
                differences.append(f"frame {at[0]}: {name}: {kinds}")
                continue
            for row in np.flatnonzero((_bytes(found) != _bytes(valid)).any(1)):
                differences.append(
                    f"frame {at[row]} (episode {rows.episode[at[row]]}, step {rows.frame[at[row]]}): {name}: "
                    f"found {found[row].tolist()!r:.200}; the source says {valid[row].tolist()!r:.200}"
                )
        for row, found in enumerate(batch["task"]):
            if found != (valid := instructions[expected["task_index"][row]]):
                differences.append(f"frame {at[row]}: task: found {found!r}; the source says {valid!r}")
    if begin != len(rows):
        differences.append(f"frames: found {begin} or more; the source has {len(rows)}")
    return differences


def _bytes(values: np.ndarray) -> np.ndarray:
    """Returns the values' bytes, uint8[rows, bytes], which are equal only where all bits are."""
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)


def _names(rows: _Rows) -> list[str]:
    """Checks the features' names by their values: an object's position has to be the sum of grip and relative position,
    and the rotation vector of the layout `libero` the hand's rotation as the joint angles give it."""
    names = STATE + ENVIRONMENT
    differences = []
    if rows.layout.name == "libero":
        joints = rows.observation[:, [names.index(f"joint_{joint}") for joint in range(1, 8)]]
        off = _turned(rows.vectors["observation.state"][:, 3:6], hand_quaternion(joints.astype(np.float64))).max()
        if off > ROTATION_TOLERANCE:
            differences.append(f"axis_angle: joint angles and rotation differ by {off:.2e} rad")
    for name in names:
        if "_relative_" in name:
            axis = name[-1]
            whole = rows.observation[:, names.index(name.replace("_relative_", "_"))]
            parts = rows.observation[:, [names.index(f"grip_{axis}"), names.index(name)]]
            off = np.abs(whole - parts.sum(1, dtype=np.float64)).max()
            if off > POSITION_TOLERANCE:
                differences.append(f"{name}: grip and relative position miss the position by {off:.2e} m")
    return differences


def _turned(vectors: np.ndarray, quaternions: np.ndarray) -> np.ndarray:
    """Returns the angle between each rotation vector and quaternion x, y, z, w of unit length, of 0 to 2π: 2π for two
    that are the same rotation with opposite signs."""
    vectors = vectors.astype(np.float64)
    half = np.linalg.norm(vectors, axis=1, keepdims=True) / 2
    found = np.concatenate([vectors / 2 * np.sinc(half / np.pi), np.cos(half)], axis=1)
    return 4 * np.arcsin(np.clip(np.linalg.norm(found - quaternions, axis=1) / 2, 0, 1))
