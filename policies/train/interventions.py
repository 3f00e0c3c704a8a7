"""Turn a data set of `aegis export lerobot` into a file that `train.py` learns from, in the layout of `aegis
demonstrate`.

    aegis export lerobot runs/study --plan plan.toml --only-interventions --only-successful --out runs/corrections
    python interventions.py runs/corrections --suite SCENES/libero_spatial --out runs/corrections.safetensors

Rows in which the backup drove are labels (`clean`): those of the strong policy and of an operator. Rows of the weak
policy, and those in which nobody did, are kept and are none. The starts that the rows came from go beside the file, as
NAME.origin.json."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from demonstrations import DataError, read_suite
from safetensors.numpy import save_file

# In the order of `policies/src/layout.rs`.
OBJECTS = ("akita_black_bowl_1", "akita_black_bowl_2", "cookies_1", "glazed_rim_porcelain_ramekin_1", "plate_1")
STATE, ENVIRONMENT = "observation.state", "observation.environment_state"
# Sources of a command whose rows are labels.
TEACHERS = ("strong", "operator")


def rotation_6d(quaternion: np.ndarray) -> np.ndarray:
    """Returns the first two columns of the rotation matrix of quaternions x, y, z, w, [rows, 4]; [rows, 6]."""
    x, y, z, w = quaternion.T
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    second = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    return np.stack([*first, *second], axis=1)


class Features:
    """Values of the plant's features in the rows of a data set, by name."""

    def __init__(self, root: Path, info: dict, columns: dict[str, np.ndarray]):
        self.root, self.columns, self.places = root, columns, {}
        for column in (STATE, ENVIRONMENT):
            for index, name in enumerate(info["features"].get(column, {}).get("names") or []):
                self.places.setdefault(name.rsplit(".", 1)[0], []).append((column, index))

    def of(self, name: str, size: int) -> np.ndarray:
        """Returns the first `size` values of a feature, float64[rows, size]."""
        places = self.places.get(name, [])
        if len(places) < size:
            raise DataError(f"{self.root}: {name}: found {len(places)} values; valid is {size}, as LIBERO-Spatial has")
        return np.stack([self.columns[column][:, index] for column, index in places[:size]], axis=1).astype(np.float64)


def vector(features: Features, tasks: np.ndarray, count: int) -> np.ndarray:
    """Returns the observations in the layout libero-lowdim-v1, float32[rows, 88]."""
    grip = features.of("eef_position", 3)
    parts = [
        grip,
        rotation_6d(features.of("eef_site_quaternion", 4)),
        features.of("gripper_positions", 2),
        features.of("joint_positions", 7),
    ]
    for name in OBJECTS:
        position = features.of(f"object/{name}/position", 3)
        parts += [position, position - grip, rotation_6d(features.of(f"object/{name}/quaternion", 4))]
    parts.append(np.eye(count)[tasks])
    return np.concatenate(parts, axis=1).astype(np.float32)


def read_columns(root: Path) -> dict[str, np.ndarray]:
    """Returns the columns of numbers of a data set, [rows, width] or [rows]."""
    import pyarrow.parquet as pq

    names = (STATE, ENVIRONMENT, "action", "control_source", "episode_index", "task_index")
    tables = []
    for path in sorted((root / "data").glob("*/*.parquet")):
        there = pq.read_schema(path).names
        tables.append(pq.read_table(path, columns=[name for name in names if name in there]))
    if not tables:
        raise DataError(f"{root}: data: found no file; valid is a data set of `aegis export lerobot`")
    return {
        name: np.concatenate([np.array(table[name].to_pylist()) for table in tables]) for name in tables[0].column_names
    }


def convert(root: Path, suite: Path, out: Path) -> tuple[int, int]:
    """Writes the file and, where the data set is of one study, its origin. Returns the numbers of rows and of
    labels."""
    import pyarrow.parquet as pq

    try:
        info, about = (json.loads((root / f"meta/{name}.json").read_text()) for name in ("info", "aegis"))
    except (OSError, ValueError) as error:
        raise DataError(f"{root}: cannot read: {error}; valid is a data set of `aegis export lerobot`") from error
    _, instructions = read_suite(suite)
    table = pq.read_table(root / "meta/tasks.parquet").to_pydict()
    texts = dict(zip(table["task_index"], table["__index_level_0__"]))
    if unknown := sorted(set(texts.values()) - set(instructions)):
        raise DataError(f"{root}: tasks: found {unknown[0]!r}; valid are the instructions of {suite}")
    columns = read_columns(root)
    tasks = np.array([instructions.index(texts[task]) for task in columns["task_index"]])
    numbers = about["control_source"]
    clean = np.isin(columns["control_source"], [numbers[name] for name in TEACHERS])
    tensors = {
        "observation": vector(Features(root, info, columns), tasks, len(instructions)),
        "action": columns["action"].astype(np.float32),
        "clean": clean.astype(np.uint8),
        "episode": columns["episode_index"].astype(np.int64),
        "task": tasks.astype(np.int64),
    }
    save_file(tensors, out)
    origins = [source.get("origin") for source in about["sources"]]
    beside = out.with_suffix(".origin.json")
    if len(origins) == 1 and origins[0]:
        beside.write_text(json.dumps(origins[0], indent=2) + "\n")
    else:
        print(f"{beside}: not written: the starts of runs, or of several studies, are not known here", file=sys.stderr)
    return len(clean), int(clean.sum())


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--suite", type=Path, required=True, help="the exported suite, for the instructions")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(words)
    try:
        rows, labels = convert(arguments.dataset, arguments.suite, arguments.out)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: {rows} rows, {labels} of them labels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
