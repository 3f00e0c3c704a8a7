"""Open a data set of `aegis export lerobot` with LeRobot's own loader, and compare it with what the run or the study
recorded.

    python check_lerobot_dataset.py runs/dataset --run runs/robot/2026-11-27T12-00-00
    python check_lerobot_dataset.py runs/corrections --run runs/robot/2026-11-27T12-00-00 --only-interventions
    python check_lerobot_dataset.py runs/episodes --study runs/study --arm aegis

Reads every row through a PyTorch `DataLoader` with windows of past states and coming actions. The run's files are read
by run_record.py, which shares no code with AEGIS. Runs in the environment of requirements-lerobot.txt;
docs/reference/dataset.md says what the check covers."""

import argparse
import io
import os
import sys
import tempfile
import time
from pathlib import Path

# All data is local. Without this setting, lerobot asks its hub for missing files.
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from run_record import RecordError, RunEpisode, read_run

AHEAD = 10
BATCH = 64
# Differences that are listed; further ones are only counted.
SHOWN = 10
# LeRobot's names of statistics that both compute alike, with the tolerance of the sums.
EXACT = {"min": 0.0, "max": 0.0, "mean": 1e-9, "std": 1e-7}


class Differences:
    """Differences so far."""

    def __init__(self):
        self.lines, self.count = [], 0

    def add(self, line: str) -> None:
        self.count += 1
        if self.count <= SHOWN:
            self.lines.append(line)

    def same(self, name: str, found, valid) -> None:
        """Notes a difference where two arrays differ in shape, type or any bit; NaN equals NaN."""
        found, valid = np.asarray(found), np.asarray(valid)
        if found.shape != valid.shape or found.dtype != valid.dtype:
            self.add(f"{name}: found {found.dtype}{list(found.shape)}; valid is {valid.dtype}{list(valid.shape)}")
        elif not np.array_equal(found, valid, equal_nan=found.dtype.kind == "f"):
            self.add(f"{name}: found {found.tolist()!r:.200}; the record says {valid.tolist()!r:.200}")


def columns_of(features: list) -> dict[str, tuple[list[str], list[int]]]:
    """Returns the names and the places of the values of each observation column, by what a plant announced."""
    found, place = {"observation.state": ([], []), "observation.environment_state": ([], [])}, 0
    for name, shape, _, kind, names, _ in features:
        if kind != "tensor":
            continue
        size = int(np.prod(shape))
        kind = "observation.environment_state" if name.startswith("object/") else "observation.state"
        last = shape[-1] if shape else 1
        for index in range(size):
            component = names[index % last] if names else ("" if size == 1 else str(index))
            middle = f".{index // last}" if names and size != last else ""
            found[kind][0].append(f"{name}{middle}.{component}" if component else name)
            found[kind][1].append(place + index)
        place += size
    return {name: columns for name, columns in found.items() if columns[0]}


def expected_of(episodes: list[RunEpisode], only_interventions: bool) -> list[dict]:
    """Returns the episodes that the data set should have, each as its columns, float32 and so on, and its pictures."""
    found = []
    for episode in episodes:
        parts, part = [], []
        for row in episode.rows:
            if row.intervention or not only_interventions:
                part.append(row)
            elif part:
                parts, part = [*parts, part], []
        for rows in [*parts, part]:
            if not rows:
                continue
            values = np.array([row.values for row in rows])
            columns = {
                name: values[:, places].astype(np.float32) for name, (_, places) in columns_of(episode.features).items()
            }
            columns["action"] = np.array([row.action for row in rows], dtype=np.float32)
            columns["control_source"] = np.array([row.source for row in rows])
            columns["risk"] = np.array([row.risk for row in rows], dtype=np.float32)
            columns["intervention"] = np.array([row.intervention for row in rows])
            columns["success"] = np.array([episode.success] * len(rows))
            columns["controller_time"] = np.array([row.time for row in rows])
            found.append({"task": episode.task, "columns": columns, "pictures": [row.pictures for row in rows]})
    return found


