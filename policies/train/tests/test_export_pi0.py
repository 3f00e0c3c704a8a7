"""π0 end to end: written to disk, read back, exported, and compared with the policy as LeRobot runs it. This file reads
the layer with separate hooks.

LeRobot's class refuses the transformers of requirements-lerobot.txt; `exporter/openpi.py` supplies what they lack. The
actions are compared with those of LeRobot on the files of openpi where AEGIS_OPENPI names a folder that has them:

    pip install --no-deps --target DIR transformers==4.53.2 'tokenizers>=0.21,<0.22'
    git clone https://github.com/Physical-Intelligence/openpi
    cp -r openpi/src/openpi/models_pytorch/transformers_replace/* DIR/transformers/
    AEGIS_OPENPI=DIR python -m unittest test_export_pi0

With AEGIS_BINARY, the program checks the card on LIBERO and runs the policy.
"""

import os
import re
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from harness import LEVELS, Folder, command, image, loaded, normal, session
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import reduced
from exporter import openpi

AEGIS, OPENPI = os.environ.get("AEGIS_BINARY"), os.environ.get("AEGIS_OPENPI")
REPOSITORY = Path(__file__).resolve().parents[3]
LENGTH = 40


def batch(task):
    return {
        "observation.images.front": image(1, 60, 80),
        "observation.images.wrist": image(2, 60, 80),
        "observation.state": normal(3, 1, 7),
        "task": task,
    }


def chunks(checkpoint, out):
    """Writes the actions of LeRobot alone. A process with the transformers of openpi runs this."""
    found = {}
    with reduced.narrow_pi0():
        for precision in ("loaded", "float32"):
            policy, before, after = loaded(PI0Policy, checkpoint)
            if precision == "loaded":
                policy = PI0Policy.from_pretrained(checkpoint)
            for index, task in enumerate(reduced.TASKS):
                chunk = policy.predict_action_chunk(before(batch(task)), noise=normal(4, 1, 6, 10))
                found[f"{precision}{index}"] = after(chunk).float().numpy()
    np.savez(out, **found)


