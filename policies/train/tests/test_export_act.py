"""ACT end to end: written to disk, read back, exported, and compared with the policy as LeRobot runs it."""

import hashlib
import json
import shutil
import tomllib
import unittest

import numpy as np
import onnx
from harness import LEVELS, Folder, command, image, loaded, normal, session
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot_layout import Layout

import reduced


class Act(Folder):
    """ACT with two cameras and two decoder layers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.checkpoint = reduced.act(cls.folder / "act")
        cls.model, cls.said = cls.exported("act", "act", "--checkpoint", cls.checkpoint)
        cls.card = tomllib.loads(cls.model.with_suffix(".toml").read_text())
        cls.observation = {
            "observation.images.front": image(1, 48, 64),
            "observation.images.wrist": image(2, 48, 64),
            "observation.state": normal(3, 1, 6),
        }
        cls.feed = {name: value.numpy() for name, value in cls.observation.items()}

    def eager(self, module_of):
        policy, before, after = loaded(ACTPolicy, self.checkpoint)
        seen = []
        module_of(policy).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        chunk = policy.predict_action_chunk(before(dict(self.observation)))
        return after(chunk).numpy(), seen[0].detach().transpose(0, 1).numpy(), (policy, before, after)

    def test_actions_and_tap_are_those_of_the_policy_before_and_after_optimisation(self):
        actions, tap, _ = self.eager(lambda policy: policy.model.decoder.layers[1])
        for level in LEVELS:
            found = session(self.model, level).run(["actions", "activation"], self.feed)
            self.close(found[0], actions)
            self.close(found[1], tap)

    def test_select_action_gives_the_rows_of_the_chunk(self):
        (chunk,) = session(self.model).run(["actions"], self.feed)
        _, _, (policy, before, after) = self.eager(lambda policy: policy.model.decoder.layers[1])
        policy.reset()
        for step in range(self.card["chunk"]["execute"]):
            self.close(chunk[:, step], after(policy.select_action(before(dict(self.observation)))).numpy())

    def test_every_input_reaches_the_actions(self):
        opened = session(self.model)
        (first,) = opened.run(["actions"], self.feed)
        for name, value in self.feed.items():
            (other,) = opened.run(["actions"], {**self.feed, name: value * 0.5})
            self.assertGreater(float(np.abs(first - other).max()), 1e-3, name)

    def test_a_named_layer_of_the_encoder(self):
        path, _ = self.exported("encoder", "act", "--checkpoint", self.checkpoint, "--tap", "encoder.layers.0")
        _, tap, _ = self.eager(lambda policy: policy.model.encoder.layers[0])
        (found,) = session(path).run(["activation"], self.feed)
        self.close(found, tap)
        # Tokens: latent, state, and two cameras of 2 by 2 patches.
        self.assertEqual(found.shape, (1, 10, 32))

    def test_card(self):
        card = self.card
        self.assertEqual(card["sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual(card["chunk"], {"tensor": "actions", "horizon": 8, "width": 5, "execute": 5})
        self.assertEqual(card["activation"], {"tensor": "activation", "tokens": 8, "width": 32})
        self.assertEqual(card["export"]["layer"], "decoder.layers.1")
        graph = onnx.load(self.model).graph
        shapes = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in graph.input}
        self.assertEqual([one["tensor"] for one in card["inputs"]], list(shapes))
        front, wrist, state = card["inputs"]
        self.assertEqual(front, {"tensor": "observation.images.front", "kind": "image", "camera": "front", "height": 48, "width": 64, "layout": "chw"})
        self.assertEqual((shapes["observation.images.wrist"], wrist["camera"]), ([1, 3, 48, 64], "wrist"))
        self.assertEqual((state["kind"], state["terms"]), ("vector", [{"feature": "observation.state"}]))
        parity = card["export"]["parity"]
        for output in ("actions", "activation"):
            for level in ("as_written", "optimised"):
                self.assertLess(parity[f"{output}_{level}"], 1e-4)

    def test_what_inputs_are_filled_with_is_said_by_an_option(self):
        state = "observation.state=eef_position, eef_quaternion:axis_angle"
        read = ("--read", state, "--read", "observation.images.wrist=agentview:180")
        self.exported("read", "act", "--checkpoint", self.checkpoint, *read)
        _, wrist, state = tomllib.loads((self.folder / "out" / "read.toml").read_text())["inputs"]
        self.assertEqual((wrist["camera"], wrist["rotate"]), ("agentview", 180))
        terms = [{"feature": "eef_position"}, {"feature": "eef_quaternion", "transform": "axis_angle"}]
        self.assertEqual(state["terms"], terms)
        changed = "observation.state=object/plate_1/position:relative_to=eef_position,task:one_hot=3"
        mirrored = ("--read", changed, "--read", "observation.images.front=agentview:180:flip")
        self.exported("changed", "act", "--checkpoint", self.checkpoint, *mirrored)
        front, _, state = tomllib.loads((self.folder / "out" / "changed.toml").read_text())["inputs"]
        self.assertEqual((front["camera"], front["rotate"], front["flip"]), ("agentview", 180, True))
        relative = {"feature": "object/plate_1/position", "relative_to": "eef_position"}
        self.assertEqual(state["terms"], [relative, {"feature": "task", "one_hot": 3}])

    def test_reads_that_are_not_valid(self):
        state, wrist = "observation.state", "observation.images.wrist"
        terms = ("a:b", "a:one_hot", "a:one_hot=0", "a:relative_to=", ":axis_angle", "a:axis_angle=1")
        for wrong in (
            "state=eef_position",
            state,
            *(f"{state}={one}" for one in terms),
            f"{state}=a:axis_angle:rotation_6d",
            *(f"{wrist}={one}" for one in ("a,b", "a:90", "a:180:0", "a:axis_angle")),
        ):
            code, _, err = command("act", "--checkpoint", self.checkpoint, "--out", self.folder / "no", "--read", wrong)
            self.assertEqual(code, 2, err)
            self.assertIn(f"--read: found {wrong!r}; valid", err)

    def test_poses_in_place_of_pictures_as_the_layout_lowdim_has_them(self):
        checkpoint = reduced.act(
            self.folder / "poses",
            shape=((), 0, 0, 18, 7),
            environment=70,
            normalization_mapping=dict.fromkeys(("STATE", "ENV", "ACTION"), "MEAN_STD"),
        )
        dataset = self.folder / "poses-dataset"
        (dataset / "meta").mkdir(parents=True)
        (dataset / "meta/aegis.json").write_text(json.dumps({"reads": Layout("lowdim", {}).reads}))
        path, _ = self.exported("poses", "act", "--checkpoint", checkpoint, "--dataset", dataset)
        observation = {"observation.state": normal(4, 1, 18), "observation.environment_state": normal(5, 1, 70)}
        policy, before, after = loaded(ACTPolicy, checkpoint)
        expected = after(policy.predict_action_chunk(before(dict(observation)))).numpy()
        (found,) = session(path).run(["actions"], {name: value.numpy() for name, value in observation.items()})
        self.close(found, expected)
        state, environment = tomllib.loads(path.with_suffix(".toml").read_text())["inputs"]
        sizes = {"eef_position": 3, "gripper_positions": 2, "joint_positions": 7, "task": 1}
        for one, width in ((state, 18), (environment, 70)):
            found = 0
            for term in one["terms"]:
                size = sizes.get(term["feature"], 4 if term["feature"].endswith("quaternion") else 3)
                found += {"rotation_6d": 6}.get(term.get("transform"), term.get("one_hot", size))
            self.assertEqual(found, width)

    def test_a_data_set_says_what_inputs_are_filled_with(self):
        dataset = self.folder / "dataset"
        (dataset / "meta").mkdir(parents=True)
        reads = {
            "observation.state": "eef_position,eef_quaternion:axis_angle",
            "observation.images.front": "agentview:flip",
            "observation.images.wrist": "robot0_eye_in_hand:flip",
            "observation.environment_state": "task:one_hot=10",
        }
        (dataset / "meta/aegis.json").write_text(json.dumps({"reads": reads}))
        given = ("--dataset", dataset, "--read", "observation.images.wrist=side")
        self.exported("dataset", "act", "--checkpoint", self.checkpoint, *given)
        front, wrist, state = tomllib.loads((self.folder / "out" / "dataset.toml").read_text())["inputs"]
        self.assertEqual((front["camera"], front["flip"], wrist["camera"]), ("agentview", True, "side"))
        self.assertEqual(state["terms"][1], {"feature": "eef_quaternion", "transform": "axis_angle"})
        del reads["observation.images.front"]
        for found, message in (
            ({"reads": reads}, "reads: found none for the input observation.images.front; it has observation.state"),
            ({"reads": {**reads, "observation.images.front": "a:b"}}, "found 'observation.images.front=a:b'; valid"),
            ({}, "aegis.json: reads: found None; valid is features by the name of an input"),
        ):
            (dataset / "meta/aegis.json").write_text(json.dumps(found))
            given = ("--checkpoint", self.checkpoint, "--out", self.folder / "no", "--dataset", dataset)
            code, _, err = command("act", *given)
            self.assertEqual(code, 2, err)
            self.assertIn(message, err)

    def test_the_bytes_do_not_depend_on_where_things_lie(self):
        elsewhere = self.folder / "another" / "place"
        shutil.copytree(self.checkpoint, elsewhere)
        path, _ = self.exported("act-elsewhere", "act", "--checkpoint", elsewhere)
        self.assertEqual(path.read_bytes(), self.model.read_bytes())
        self.assertNotIn(b"Traceback", path.read_bytes())
        self.assertNotIn(str(self.folder).encode(), path.read_bytes())

    def test_renamed_inputs_and_another_normalisation(self):
        checkpoint = reduced.act(
            self.folder / "renamed",
            normalization_mapping={"VISUAL": "IDENTITY", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"},
            pre_norm=True,
        )
        pipeline = json.loads((checkpoint / "policy_preprocessor.json").read_text())
        pipeline["steps"][0]["config"]["rename_map"] = {"observation.images.top": "observation.images.front"}
        (checkpoint / "policy_preprocessor.json").write_text(json.dumps(pipeline))
        path, _ = self.exported("renamed", "act", "--checkpoint", checkpoint, "--tap", "decoder.norm")
        observation = {name.replace("front", "top"): value for name, value in self.observation.items()}
        policy, before, after = loaded(ACTPolicy, checkpoint)
        expected = after(policy.predict_action_chunk(before(dict(observation)))).numpy()
        found = session(path).run(["actions"], {name: value.numpy() for name, value in observation.items()})
        self.close(found[0], expected)


if __name__ == "__main__":
    unittest.main()
