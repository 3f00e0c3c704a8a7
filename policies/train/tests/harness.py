"""Shared parts of the exporter's tests: command line, ONNX Runtime, loading of policies, and temporary folders."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import export_lerobot
import numpy as np
import onnxruntime
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors

LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
# Largest absolute difference, in the units of actions and activations.
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
    """Returns policy, pre-processor and post-processor, loaded with LeRobot's own functions, in float32."""
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
    """Test case with one temporary folder per class."""

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
