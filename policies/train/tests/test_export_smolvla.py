"""SmolVLA end to end: written to disk, read back, exported, and compared with the policy as LeRobot runs it. This file
reads the layer with separate hooks.
"""

import hashlib
import shutil
import tomllib
import unittest
from unittest import mock

import numpy as np
import onnx
import torch
from harness import LEVELS, Folder, command, image, loaded, normal, session
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from tokenizers import Tokenizer

import onnx_file
import reduced
from exporter import instructions


class SmolVla(Folder):
    """Tests SmolVLA with a backbone configured in bfloat16, as the published one is."""

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
        """Returns the graph's inputs. Tokens are padded here with a token that the mask has to hide."""
        prepared = self.before(self.batch(task))
        read = prepared["observation.language.tokens"]
        missing = 24 - read.shape[1]
        found = {name: value.numpy() for name, value in self.batch(task).items() if name != "task"}
        found["observation.language.tokens"] = torch.nn.functional.pad(read, (0, missing), value=7).numpy()
        found["observation.language.attention_mask"] = np.arange(24)[None] < read.shape[1]
        found["noise"] = noise.numpy()
        return found

    def eager(self, task, noise, layer, another=None):
        """Returns the actions, and the layer's output in each step: the MLP's output plus the input of the MLP's norm."""
        policy, before, after = another or (self.policy, self.before, self.after)
        policy.reset()
        block = policy.model.vlm_with_expert.lm_expert.layers[layer]
        residual, seen = [], []
        hooks = [
            block.post_attention_layernorm.register_forward_pre_hook(lambda _m, read: residual.append(read[0].clone())),
            block.mlp.register_forward_hook(lambda _m, _read, out: seen.append(out.clone() + residual[-1])),
        ]
        chunk = policy.predict_action_chunk(before(self.batch(task)), noise=noise.clone())
        for hook in hooks:
            hook.remove()
        return after(chunk).numpy(), [one.detach().numpy() for one in seen]

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
        three = loaded(SmolVLAPolicy, self.checkpoint)
        three[0].config.num_steps = 3
        noise = normal(5, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 3, three)
        self.assertEqual(len(seen), 3)
        found = session(path).run(["actions", "activation"], self.feed(reduced.TASKS[0], noise))
        self.close(found[0], actions)
        self.close(found[1], seen[1])
        self.assertGreater(float(np.abs(seen[1] - seen[2]).max()), 0.1)

    def test_select_action_gives_the_rows_of_the_chunk(self):
        noise = normal(6, 1, 6, 10)
        (chunk,) = session(self.model).run(["actions"], self.feed(reduced.TASKS[1], noise))
        self.policy.reset()
        for step in range(self.card["chunk"]["execute"]):
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
        inputs = {one["tensor"]: one for one in self.card["inputs"]}
        self.assertEqual(inputs["noise"]["kind"], "noise")
        export = self.card["export"]
        self.assertEqual((export["layer"], export["denoising_steps"], export["tap_step"]), ("lm_expert.layers.2", 4, 3))
        self.assertEqual(export["loaded_in"], ["bfloat16"])
        self.assertGreater(export["parity"]["actions_loaded_precision"], 0)
        read = self.before(self.batch(reduced.TASKS[0]))["observation.language.tokens"][0].tolist()
        padding = [0] * (24 - len(read))
        for name, values in (("tokens", read), ("attention_mask", [1] * len(read))):
            one = inputs[f"observation.language.{name}"]
            self.assertEqual((one["kind"], one["value"]), ("constant", values + padding))
        self.assertEqual(self.card["export"]["tasks"], [{"text": reduced.TASKS[0], "tokens": read}])

    def test_with_none_or_several_tasks_the_tokenizer_is_beside_the_card(self):
        several = ("--task", reduced.TASKS[0], "--task", "go")
        for name, arguments, tasks in (("none", (), 0), ("several", several, 2)):
            path, _ = self.exported(name, *self.arguments, *arguments)
            self.assertEqual(path.read_bytes(), self.model.read_bytes())
            card = tomllib.loads(path.with_suffix(".toml").read_text())
            self.assertEqual(len(card["export"].get("tasks", [])), tasks)
            inputs = {one["tensor"]: one for one in card["inputs"]}
            tokens, mask = (inputs[f"observation.language.{part}"] for part in ("tokens", "attention_mask"))
            self.assertEqual((mask["kind"], mask["of"]), ("mask", "observation.language.tokens"))
            file = path.with_name(tokens["tokenizer"])
            self.assertEqual(tokens["sha256"], hashlib.sha256(file.read_bytes()).hexdigest())
            self.assertEqual(Tokenizer.from_file(str(file)).id_to_token(tokens["pad"]), "<|im_end|>")
            found = Tokenizer.from_file(str(file))
            self.assertIsNone(found.padding)
            self.assertIsNone(found.truncation)
            for task in (*reduced.TASKS, "go"):
                read = self.before(self.batch(task))["observation.language.tokens"][0].tolist()
                self.assertEqual(found.encode(tokens["template"].replace("{instruction}", task)).ids, read)

    def test_a_tokenizer_that_gives_other_tokens_is_not_kept(self):
        with mock.patch.object(instructions, "TEMPLATE", "{instruction}"):
            code, _, err = command(*self.arguments, "--out", self.folder / "none" / "tokens")
        self.assertEqual(code, 1)
        self.assertIn("tokens.tokenizer.json: 'pick up the cube': found tokens [", err)
        self.assertEqual(list((self.folder / "none").iterdir()), [])
        (self.folder / "none").rmdir()

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
        noise = normal(4, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 0, loaded(SmolVLAPolicy, checkpoint))
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


if __name__ == "__main__":
    unittest.main()