def pixels(data: bytes) -> np.ndarray:
    """Returns a picture as LeRobot gives it: float32[3, height, width], 0 to 1."""
    import PIL.Image

    return np.array(PIL.Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1).astype(np.float32) / np.float32(
        255
    )


def open_set(root: Path, cache: str, fps: float):
    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = Path(cache)
    window = {
        "action": [step / fps for step in range(AHEAD)],
        "observation.state": [-1 / fps, 0.0],
    }
    return LeRobotDataset(f"aegis/{root.name}", root=root, delta_timestamps=window)


def check_rows(dataset, expected: list[dict], differences: Differences) -> int:
    """Compares every row; returns how many there are."""
    from torch.utils.data import DataLoader

    place = [(episode, frame) for episode, one in enumerate(expected) for frame in range(len(one["pictures"]))]
    decoded: dict[int, np.ndarray] = {}
    at = 0
    for batch in DataLoader(dataset, batch_size=BATCH, num_workers=0):
        for row in range(len(batch["index"])):
            if at >= len(place):
                differences.add(f"rows: found more than {len(place)}")
                return at
            episode, frame = place[at]
            one, where = expected[episode], f"row {at} (episode {episode}, frame {frame})"
            last = len(one["pictures"]) - 1
            for name, values in one["columns"].items():
                found = batch[name][row].numpy()
                if name == "action":
                    steps = np.clip(np.arange(frame, frame + AHEAD), 0, last)
                    differences.same(
                        f"{where}: action_is_pad", batch["action_is_pad"][row], np.arange(frame, frame + AHEAD) > last
                    )
                    differences.same(f"{where}: {name}", found, values[steps])
                elif name == "observation.state":
                    differences.same(f"{where}: {name}", found, values[[max(frame - 1, 0), frame]])
                elif name == "controller_time":
                    if abs(found - values[frame]) > 1e-6 and frame > 0 and not one.get("part"):
                        differences.add(f"{where}: {name}: found {found}; the record says {values[frame]}")
                else:
                    differences.same(f"{where}: {name}", found, values[frame])
            for camera, data in one["pictures"][frame].items():
                if id(data) not in decoded:
                    decoded = {**dict(list(decoded.items())[-8:]), id(data): pixels(data)}
                differences.same(
                    f"{where}: camera {camera}", batch[f"observation.images.{camera}"][row].numpy(), decoded[id(data)]
                )
            for name, valid in (
                ("episode_index", episode),
                ("frame_index", frame),
                ("index", at),
                ("next.done", frame == last),
            ):
                differences.same(f"{where}: {name}", batch[name][row].numpy(), valid)
            differences.same(f"{where}: timestamp", batch["timestamp"][row].numpy(), np.float32(frame / dataset.fps))
            if batch["task"][row] != one["task"]:
                differences.add(f"{where}: task: found {batch['task'][row]!r}; the record says {one['task']!r}")
            at += 1
    if at != len(place):
        differences.add(f"rows: found {at}; the record has {len(place)}")
    return at


def check_meta(dataset, expected: list[dict], rate: float, differences: Differences) -> None:
    """Compares `info.json`, the table of episodes and the statistics."""
    meta = dataset.meta
    lengths = [len(one["pictures"]) for one in expected]
    ends = np.cumsum(lengths).tolist()
    for name, found, valid in (
        ("fps", meta.fps, rate),
        ("total_episodes", meta.total_episodes, len(expected)),
        ("total_frames", meta.total_frames, sum(lengths)),
        ("length", meta.episodes["length"][:], lengths),
        ("dataset_to_index", meta.episodes["dataset_to_index"][:], ends),
        ("tasks", meta.episodes["tasks"][:], [[one["task"]] for one in expected]),
    ):
        if found != valid:
            differences.add(f"{name}: found {found!r:.200}; the record says {valid!r:.200}")
    for name in ("action", "control_source", "intervention", "observation.state", "observation.environment_state"):
        if name not in expected[0]["columns"]:
            continue
        values = np.concatenate([one["columns"][name] for one in expected]).astype(np.float64)
        values = values.reshape(len(values), -1)
        for key, tolerance in EXACT.items():
            valid, found = getattr(values, key)(0), np.asarray(meta.stats[name][key], dtype=np.float64)
            if found.shape != valid.shape or not np.abs(found - valid).max() <= tolerance:
                differences.add(f"stats {name} {key}: found {found!r:.200}; the record says {valid!r:.200}")
    # LeRobot merges the episodes' own statistics when a data set is edited.
    from lerobot.datasets.compute_stats import aggregate_stats
    from lerobot.datasets.dataset_tools import _load_episode_with_stats

    parts = []
    for episode in range(len(expected)):
        row = _load_episode_with_stats(dataset, episode)
        named = {key: value for key, value in row.items() if key.startswith("stats/action/")}
        parts.append({"action": {key.rsplit("/", 1)[1]: np.array(value) for key, value in named.items()}})
    for key, valid in aggregate_stats(parts)["action"].items():
        found = meta.stats["action"][key]
        if not np.abs(np.asarray(found, dtype=np.float64) - valid).max() <= 1e-9:
            differences.add(f"stats action {key}: found {found}; LeRobot's own merge of the episodes gives {valid}")


