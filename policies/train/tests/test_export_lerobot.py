"""The exporter end to end on reduced checkpoints: written to disk, read back, exported, and held against the policy as
LeRobot runs it, with hooks of this file's own.

    python -m unittest discover -s policies/train/tests
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import export_lerobot
import numpy as np
import onnx
import onnx_file
import onnxruntime
import reduced
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file, save_file

LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
# Absolute, in the units of actions and activations.
TOLERANCE = 1e-4


def command(*arguments):
    """Runs the command line; returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = export_lerobot.main([str(one) for one in arguments])
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()


def session(path, level=LEVELS[1]):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def loaded(policy_class, directory):
    """Policy and processors as a user loads them, in float32."""
    config = PreTrainedConfig.from_pretrained(directory)
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None
    policy = policy_class.from_pretrained(directory, config=config).float()
    return policy, *make_pre_post_processors(config, pretrained_path=str(directory))


def image(seed, height, width):
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Folder(unittest.TestCase):
    """A temporary folder for the whole class."""

    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(held.cleanup)
        cls.folder = Path(held.name)

    @classmethod
    def exported(cls, name, *arguments):
        code, out, err = command(*arguments, "--out", cls.folder / "out" / name)
        assert code == 0, err
        return cls.folder / "out" / f"{name}.onnx", out

    def close(self, found, expected):
        self.assertEqual(found.shape, expected.shape)
        self.assertTrue(np.isfinite(found).all())
        self.assertLess(float(np.abs(found - expected).max()), TOLERANCE)


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
        for step in range(self.card["export"]["execute"]):
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
        # Latent, state, and two cameras of 2 by 2 patches.
        self.assertEqual(found.shape, (1, 10, 32))

    def test_card(self):
        card = self.card
        self.assertEqual(card["sha256"], hashlib.sha256(self.model.read_bytes()).hexdigest())
        self.assertEqual(card["chunk"], {"tensor": "actions", "horizon": 8, "width": 5})
        self.assertEqual(card["activation"], {"tensor": "activation", "tokens": 8, "width": 32})
        self.assertEqual(card["export"]["layer"], "decoder.layers.1")
        graph = onnx.load(self.model).graph
        shapes = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in graph.input}
        self.assertEqual({one["tensor"]: one["shape"] for one in card["inputs"]}, shapes)
        parity = card["export"]["parity"]
        for output in ("actions", "activation"):
            for level in ("as_written", "optimised"):
                self.assertLess(parity[f"{output}_{level}"], 1e-4)

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


