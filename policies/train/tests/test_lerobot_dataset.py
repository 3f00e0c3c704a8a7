"""Demonstrations written as a LeRobotDataset and read by lerobot; differences that the check finds; refused inputs.

    python -m unittest discover -s policies/train/tests
"""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

import lerobot_dataset
from demonstrations import DataError, read_episodes, read_suite
from lerobot_layout import ACTION, ENVIRONMENT, STATE
from libero_state import hand_quaternion

# (steps, task) of each episode. One episode is shorter than a window of actions, one is a single step.
FIRST = [(14, 3), (5, 0), (1, 3)]
SECOND = [(11, 9)]


def tensors(episodes, seed):
    """Returns a file's tensors, including values that an inexact copy would change."""
    random = np.random.default_rng(seed)
    rows = sum(length for length, _ in episodes)
    task = np.repeat([task for _, task in episodes], [length for length, _ in episodes])
    observation = random.normal(size=(rows, 88)).astype(np.float32)
    names = STATE + ENVIRONMENT
    for relative in (name for name in names if "_relative_" in name):
        position, grip = relative.replace("_relative_", "_"), f"grip_{relative[-1]}"
        difference = observation[:, names.index(position)] - observation[:, names.index(grip)]
        observation[:, names.index(relative)] = difference
    observation[:, -10:] = np.eye(10, dtype=np.float32)[task]
    action = random.uniform(-1, 1, size=(rows, 7)).astype(np.float32)
    action[0, :3] = [-0.0, np.float32(1e-45), np.nextafter(np.float32(1), np.float32(0))]
    return {
        "observation": observation,
        "action": action,
        "clean": random.integers(0, 2, size=rows).astype(np.uint8),
        # A file has no failed episodes, so numbers are skipped.
        "episode": np.repeat(np.arange(len(episodes)) * 2 + 1, [length for length, _ in episodes]),
        "task": task.astype(np.int64),
    }


def posed(tensors):
    """Returns tensors whose grip rotation is that of the joint angles, as the layout `libero` needs."""
    observation = tensors["observation"]
    x, y, z, w = hand_quaternion(observation[:, 11:18].astype(np.float64)).T
    # The first column of the site's rotation is the hand's −y axis, the second its x axis.
    observation[:, 3:6] = -np.stack([2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)], axis=1)
    observation[:, 6:9] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)], axis=1)
    return tensors


def seen(tensors, seed, cameras=("agentview", "robot0_eye_in_hand")):
    """Returns tensors with a picture of each camera at every row, 6 rows by 8 columns."""
    rows = len(tensors["action"])
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, size=(len(cameras), rows, 6, 8, 3)).astype(np.uint8)
    named = {f"frames.{camera}": taken.copy() for camera, taken in zip(cameras, pictures)}
    return {**tensors, **named, "frame_row": np.arange(rows)}


def write_suite(folder, change=lambda task, content: None):
    for task in range(10):
        content = {"schema": 2, "name": f"task_{task}", "language": f"put bowl {task} on the plate"}
        change(task, content)
        path = folder / f"tasks/{task:02}/task.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    names = [f"task_{task}" for task in range(10)]
    (folder / "suite.json").write_text(json.dumps({"schema": 2, "suite": "libero_spatial", "tasks": names}))


def run(*words):
    """Runs the command; returns exit code, standard output and standard error."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = lerobot_dataset.main([str(word) for word in words])
    return code, out.getvalue(), error.getvalue()


class Folder(unittest.TestCase):
    """Test case with one temporary folder per class, which has a suite and two files."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.suite = cls.folder / "suite"
        write_suite(cls.suite)
        cls.files = [cls.folder / "first.safetensors", cls.folder / "second.safetensors"]
        for seed, (path, episodes) in enumerate(zip(cls.files, (FIRST, SECOND))):
            save_file(tensors(episodes, seed), path)