def study_of(folder: Path, arm: str, rate: float, dataset) -> list[dict]:
    """Returns what the traces of a study say of an arm's episodes, in the data set's order: actions, drivers and
    scores."""
    import pyarrow.parquet as pq

    found = []
    for path in sorted((folder / "traces").glob("*.parquet")):
        rows = pq.read_table(path).to_pylist()
        of = [row for row in rows if row["arm"] == arm]
        weak = [row for row in rows if row["arm"] == "weak"]
        first = of[0]["step"] if of else len(weak)
        whole = of if arm == "weak" else [*(row for row in weak if row["step"] < first), *of]
        action = np.array([row["action"] for row in whole], dtype=np.float32)
        strong = np.array([row["strong"] for row in whole])
        columns = {
            "action": action,
            "control_source": strong.astype(np.int64),
            "success": np.array([whole[-1]["success"]] * len(whole)),
            "controller_time": np.array([row["step"] / rate for row in whole]),
        }
        found.append({"columns": columns, "pictures": [{}] * len(whole), "task": None})
    # A trace names its task by number; the table of episodes has the words.
    for one, tasks in zip(found, dataset.meta.episodes["tasks"][:]):
        one["task"] = tasks[0]
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, nargs="+", help="folders of the runs, in the export's order")
    source.add_argument("--study", type=Path, help="folder of the study, whose episodes were all exported")
    parser.add_argument("--arm", default="aegis", help="arm of the study's episodes")
    parser.add_argument("--only-interventions", action="store_true", help="as in the export")
    arguments = parser.parse_args(words)
    begin, differences = time.monotonic(), Differences()
    import json

    try:
        info = json.loads((arguments.dataset / "meta/info.json").read_text())
        expected, rate = [], info["fps"]
        if arguments.run:
            for run in arguments.run:
                rate, episodes = read_run(run)
                expected += expected_of(episodes, arguments.only_interventions)
    except (OSError, ValueError, KeyError, RecordError) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    # A separate cache. The shared one identifies a file by name and time, and could return a file's old contents.
    with tempfile.TemporaryDirectory() as cache:
        dataset = open_set(arguments.dataset, cache, rate)
        if arguments.study:
            expected = study_of(arguments.study, arguments.arm, rate, dataset)
        rows = check_rows(dataset, expected, differences)
        check_meta(dataset, expected, rate, differences)
        cameras = [name.rsplit(".", 1)[1] for name in dataset.meta.camera_keys]
        print(
            f"{len(expected)} episodes, {rows} rows, cameras: {', '.join(cameras) or 'none'}; "
            f"compared with windows of {AHEAD} actions"
        )
    for line in differences.lines:
        print(f"differs: {line}", file=sys.stderr)
    if differences.count > SHOWN:
        print(f"differs: {differences.count - SHOWN} more", file=sys.stderr)
    verdict = "differs" if differences.count else "the same"
    print(f"{arguments.dataset}: {verdict}, {time.monotonic() - begin:.0f} s")
    return 1 if differences.count else 0


if __name__ == "__main__":
    sys.exit(main())
