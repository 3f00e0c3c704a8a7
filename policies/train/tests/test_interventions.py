"""A data set of `aegis export lerobot` as a file for `train.py`: the vector by the plant's names, labels, tasks and
origin.

python -m unittest discover -s policies/train/tests
"""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

import interventions
from lerobot_layout import ENVIRONMENT, STATE

SIZES = {"joint_positions": 7, "eef_position": 3, "eef_site_quaternion": 4, "gripper_positions": 2}
OBJECTS = {
    f"object/{name}/{part}": size
    for name in interventions.OBJECTS
    for part, size in (("position", 3), ("quaternion", 4))
}
TEXTS = ["put bowl 7 on the plate", "put bowl 2 on the plate"]


def unit(quaternion):
    return quaternion / np.linalg.norm(quaternion)


class Interventions(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.suite = self.folder / "suite"
        for task in range(10):
            path = self.suite / f"tasks/{task:02}/task.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"schema": 2, "language": f"put bowl {task} on the plate"}))
        names = [f"task_{task}" for task in range(10)]
        (self.suite / "suite.json").write_text(json.dumps({"schema": 2, "suite": "libero_spatial", "tasks": names}))

    def write(self, sources, origins=({"suite": "libero_spatial"},)):
        """Writes a data set whose rows have these sources, in two episodes of two tasks."""
        random, rows = np.random.default_rng(1), len(sources)
        values = {name: random.normal(size=(rows, size)) for name, size in {**SIZES, **OBJECTS}.items()}
        for name in values:
            if name.endswith("quaternion"):
                values[name] = np.stack([unit(one) for one in values[name]])
        root = self.folder / "set"
        for folder in ("data/chunk-000", "meta"):
            (root / folder).mkdir(parents=True)
        column = lambda names: [f"{name}.{index}" for name in names for index in range(values[name].shape[1])]
        stored = lambda names: np.concatenate([values[name] for name in names], axis=1).astype(np.float32).tolist()
        table = {
            "observation.state": stored(SIZES),
            "observation.environment_state": stored(OBJECTS),
            "action": random.normal(size=(rows, 7)).astype(np.float32).tolist(),
            "control_source": sources,
            "episode_index": [int(row >= 2) for row in range(rows)],
            "task_index": [int(row >= 2) for row in range(rows)],
        }
        pq.write_table(pa.table(table), root / "data/chunk-000/file-000.parquet")
        pq.write_table(pa.table({"task_index": [0, 1], "__index_level_0__": TEXTS}), root / "meta/tasks.parquet")
        features = {
            name: {"names": column(of)}
            for name, of in (("observation.state", SIZES), ("observation.environment_state", OBJECTS))
        }
        (root / "meta/info.json").write_text(json.dumps({"features": features}))
        about = {
            "control_source": {"weak": 0, "strong": 1, "operator": 2, "hold": 3},
            "sources": [{"origin": origin} for origin in origins],
        }
        (root / "meta/aegis.json").write_text(json.dumps(about))
        return root, values, table

    def convert(self, root):
        out, said = self.folder / "out.safetensors", io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = interventions.main([str(root), "--suite", str(self.suite), "--out", str(out)])
        return code, said.getvalue(), out

    def test_the_vector_is_that_of_the_policies_and_only_the_backups_rows_are_labels(self):
        root, values, table = self.write([3, 1, 2, 0, 1])
        code, said, out = self.convert(root)
        self.assertEqual(code, 0, said)
        found = load_file(out)
        self.assertEqual(found["clean"].tolist(), [0, 1, 1, 0, 1])
        self.assertEqual(found["task"].tolist(), [7, 7, 2, 2, 2])
        self.assertEqual(found["episode"].tolist(), [0, 0, 1, 1, 1])
        np.testing.assert_array_equal(found["action"], np.array(table["action"], dtype=np.float32))
        names = STATE + ENVIRONMENT
        vector = found["observation"]
        self.assertEqual(vector.shape, (5, len(names)))
        column = lambda name: vector[:, names.index(name)]
        near = lambda name, valid: np.testing.assert_allclose(column(name), valid, atol=1e-6)
        near("grip_y", values["eef_position"][:, 1])
        near("finger_2", values["gripper_positions"][:, 1])
        near("joint_7", values["joint_positions"][:, 6])
        plate = values["object/plate_1/position"]
        near("plate_1_z", plate[:, 2])
        near("plate_1_relative_x", plate[:, 0] - values["eef_position"][:, 0])
        x, y, z, w = values["eef_site_quaternion"].T
        near("grip_rotation_10", 2 * (x * y + z * w))
        near("grip_rotation_01", 2 * (x * y - z * w))
        self.assertEqual(column("task_7").tolist(), [1, 1, 0, 0, 0])
        self.assertEqual(json.loads(out.with_suffix(".origin.json").read_text()), {"suite": "libero_spatial"})

    def test_a_window_past_the_hand_back_is_left_out(self):
        import windows

        root, *_ = self.write([1] * 14)
        _, _, out = self.convert(root)
        # Two interventions, of 2 and of 12 rows, and windows of ten actions.
        self.assertEqual(len(windows.load([], 40, [out])), 3)
        self.assertEqual(len(windows.load([out], None)), 14)

    def test_what_does_not_fit_is_named(self):
        root, *_ = self.write([1, 1, 1], origins=({"suite": "a"}, {"suite": "b"}))
        code, said, out = self.convert(root)
        self.assertEqual((code, out.with_suffix(".origin.json").exists()), (0, False))
        self.assertIn("several studies", said)
        info = root / "meta/info.json"
        info.write_text(info.read_text().replace("joint_positions.6", "load.6"))
        code, said, _ = self.convert(root)
        self.assertEqual(code, 1)
        self.assertIn("joint_positions: found 6 values; valid is 7", said)
        (self.suite / "tasks/07/task.json").write_text(json.dumps({"schema": 2, "language": "another"}))
        self.assertIn("tasks: found 'put bowl 7 on the plate'", self.convert(root)[1])
        self.assertIn("valid is a data set of `aegis export lerobot`", self.convert(self.folder)[1])


if __name__ == "__main__":
    unittest.main()