class RoundTrip(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.folder / "dataset"
        lerobot_dataset.write(cls.files, cls.suite, cls.dataset)

    def check(self, dataset, *files):
        return run("check", dataset, "--data", *(files or self.files), "--suite", self.suite)

    def copy(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "dataset"
        return Path(shutil.copytree(self.dataset, folder))

    def test_check_finds_nothing(self):
        code, out, error = self.check(self.dataset)
        self.assertEqual((code, error), (0, ""))
        self.assertIn("31 frames, 4 episodes, 10 tasks", out)
        self.assertIn("31 frames compared", out)

    def test_reading_processes_change_nothing(self):
        code, _, error = run("check", self.dataset, "--data", *self.files, "--suite", self.suite, "--workers", 2)
        self.assertEqual((code, error), (0, ""))

    def test_lerobot_reads_it_with_names_and_words(self):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        dataset = LeRobotDataset("aegis/dataset", root=self.dataset, episodes=[3])
        item, source = dataset[10], tensors(SECOND, 1)
        self.assertEqual(item["task"], "put bowl 9 on the plate")
        self.assertEqual(item["action"].numpy().tobytes(), source["action"][10].tobytes())
        vector = np.concatenate([item["observation.state"], item["observation.environment_state"]])
        self.assertEqual(vector.tobytes(), source["observation"][10].tobytes())
        self.assertTrue(item["next.success"] and item["next.done"])
        self.assertFalse(dataset[9]["next.success"])
        names = dataset.meta.names
        self.assertEqual(len(names["action"]), 7)
        # Indices in the layout of `policies/src/encode.rs`, counted by hand.
        self.assertEqual(names["observation.state"][9], "finger_1")
        self.assertEqual(names["observation.state"][17], "joint_7")
        self.assertEqual(names["observation.environment_state"][48], "plate_1_x")
        self.assertEqual(names["observation.environment_state"][69], "task_9")

    def change(self, dataset, column, row, value):
        """Changes one value in the columns of the data set's Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = dataset / "data/chunk-000/file-000.parquet"
        table = pq.read_table(path)
        values = table[column].to_pylist()
        self.assertNotEqual(repr(values[row]), repr(value(values[row])))
        values[row] = value(values[row])
        at = table.schema.get_field_index(column)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
        pq.write_table(table, path)

    def differs(self, dataset, *words):
        code, _, error = self.check(dataset)
        self.assertEqual(code, 1)
        for word in words:
            self.assertIn(word, error)

    def test_check_finds_one_bit_of_one_value(self):
        dataset = self.copy()
        self.change(dataset, "action", 12, lambda action: [float(np.nextafter(np.float32(action[0]), 2)), *action[1:]])
        # The difference shows in step 12 and in every window that includes it.
        self.differs(dataset, "frame 12 (episode 0, step 12): action", "frame 3 (episode 0, step 3): action")

    def test_check_finds_the_sign_of_a_zero(self):
        dataset = self.copy()
        self.change(dataset, "action", 0, lambda action: [0.0, *action[1:]])
        self.differs(dataset, "frame 0 (episode 0, step 0): action")

    def test_check_finds_a_flag_and_a_task(self):
        dataset = self.copy()
        self.change(dataset, "clean", 20, lambda clean: not clean)
        self.change(dataset, "task_index", 19, lambda task: 4)
        self.differs(dataset, "frame 20 (episode 3, step 0): clean", "frame 19: task: found 'put bowl 4 on the plate'")

    def test_check_finds_other_statistics(self):
        dataset = self.copy()
        path = dataset / "meta/stats.json"
        stats = json.loads(path.read_text())
        stats["action"]["std"][6] += 1e-6
        path.write_text(json.dumps(stats))
        self.differs(dataset, "stats action std: off by up to 1.00e-06")

    def test_check_finds_other_names(self):
        dataset = self.copy()
        path = dataset / "meta/info.json"
        info = json.loads(path.read_text())
        info["features"]["action"]["names"].reverse()
        path.write_text(json.dumps(info))
        self.differs(dataset, "features.action")

    def test_check_finds_files_in_another_order(self):
        code, _, error = self.check(self.dataset, *reversed(self.files))
        self.assertEqual(code, 1)
        self.assertIn("dataset_from_index", error)
        self.assertIn("meta/aegis.json: names other sources", error)

    def test_check_finds_values_that_are_not_what_their_name_says(self):
        source = tensors(SECOND, 1)
        source["observation"][4, (STATE + ENVIRONMENT).index("plate_1_relative_z")] += 0.001
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "moved.safetensors"
        save_file(source, path)
        lerobot_dataset.write([path], self.suite, path.parent / "dataset")
        code, _, error = self.check(path.parent / "dataset", path)
        self.assertEqual(code, 1)
        self.assertIn("plate_1_relative_z: grip and relative position miss the position by 1.00e-03 m", error)
        self.assertEqual(len(error.splitlines()), 1)

    def test_check_names_a_folder_that_holds_none(self):
        missing = self.folder / "nothing"
        code, _, error = self.check(missing)
        self.assertEqual(code, 1)
        self.assertIn(f"{missing}: meta/info.json is missing", error)
        self.assertFalse(missing.exists())

    def test_check_names_what_lerobot_cannot_open(self):
        dataset = self.copy()
        (dataset / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
        self.differs(dataset, "lerobot cannot open it")

    def test_an_existing_folder_is_left_alone(self):
        before = sorted(self.dataset.rglob("*"))
        code, _, error = run("write", "--data", *self.files, "--suite", self.suite, "--out", self.dataset)
        self.assertEqual(code, 1)
        self.assertIn(f"{self.dataset}: exists; valid is a path where nothing is yet", error)
        self.assertEqual(sorted(self.dataset.rglob("*")), before)


class Libero(Folder):
    """The layout `libero`, with pictures."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sources = [seen(posed(tensors(episodes, seed)), seed) for seed, episodes in enumerate((FIRST, SECOND))]
        for path, source in zip(cls.files, cls.sources):
            save_file(source, path)
        cls.dataset = cls.folder / "dataset"
        lerobot_dataset.write(cls.files, cls.suite, cls.dataset, "libero")

    def check(self, dataset):
        return run("check", dataset, "--data", *self.files, "--suite", self.suite)

    def test_check_finds_nothing(self):
        code, out, error = self.check(self.dataset)
        self.assertEqual((code, error), (0, ""))
        self.assertIn("31 frames compared", out)

    def test_lerobot_reads_the_columns_of_public_data(self):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        dataset = LeRobotDataset("aegis/dataset", root=self.dataset)
        features = dataset.meta.features
        self.assertEqual(features["observation.images.image"]["shape"], (6, 8, 3))
        self.assertEqual(features["observation.images.image2"]["names"], ["height", "width", "channel"])
        self.assertEqual((features["observation.state"]["shape"], features["action"]["shape"]), ((8,), (7,)))
        self.assertNotIn("observation.environment_state", features)
        source, item = self.sources[1], dataset[20 + 4]
        for column, camera in (("image", "agentview"), ("image2", "robot0_eye_in_hand")):
            picture = (item[f"observation.images.{column}"].numpy() * 255).round().astype(np.uint8)
            # Upstream's rows begin at the bottom. Public data sets have its pictures turned by 180°.
            upstream = source[f"frames.{camera}"][4][::-1]
            np.testing.assert_array_equal(picture.transpose(1, 2, 0), upstream[::-1, ::-1])
        self.assertEqual(item["observation.state"][:3].numpy().tobytes(), source["observation"][4, :3].tobytes())
        self.assertEqual(dataset.meta.stats["observation.images.image"]["mean"].shape, (3, 1, 1))

    def test_check_finds_pictures_of_another_moment(self):
        source = self.sources[1]
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "later.safetensors"
        save_file({**source, "frames.agentview": np.roll(source["frames.agentview"], 1, axis=0)}, path)
        code, _, error = run("check", self.dataset, "--data", self.files[0], path, "--suite", self.suite)
        self.assertEqual(code, 1)
        self.assertIn("frame 20 (episode 3, step 0): observation.images.image: found", error)
        self.assertNotIn("image2", error)

    def test_check_finds_a_rotation_of_another_sign(self):
        source = {name: tensor.copy() for name, tensor in self.sources[1].items()}
        # A whole turn of one joint leaves the rotation and changes the sign of the quaternion, as no arm could do.
        source["observation"][5, 11] += 2 * np.pi
        source["observation"][5, 3:9] *= -1
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "turned.safetensors"
        save_file(source, path)
        lerobot_dataset.write([path], self.suite, path.parent / "dataset", "libero")
        code, _, error = run("check", path.parent / "dataset", "--data", path, "--suite", self.suite)
        self.assertEqual(code, 1)
        self.assertIn("axis_angle: joint angles and rotation differ by 3.14e+00 rad", error)

    def test_what_fills_the_inputs_is_recorded(self):
        record = json.loads((self.dataset / "meta/aegis.json").read_text())
        self.assertEqual(record["columns"], "libero")
        self.assertEqual(
            record["reads"],
            {
                "observation.state": "eef_position,eef_quaternion:axis_angle,gripper_positions",
                "observation.images.image": "agentview:flip",
                "observation.images.image2": "robot0_eye_in_hand:flip",
            },
        )

    def refused(self, words, source, layout="libero", first=None):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        save_file(source, folder / "bad.safetensors")
        files = [*([first] if first else []), folder / "bad.safetensors"]
        arguments = ("--suite", self.suite, "--out", folder / "out", "--layout", layout)
        code, _, error = run("write", "--data", *files, *arguments)
        self.assertEqual(code, 1)
        self.assertIn(words, error)
        self.assertFalse((folder / "out").exists())

    def test_pictures_that_do_not_fit_are_refused(self):
        plain, source = posed(tensors(SECOND, 1)), self.sources[1]
        lacks = "frames.agentview: found pictures, which the layout lowdim lacks; valid is --layout libero"
        self.refused(lacks, source, "lowdim")
        valid = "valid is agentview 6×8, robot0_eye_in_hand 6×8, as"
        self.refused(f"frames: found no pictures; {valid}", plain, first=self.files[0])
        self.refused("frames.front: found another camera; valid are agentview", seen(plain, 1, ("front",)))
        some = {**source, "frame_row": np.arange(0, 11, 5)}
        some |= {name: tensor[::5].copy() for name, tensor in source.items() if name.startswith("frames.")}
        valid = "valid is one at every row, as `aegis demonstrate --frames-every 1` takes them"
        self.refused(f"frame_row: found pictures at 3 of 11 rows; {valid}", some)
        self.refused("frame_row: is missing", {n: t for n, t in source.items() if n != "frame_row"})
        self.refused("frame_row: found without pictures", {**plain, "frame_row": np.arange(11)})
        grey = {**source, "frames.agentview": source["frames.agentview"][..., :1].copy()}
        self.refused("frames.agentview: found U8[11, 6, 8, 1]; valid is U8[11, height, width, 3]", grey)


class OnlyClean(Folder):
    """Parts in which every action was the one sent."""

    def test_parts_are_episodes(self):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        source = tensors([(9, 2), (4, 5), (3, 1)], 3)
        source["clean"] = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=np.uint8)
        path = self.folder / "held.safetensors"
        save_file(source, path)
        out = self.folder / "parts"
        arguments = ("--data", path, "--suite", self.suite)
        code, _, error = run("write", *arguments, "--out", out, "--only-clean")
        self.assertEqual((code, error), (0, ""))
        code, said, error = run("check", out, *arguments)
        self.assertEqual((code, error), (0, ""))
        self.assertIn("8 frames, 4 episodes", said)
        dataset = LeRobotDataset("aegis/parts", root=out, delta_timestamps={"action": [0.0, 0.05]})
        rows = np.array([1, 2, 5, 7, 8, 9, 10, 11])
        items = [dataset[index] for index in range(len(rows))]
        np.testing.assert_array_equal([item["action"][0].numpy() for item in items], source["action"][rows])
        self.assertEqual([int(item["episode_index"]) for item in items], [0, 0, 1, 2, 2, 3, 3, 3])
        padded = [bool(item["action_is_pad"][1]) for item in items]
        self.assertEqual(padded, [False, True, True, False, True, False, False, True])
        # The first episode's end is clean, the second's is not, and the third has no clean row.
        self.assertEqual([bool(item["next.success"]) for item in items], [False] * 4 + [True] + [False] * 3)
        self.assertTrue(all(bool(item["clean"]) for item in items))


class Interrupted(Folder):
    def test_nothing_stays(self):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        save = LeRobotDataset.save_episode

        def full(dataset, columns):
            if columns["episode_index"] == 2:
                raise OSError("no space left on device")
            save(dataset, columns)

        target = self.folder / "out"
        with mock.patch.object(LeRobotDataset, "save_episode", full):
            code, _, error = run("write", "--data", *self.files, "--suite", self.suite, "--out", target / "dataset")
        self.assertEqual((code, error), (1, "error: no space left on device\n"))
        self.assertEqual(list(target.iterdir()), [])


class Refused(Folder):
    def refused(self, change, *words):
        """Checks that reading a file changed by `change` is refused, with an error that names the file and all `words`."""
        data = tensors(FIRST, 0)
        data = change(data) or data
        path = self.folder / "bad.safetensors"
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in data.items()}, path)
        with self.assertRaises(DataError) as caught:
            read_episodes(path)
        for word in (str(path), *words):
            self.assertIn(word, str(caught.exception))

    def test_tensors(self):
        self.refused(lambda data: {n: t for n, t in data.items() if n != "clean"}, "clean: is missing")
        self.refused(lambda data: {**data, "agentview": data["clean"]}, "agentview: is unknown; valid are observation")
        self.refused(
            lambda data: {**data, "observation": data["observation"][:, :87]},
            "observation: found float32[20, 87]; valid is float32[rows, 88]",
        )
        self.refused(
            lambda data: {**data, "action": data["action"].astype(np.float64)},
            "action: found float64[20, 7]; valid is float32[rows, 7]",
        )
        self.refused(lambda data: {**data, "task": data["task"][:-1]}, "task: found 19 rows; valid is 20")
        self.refused(lambda data: {n: t[:0] for n, t in data.items()}, "action: found 0 rows; valid is 1 or more")

    def test_values(self):
        def put(name, at, value):
            return lambda data: data[name].__setitem__(at, value)

        self.refused(put("observation", (4, 2), np.nan), "observation: found nan in row 4, component 2")
        self.refused(put("action", (6, 1), np.inf), "action: found inf in row 6, component 1; valid is a finite number")
        self.refused(put("clean", 3, 2), "clean: found 2 in row 3; valid is 0 or 1")
        self.refused(put("task", 3, 10), "task: found 10 in row 3; valid is 0 to 9")
        self.refused(put("observation", (0, 81), 0.0), "observation: found 0.0 in row 0, component 81", "one-hot")

    def test_episodes(self):
        def torn(data):
            data["episode"][-1] = data["episode"][0]

        self.refused(torn, "episode: found 1 that go on after another began; valid is each in one piece")

        def two_tasks(data):
            data["task"][2] = 5
            data["observation"][2, -10:] = np.eye(10)[5]

        self.refused(two_tasks, "task: found [3, 5] in episode 1; valid is one per episode")

    def test_files(self):
        path = self.folder / "text.safetensors"
        path.write_text("no tensors")
        for path in (path, self.folder / "absent.safetensors"):
            with self.assertRaisesRegex(DataError, f"{path}: cannot read"):
                read_episodes(path)
        code, _, error = run("write", "--data", path, "--suite", self.suite, "--out", self.folder / "none")
        self.assertEqual(code, 1)
        self.assertIn(f"error: {path}: cannot read", error)
        self.assertFalse((self.folder / "none").exists())

    def test_suites(self):
        def refused(words, change=lambda task, content: None, suite_file=None):
            folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
            write_suite(folder, change)
            if suite_file is not None:
                (folder / "suite.json").write_text(json.dumps(suite_file))
            with self.assertRaises(DataError) as caught:
                read_suite(folder)
            self.assertIn(words, str(caught.exception))

        refused("task.json: language: is missing", lambda task, content: content.pop("language"))
        refused("00/task.json: language: found ' '", lambda task, content: content.update(language=" "))
        refused("01/task.json: language: found the words of task 0", lambda task, content: content.update(language="a"))
        refused("00/task.json: schema: found 3; valid is 2", lambda task, content: content.update(schema=3))
        refused("suite.json: schema: found None", suite_file=[])
        refused("tasks: found 1 tasks", suite_file={"schema": 2, "suite": "one", "tasks": ["a"]})
        with self.assertRaisesRegex(DataError, "suite.json: cannot read"):
            read_suite(self.folder / "absent")


class Names(unittest.TestCase):
    def test_fill_the_layout_once_each(self):
        names = STATE + ENVIRONMENT
        self.assertEqual((len(names), len(set(names)), len(ACTION)), (88, 88, 7))


if __name__ == "__main__":
    unittest.main()