class SmolVla(Folder):
    """SmolVLA whose backbone is configured in bfloat16, as the published one is."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backbone = reduced.vlm(cls.folder / "vlm", "bfloat16")
        cls.checkpoint = reduced.smolvla(cls.folder / "smolvla", cls.backbone)
        cls.arguments = ("smolvla", "--checkpoint", cls.checkpoint)
        cls.model, cls.said = cls.exported("smolvla", *cls.arguments, "--task", reduced.TASKS[0])
        cls.card = tomllib.loads(cls.model.with_suffix(".toml").read_text())
        cls.policy, cls.before, cls.after = loaded(SmolVLAPolicy, cls.checkpoint)

    def batch(self, task):
        return {
            "observation.images.front": image(1, 60, 80),
            "observation.images.wrist": image(2, 60, 80),
            "observation.state": normal(3, 1, 7),
            "task": task,
        }

    def feed(self, task, noise):
        """The graph's inputs; tokens padded here, with a token that a mask must hide."""
        prepared = self.before(self.batch(task))
        read = prepared["observation.language.tokens"]
        missing = 24 - read.shape[1]
        found = {name: value.numpy() for name, value in self.batch(task).items() if name != "task"}
        found["observation.language.tokens"] = torch.nn.functional.pad(read, (0, missing), value=7).numpy()
        found["observation.language.attention_mask"] = np.arange(24)[None] < read.shape[1]
        found["noise"] = noise.numpy()
        return found

    def eager(self, task, noise, layer, policy=None):
        """Actions, and the layer's output in each step: what the MLP adds to what its norm reads."""
        policy = policy or self.policy
        policy.reset()
        block = policy.model.vlm_with_expert.lm_expert.layers[layer]
        residual, seen = [], []
        hooks = [
            block.post_attention_layernorm.register_forward_pre_hook(lambda _m, read: residual.append(read[0].clone())),
            block.mlp.register_forward_hook(lambda _m, _read, out: seen.append(out.clone() + residual[-1])),
        ]
        chunk = policy.predict_action_chunk(self.before(self.batch(task)), noise=noise.clone())
        for hook in hooks:
            hook.remove()
        return self.after(chunk).numpy(), [one.detach().numpy() for one in seen]

    def test_actions_and_tap_are_those_of_the_policy_before_and_after_optimisation(self):
        noise = normal(4, 1, 6, 10)
        for task in (*reduced.TASKS, "go"):
            actions, seen = self.eager(task, noise, 2)
            self.assertEqual(len(seen), 4)
            for level in LEVELS:
                found = session(self.model, level).run(["actions", "activation"], self.feed(task, noise))
                self.close(found[0], actions)
                self.close(found[1], seen[3])

    def test_another_layer_in_another_step_of_another_number_of_steps(self):
        path, _ = self.exported("early", *self.arguments, "--tap", 3, "--tap-step", 1, "--steps", 3)
        policy, _, _ = loaded(SmolVLAPolicy, self.checkpoint)
        policy.config.num_steps = 3
        noise = normal(5, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 3, policy)
        self.assertEqual(len(seen), 3)
        found = session(path).run(["actions", "activation"], self.feed(reduced.TASKS[0], noise))
        self.close(found[0], actions)
        self.close(found[1], seen[1])
        self.assertGreater(float(np.abs(seen[1] - seen[2]).max()), 0.1)

    def test_select_action_gives_the_rows_of_the_chunk(self):
        noise = normal(6, 1, 6, 10)
        (chunk,) = session(self.model).run(["actions"], self.feed(reduced.TASKS[1], noise))
        self.policy.reset()
        for step in range(self.card["export"]["execute"]):
            action = self.policy.select_action(self.before(self.batch(reduced.TASKS[1])), noise=noise.clone())
            self.close(chunk[:, step], self.after(action).numpy())

    def test_noise_alone_decides_between_chunks(self):
        opened = session(self.model)
        first, again, other = (
            opened.run(["actions"], self.feed(reduced.TASKS[0], normal(seed, 1, 6, 10)))[0] for seed in (7, 7, 8)
        )
        self.assertTrue((first == again).all())
        self.assertGreater(float(np.abs(first - other).max()), 0.1)

    def test_every_input_reaches_the_actions(self):
        opened, feed = session(self.model), self.feed(reduced.TASKS[0], normal(9, 1, 6, 10))
        (first,) = opened.run(["actions"], feed)
        for name, value in feed.items():
            changed = ~value if value.dtype == bool else value[:, ::-1].copy()
            (other,) = opened.run(["actions"], {**feed, name: changed})
            self.assertGreater(float(np.abs(first - other).max()), 1e-3, name)

    def test_card_names_inputs_steps_and_the_tokens_of_a_task(self):
        inputs = {one["tensor"]: (one["kind"], one["dtype"], one["shape"]) for one in self.card["inputs"]}
        self.assertEqual(inputs["noise"], ("noise", "float32", [1, 6, 10]))
        self.assertEqual(inputs["observation.language.attention_mask"], ("mask", "bool", [1, 24]))
        export = self.card["export"]
        self.assertEqual((export["layer"], export["denoising_steps"], export["tap_step"]), ("lm_expert.layers.2", 4, 3))
        self.assertEqual(export["loaded_in"], ["bfloat16"])
        self.assertGreater(export["parity"]["actions_loaded_precision"], 0)
        read = self.before(self.batch(reduced.TASKS[0]))["observation.language.tokens"][0].tolist()
        self.assertEqual(self.card["tasks"], [{"text": reduced.TASKS[0], "tokens": read}])

    def test_a_weight_is_stored_once_whatever_the_number_of_steps(self):
        seen = set()
        for one in onnx.load(self.model).graph.initializer:
            value = onnx.numpy_helper.to_array(one)
            if value.nbytes >= 64:
                key = (value.shape, str(value.dtype), value.tobytes())
                self.assertNotIn(key, seen, one.name)
                seen.add(key)

    def test_too_many_weights_go_into_a_second_file(self):
        with mock.patch.object(onnx_file, "LIMIT", 1000):
            path, _ = self.exported("external", *self.arguments)
        card = tomllib.loads(path.with_suffix(".toml").read_text())
        (external,) = card["external"]
        data = path.with_name(external["file"])
        self.assertEqual(external["sha256"], hashlib.sha256(data.read_bytes()).hexdigest())
        feed = self.feed(reduced.TASKS[0], normal(4, 1, 6, 10))
        one, other = (session(model).run(["actions"], feed)[0] for model in (path, self.model))
        self.assertTrue((one == other).all())

    def test_special_image_tokens_a_padded_prefix_an_absent_camera_and_fewer_expert_layers(self):
        checkpoint = reduced.smolvla(
            self.folder / "variant",
            self.backbone,
            add_image_special_tokens=True,
            prefix_length=60,
            pad_language_to="max_length",
            empty_cameras=1,
            num_steps=2,
            num_expert_layers=2,
            self_attn_every_n_layers=0,
        )
        path, _ = self.exported("variant", "smolvla", "--checkpoint", checkpoint, "--tap", "0")
        self.assertNotIn("empty", " ".join(one.name for one in onnx.load(path).graph.input))
        policy, _, _ = loaded(SmolVLAPolicy, checkpoint)
        noise = normal(4, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 0, policy)
        found = session(path).run(["actions", "activation"], self.feed(reduced.TASKS[0], noise))
        self.close(found[0], actions)
        self.close(found[1], seen[1])

    def test_a_backbone_elsewhere(self):
        checkpoint = self.folder / "moved"
        shutil.copytree(self.checkpoint, checkpoint)
        reduced.edit(checkpoint, "config.json", vlm_model_name="somebody/unknown-backbone", load_vlm_weights=True)
        code, _, err = command("smolvla", "--checkpoint", checkpoint, "--out", self.folder / "out" / "moved")
        self.assertEqual(code, 2)
        for part in ("config.json: vlm_model_name: found somebody/unknown-backbone", "--vlm DIR"):
            self.assertIn(part, err)
        path, _ = self.exported("moved", "smolvla", "--checkpoint", checkpoint, "--vlm", self.backbone)
        self.assertEqual(path.read_bytes(), self.model.read_bytes())

    def test_bad_numbers(self):
        for arguments, message in (
            (("--tap", "16"), "--tap: found 16; valid is lm_expert.layers.0, "),
            (("--tap", "decoder.layers.0"), "lm_expert.layers.3, lm_expert.norm"),
            (("--tap-step", "4"), "--tap-step: found 4; valid is 0 to 3"),
            (("--steps", "0"), "--steps: found 0; valid is 1 or more"),
            (("--vlm", self.folder / "nowhere"), "--vlm: found "),
        ):
            code, _, err = command(*self.arguments, *arguments, "--out", self.folder / "none" / "bad")
            self.assertEqual(code, 2, err)
            self.assertIn(message, err)
            self.assertFalse((self.folder / "none").exists())


