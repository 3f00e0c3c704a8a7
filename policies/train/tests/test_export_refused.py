"""Refusals of the exporter: message, exit code, and that no file is left behind."""

import json
import shutil
import unittest
from unittest import mock

import onnx
from harness import Folder, command
from safetensors.torch import load_file, save_file

import onnx_file
import reduced


class Refused(Folder):
    """Checkpoints and arguments that are refused without leaving a file."""

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

    def test_a_place_that_cannot_be_written(self):
        (self.folder / "file").write_text("")
        out = self.folder / "file" / "model"
        code, _, err = command("act", "--checkpoint", self.checkpoint, "--out", out)
        self.assertEqual(code, 1)
        self.assertIn("error: --out: ", err)
        self.assertIn(str(self.folder / "file"), err)

    def test_nan_is_a_difference(self):
        checkpoint = self.copy("nan")
        weights = load_file(checkpoint / "model.safetensors")
        weights["model.action_head.bias"][0] = float("nan")
        save_file(weights, checkpoint / "model.safetensors")
        self.refused(checkpoint, "actions: ", "differs from the policy by inf", code=1)


if __name__ == "__main__":
    unittest.main()