class Pi0(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for context in (reduced.narrow_pi0(), openpi.supplied()):
            cls.enterClassContext(context)
        cls.tokenizer = reduced.gemma_tokenizer(cls.folder / "tokenizer")
        cls.checkpoint = reduced.pi0(cls.folder / "pi0", cls.tokenizer)
        cls.arguments = ("pi0", "--checkpoint", cls.checkpoint)
        cls.model, cls.said = cls.exported("pi0", *cls.arguments, "--task", reduced.TASKS[0])
        cls.card = tomllib.loads(cls.model.with_suffix(".toml").read_text())
        cls.policy, cls.before, cls.after = loaded(PI0Policy, cls.checkpoint)

    def feed(self, task, noise):
        """Returns the graph's inputs. The padding has another token than LeRobot's, which the mask has to hide."""
        prepared = self.before(batch(task))
        mask = prepared["observation.language.attention_mask"].numpy()
        found = {name: value.numpy() for name, value in batch(task).items() if name != "task"}
        found["observation.language.tokens"] = np.where(mask, prepared["observation.language.tokens"].numpy(), 7)
        found["observation.language.attention_mask"] = mask
        found["noise"] = noise.numpy()
        return found

    def eager(self, task, noise, layer, another=None):
        """Returns the actions, and the layer's output in each step: the MLP's output plus the input of its norm."""
        policy, before, after = another or (self.policy, self.before, self.after)
        policy.reset()
        block = policy.model.paligemma_with_expert.gemma_expert.model.layers[layer]
        residual, seen = [], []
        hooks = [
            block.post_attention_layernorm.register_forward_pre_hook(lambda _m, read: residual.append(read[0].clone())),
            block.mlp.register_forward_hook(lambda _m, _read, out: seen.append(out.clone() + residual[-1])),
        ]
        chunk = policy.predict_action_chunk(before(batch(task)), noise=noise.clone())
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
        three = loaded(PI0Policy, self.checkpoint)
        three[0].config.num_inference_steps = 3
        noise = normal(5, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 3, three)
        self.assertEqual(len(seen), 3)
        found = session(path).run(["actions", "activation"], self.feed(reduced.TASKS[0], noise))
        self.close(found[0], actions)
        self.close(found[1], seen[1])
        self.assertGreater(float(np.abs(seen[1] - seen[2]).max()), 0.1)

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
        self.assertEqual((export["policy"], export["layer"]), ("pi0", "gemma_expert.layers.2"))
        self.assertEqual((export["denoising_steps"], export["tap_step"]), (4, 3))
        # One token of the state precedes those of the actions.
        self.assertEqual((self.card["activation"]["tokens"], self.card["activation"]["width"]), (7, 32))
        prepared = self.before(batch(reduced.TASKS[0]))
        mask = prepared["observation.language.attention_mask"]
        read = prepared["observation.language.tokens"][mask].tolist()
        self.assertEqual(read[0], 2)
        padding = [0] * (LENGTH - len(read))
        for name, values in (("tokens", read), ("attention_mask", [1] * len(read))):
            one = inputs[f"observation.language.{name}"]
            self.assertEqual((one["kind"], one["value"]), ("constant", values + padding))

    def test_without_a_task_the_tokenizer_is_beside_the_card(self):
        path, _ = self.exported("any", *self.arguments)
        self.assertEqual(path.read_bytes(), self.model.read_bytes())
        inputs = {one["tensor"]: one for one in tomllib.loads(path.with_suffix(".toml").read_text())["inputs"]}
        one = inputs["observation.language.tokens"]
        self.assertEqual((one["kind"], one["tokenizer"], one["pad"]), ("tokens", "any.tokenizer.json", 0))
        file = Tokenizer.from_file(str(path.with_name(one["tokenizer"])))
        for task in (*reduced.TASKS, "go"):
            prepared = self.before(batch(task))
            wanted = prepared["observation.language.tokens"][prepared["observation.language.attention_mask"]].tolist()
            self.assertEqual(file.encode(one["template"].replace("{instruction}", task)).ids, wanted)

    def test_weights_in_bfloat16_an_absent_camera_and_a_tokenizer_elsewhere(self):
        checkpoint = reduced.pi0(
            self.folder / "variant", self.tokenizer, dtype="bfloat16", empty_cameras=1, num_inference_steps=2
        )
        saved = (checkpoint / "policy_preprocessor.json").read_text()
        moved = saved.replace(str(self.tokenizer), "google/paligemma-3b-pt-224")
        self.assertNotEqual(moved, saved)
        (checkpoint / "policy_preprocessor.json").write_text(moved)
        code, _, err = command("pi0", "--checkpoint", checkpoint, "--out", self.folder / "out" / "variant")
        self.assertEqual(code, 2)
        for part in ("policy_preprocessor.json: tokenizer_name: found google/paligemma-3b-pt-224", "--vlm DIR"):
            self.assertIn(part, err)
        path, _ = self.exported("variant", "pi0", "--checkpoint", checkpoint, "--tap", "0", "--vlm", self.tokenizer)
        card = tomllib.loads(path.with_suffix(".toml").read_text())
        self.assertEqual(card["export"]["loaded_in"], ["bfloat16"])
        self.assertNotIn("empty", " ".join(one.name for one in onnx.load(path).graph.input))
        (checkpoint / "policy_preprocessor.json").write_text(saved)
        noise = normal(4, 1, 6, 10)
        actions, seen = self.eager(reduced.TASKS[0], noise, 0, loaded(PI0Policy, checkpoint))
        found = session(path).run(["actions", "activation"], self.feed(reduced.TASKS[0], noise))
        self.close(found[0], actions)
        self.close(found[1], seen[1])

    def test_weights_that_lerobot_would_leave_random_are_refused(self):
        checkpoint = reduced.pi0(self.folder / "lacking", self.tokenizer)
        weights = load_file(checkpoint / "model.safetensors")
        for change, message in (
            ({"model.state_proj.weight": None}, "model.state_proj.weight: missing"),
            ({"model.state_proj.weight": torch.zeros(3, 3)}, "model.state_proj.weight: LeRobot did not load it"),
            ({"model.nothing": torch.zeros(1)}, "model.nothing: no such weight"),
        ):
            kept = {name: value for name, value in {**weights, **change}.items() if value is not None}
            save_file(kept, checkpoint / "model.safetensors")
            code, _, err = command("pi0", "--checkpoint", checkpoint, "--out", self.folder / "none" / "bad")
            self.assertEqual(code, 2, err)
            self.assertIn(f"model.safetensors: {message}", err)
            self.assertFalse((self.folder / "none").exists())

    def test_bad_numbers(self):
        for arguments, message in (
            (("--tap", "16"), "--tap: found 16; valid is gemma_expert.layers.0, "),
            (("--tap-step", "4"), "--tap-step: found 4; valid is 0 to 3"),
            (("--steps", "0"), "--steps: found 0; valid is 1 or more"),
            (("--vlm", self.folder / "nowhere"), "--vlm: found "),
        ):
            code, _, err = command(*self.arguments, *arguments, "--out", self.folder / "none" / "bad")
            self.assertEqual(code, 2, err)
            self.assertIn(message, err)

    @unittest.skipUnless(AEGIS, "AEGIS_BINARY names no program")
    def test_aegis_checks_the_card_and_runs_the_policy(self):
        checkpoint = reduced.pi0(
            self.folder / "libero",
            self.tokenizer,
            shape=(("image", "image2"), 64, 64, 8, 7),
            tokenizer_max_length=96,
        )
        path, _ = self.exported(
            "libero",
            *("pi0", "--checkpoint", checkpoint),
            *("--read", "observation.state=eef_position,eef_quaternion:axis_angle,gripper_positions"),
            *("--read", "observation.images.image=agentview:180"),
            *("--read", "observation.images.image2=robot0_eye_in_hand:180"),
        )
        program = str(Path(AEGIS).resolve())
        found = subprocess.run(
            [program, "model", "check", path.with_suffix(".toml")], capture_output=True, text=True
        )
        said = found.stdout + found.stderr
        self.assertEqual(found.returncode, 0, said)
        # Eight numbers of the state, two pictures, the instruction's tokens and the noise.
        self.assertIn("ok      dead inputs: 12 values and pictures, and each changes the action", said)
        plan = (REPOSITORY / "experiments/demo.toml").read_text()
        for old, new in (
            (r"^suite = .*", r"\g<0>\ntasks = [0]"),
            (r"^weak = .*", 'weak = "libero.toml"'),
            (r"^strong = .*", f'strong = "{REPOSITORY}/policies/models/strong.toml"'),
            (r"^horizon_steps = .*", "horizon_steps = 12"),
            (r"^chunk_steps = .*", "chunk_steps = 4"),
            (r"^discovery = .*", "discovery = { first = 200, end = 202, replicates = 1 }"),
        ):
            plan, count = re.subn(old, new, plan, flags=re.MULTILINE)
            self.assertEqual(count, 1, old)
        path.with_name("plan.toml").write_text(plan)
        out = path.with_name("discovery.parquet")
        arguments = ("collect", "discovery", "--plan", path.with_name("plan.toml"), "--workers", "1", "--out", out)
        found = subprocess.run([program, *arguments], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        # Two episodes of three chunks.
        self.assertEqual(pq.read_table(out).num_rows, 6)

    @unittest.skipUnless(OPENPI, "AEGIS_OPENPI names no folder")
    def test_actions_are_those_of_the_files_of_openpi(self):
        for dtype in ("float32", "bfloat16"):
            checkpoint = reduced.pi0(self.folder / f"openpi-{dtype}", self.tokenizer, dtype=dtype)
            here, there = (self.folder / f"{place}-{dtype}.npz" for place in ("here", "there"))
            chunks(checkpoint, here)
            tests = Path(__file__).parent
            code = f"import test_export_pi0; test_export_pi0.chunks({str(checkpoint)!r}, {str(there)!r})"
            places = os.pathsep.join((OPENPI, str(tests)))
            subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": places})
            found, wanted = np.load(here), np.load(there)
            self.assertEqual(len(found.files), 4)
            for name in found.files:
                self.assertTrue((found[name] == wanted[name]).all(), name)


if __name__ == "__main__":
    unittest.main()