class Refused(Folder):
    """What is not exported, and that nothing is left of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.checkpoint = reduced.act(cls.folder / "act")
        cls.out = cls.folder / "out"

    def copy(self, name):
        shutil.copytree(self.checkpoint, self.folder / name)
        return self.folder / name

    def refused(self, checkpoint, *parts, policy="act", arguments=(), code=2):
        found, out, err = command(policy, "--checkpoint", checkpoint, "--out", self.out / "model", *arguments)
        self.assertEqual(found, code, err)
        self.assertEqual(out, "")
        last = err.strip().splitlines()[-1]
        self.assertTrue(last.startswith("error: "), err)
        for part in parts:
            self.assertIn(part, last)
        self.assertEqual(list(self.out.glob("*")) if self.out.exists() else [], [])

    def test_checkpoints_that_are_none(self):
        self.refused(self.folder / "nowhere", "nowhere: no such directory")
        (self.folder / "empty").mkdir()
        self.refused(self.folder / "empty", "no LeRobot checkpoint", "config.json and model.safetensors")
        self.refused(self.checkpoint, "config.json: type: found 'act'; valid is 'smolvla'", policy="smolvla")
        broken = self.copy("broken")
        (broken / "config.json").write_text("{")
        self.refused(broken, "config.json: cannot read")
        (broken / "config.json").write_text("[]")
        self.refused(broken, "config.json: found a list; valid is an object")

    def test_configs_that_cannot_be_exported(self):
        for name, field, value, message in (
            ("ensemble", "temporal_ensemble_coeff", 0.01, "temporal_ensemble_coeff: found 0.01; valid is null"),
            ("peft", "use_peft", True, "use_peft: found true; valid is false"),
            ("unknown", "no_such_field", 1, "config.json: LeRobot does not read it"),
            ("wide", "dim_model", 64, "model.safetensors: "),
        ):
            checkpoint = self.copy(name)
            reduced.edit(checkpoint, "config.json", **{field: value})
            self.refused(checkpoint, message)

    def test_processors_that_are_missing_foreign_or_empty(self):
        bare = self.copy("bare")
        (bare / "policy_preprocessor.json").unlink()
        self.refused(bare, "policy_preprocessor.json: no such file", "migrate_policy_normalization")
        foreign = self.copy("foreign")
        steps = json.loads((foreign / "policy_preprocessor.json").read_text())["steps"]
        steps.append({"registry_name": "libero_processor", "config": {}})
        reduced.edit(foreign, "policy_preprocessor.json", steps=steps)
        self.refused(foreign, "steps: found libero_processor; valid is rename_observations_processor, ")
        empty = self.copy("empty-statistics")
        path = next(empty.glob("policy_preprocessor*.safetensors"))
        save_file({k: v for k, v in load_file(path).items() if "observation.state" not in k}, path)
        self.refused(empty, "policy_preprocessor.json: observation.state: found no statistics", "MEAN_STD")

    def test_weights_that_are_cut_short_or_incomplete(self):
        short = self.copy("short")
        (short / "model.safetensors").write_bytes((short / "model.safetensors").read_bytes()[:1000])
        self.refused(short, "model.safetensors: cannot read")
        lacking = self.copy("lacking")
        weights = load_file(lacking / "model.safetensors")
        del weights["model.action_head.weight"]
        save_file(weights, lacking / "model.safetensors")
        self.refused(lacking, 'Missing key(s) in state_dict: "model.action_head.weight"')

    def test_options_of_the_other_policy_and_unknown_layers(self):
        layers = "valid is encoder.layers.0, encoder.layers.1, decoder.layers.0, decoder.layers.1, decoder.norm"
        self.refused(self.checkpoint, "--tap: found decoder.layers.9", layers, arguments=("--tap", "decoder.layers.9"))
        for option, value in (("--steps", "3"), ("--tap-step", "0"), ("--task", "go"), ("--vlm", ".")):
            self.refused(self.checkpoint, f"{option}: found", "valid is none", arguments=(option, value))
        self.refused_by_the_parser("--image-size", "480", "valid is ROWSxCOLUMNS")

    def refused_by_the_parser(self, option, value, message):
        code, _, err = command("act", "--checkpoint", self.checkpoint, "--out", self.out / "model", option, value)
        self.assertEqual(code, 2)
        self.assertIn(message, err)

    def test_a_graph_that_says_something_else_is_not_kept(self):
        strip = onnx_file.strip

        def spoil(path):
            strip(path)
            model = onnx.load(path)
            bias = next(one for one in model.graph.initializer if one.name.endswith("action_head.bias"))
            bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.01, bias.name))
            onnx.save(model, path)

        with mock.patch.object(onnx_file, "strip", spoil):
            self.refused(self.checkpoint, "actions: the graph as written differs from the policy by", code=1)

    def test_nan_is_a_difference(self):
        checkpoint = self.copy("nan")
        weights = load_file(checkpoint / "model.safetensors")
        weights["model.action_head.bias"][0] = float("nan")
        save_file(weights, checkpoint / "model.safetensors")
        self.refused(checkpoint, "actions: ", "differs from the policy by inf", code=1)


if __name__ == "__main__":
    unittest.main()
