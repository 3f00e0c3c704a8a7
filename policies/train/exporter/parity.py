"""Compares an ONNX file with the policy as LeRobot runs it: pre-processor, `predict_action_chunk` and post-processor, with
the tapped layer read by a hook.

ONNX Runtime runs the graph both as written and optimised, because optimisers have fused or dropped tapped tensors. The
largest allowed difference is `TOLERANCE`: absolute for a tensor within −1 to 1, else relative to its largest value.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS

from . import ParityError, taps
from .graph import ACTIONS, ACTIVATION, NOISE

TOLERANCE = 1e-4
SAMPLES = 4
LEVELS = {
    "as_written": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# Instructions for the check where none are given, of different lengths, so that padding is checked too.
TASKS = ("pick up the cube", "open the top drawer of the cabinet and put the bowl into it")


@dataclass
class Sample:
    """One observation: `batch` as passed to LeRobot, `tensors` as passed to the graph."""

    batch: dict
    noise: torch.Tensor | None
    tensors: dict


def samples(checkpoint, specs, tasks=(), count=SAMPLES, seed=0):
    """Draws random observations from a seed: images uniform in 0 to 1, states normal with the checkpoint's statistics."""
    generator = torch.Generator().manual_seed(seed)
    drawn, tasks = [], tasks or TASKS
    for index in range(count):
        batch, noise, tensors = {}, None, {}
        for one in specs:
            if one.kind == "image":
                batch[one.name] = tensors[one.name] = torch.rand(one.shape, generator=generator)
            elif one.kind in ("state", "environment"):
                value = torch.randn(one.shape, generator=generator)
                batch[one.name] = tensors[one.name] = within_statistics(checkpoint, one.feature, value)
            elif one.kind == "noise":
                noise = tensors[one.name] = torch.randn(one.shape, generator=generator)
        if checkpoint.reads_instruction:
            batch["task"] = tasks[index % len(tasks)]
            tensors.update(tokens(checkpoint, batch))
        drawn.append(Sample(batch, noise, tensors))
    return drawn


def within_statistics(checkpoint, feature, value):
    """Scales a standard normal value to the mean and standard deviation of the checkpoint's observations."""
    for step in checkpoint.preprocessor.steps:
        stats = step.state_dict() if hasattr(step, "norm_map") else {}
        if f"{feature}.std" in stats:
            return stats[f"{feature}.mean"] + stats[f"{feature}.std"] * value
    return value


def tokens(checkpoint, batch):
    """Tokenizes the instruction of a batch with the checkpoint's pre-processor, padded to the graph's length."""
    step = checkpoint.tokenizer_step
    found = checkpoint.preprocessor(dict(batch))
    read, mask = found[OBS_LANGUAGE_TOKENS], found[OBS_LANGUAGE_ATTENTION_MASK]
    missing = step.max_length - read.shape[1]
    pad = torch.nn.functional.pad
    return {
        OBS_LANGUAGE_TOKENS: pad(read, (0, missing), value=step.input_tokenizer.pad_token_id),
        OBS_LANGUAGE_ATTENTION_MASK: pad(mask, (0, missing)),
    }


def instruction(checkpoint, batch, task):
    """Returns the tokens of an instruction, without padding."""
    found = tokens(checkpoint, {**batch, "task": task})
    return found[OBS_LANGUAGE_TOKENS][found[OBS_LANGUAGE_ATTENTION_MASK]].tolist()


def reference(checkpoint, layer, tap_step, sample):
    """Runs the PyTorch policy and returns actions and tapped layer as NumPy arrays."""
    noise = {} if sample.noise is None else {NOISE: sample.noise.clone()}
    batch = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in sample.batch.items()}
    checkpoint.policy.reset()
    with taps.capture(checkpoint, layer) as seen, torch.no_grad():
        chunk = checkpoint.policy.predict_action_chunk(checkpoint.preprocessor(batch), **noise)
        actions = checkpoint.postprocessor(chunk)
    return {ACTIONS: actions.float().numpy(), ACTIVATION: seen[tap_step].float().numpy()}


def session(path, level):
    """Opens a session with one thread on the processor, as the host does."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(opened, tensors):
    """Returns both outputs for one sample's tensors."""
    found = opened.run([ACTIONS, ACTIVATION], {name: value.numpy() for name, value in tensors.items()})
    return dict(zip((ACTIONS, ACTIVATION), found, strict=True))


def difference(found, expected):
    """Returns the largest absolute difference, and its value in the measure of TOLERANCE. NaN counts as infinite."""
    if found.shape != expected.shape:
        raise ParityError(f"the graph returns shape {list(found.shape)}, the policy {list(expected.shape)}")
    delta = float(np.max(np.abs(found.astype(np.float64) - expected)))
    scale = max(1.0, float(np.max(np.abs(expected))))
    return (delta, delta / scale) if math.isfinite(delta) and math.isfinite(scale) else (math.inf, math.inf)


def precision(as_loaded, in_float32):
    """Returns the largest differences between the policy in its loaded precision and the same weights in float32."""
    return {
        f"{output}_loaded_precision": max(
            difference(one[output], other[output])[0] for one, other in zip(as_loaded, in_float32, strict=True)
        )
        for output in (ACTIONS, ACTIVATION)
    }


def check(path, checkpoint, layer, tap_step, drawn):
    """Returns the largest differences by output and optimisation level, in the outputs' units. Raises ParityError beyond
    TOLERANCE.
    """
    expected = [reference(checkpoint, layer, tap_step, one) for one in drawn]
    largest = {}
    for level in LEVELS:
        opened = session(path, level)
        for one, wanted in zip(drawn, expected, strict=True):
            found = run(opened, one.tensors)
            for output in (ACTIONS, ACTIVATION):
                delta, measure = difference(found[output], wanted[output])
                if measure > TOLERANCE:
                    raise ParityError(
                        f"{output}: the graph {level.replace('_', ' ')} differs from the policy by {delta:.1e} "
                        f"({measure:.1e} by the tolerance's measure); valid is up to {TOLERANCE:.0e}"
                    )
                key = f"{output}_{level}"
                largest[key] = max(largest.get(key, 0.0), delta)
    return largest
