"""The ONNX file held against the policy as LeRobot runs it: pre-processor, `predict_action_chunk`, post-processor, and
the tapped layer read by a hook.

ONNX Runtime runs the graph as it is written and optimised, because optimisers have fused and dropped tapped tensors. A
difference is allowed up to `TOLERANCE`: absolute for a tensor within −1 to 1, relative to its largest value beyond.
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
# Instructions to check with, where none are given: of different lengths, so that padding counts.
TASKS = ("pick up the cube", "open the top drawer of the cabinet and put the bowl into it")


@dataclass
class Sample:
    """One observation: `batch` as a user hands it to LeRobot, `tensors` as the graph reads it."""

    batch: dict
    noise: torch.Tensor | None
    tensors: dict


def samples(checkpoint, specs, tasks=(), count=SAMPLES, seed=0):
    """Random observations from a seed: images uniform in 0 to 1, states around the statistics of the checkpoint."""
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
        if checkpoint.kind == "smolvla":
            batch["task"] = tasks[index % len(tasks)]
            tensors.update(tokens(checkpoint, batch))
        drawn.append(Sample(batch, noise, tensors))
    return drawn


def within_statistics(checkpoint, feature, value):
    """A standard normal value, moved to where the checkpoint's observations lie."""
    for step in checkpoint.preprocessor.steps:
        stats = step.state_dict() if hasattr(step, "norm_map") else {}
        if f"{feature}.std" in stats:
            return stats[f"{feature}.mean"] + stats[f"{feature}.std"] * value
    return value


def tokens(checkpoint, batch):
    """The instruction of a batch as the checkpoint's own pre-processor tokenizes it, padded to the graph's length."""
    step = next(one for one in checkpoint.preprocessor.steps if one._registry_name == "tokenizer_processor")
    found = checkpoint.preprocessor(dict(batch))
    read, mask = found[OBS_LANGUAGE_TOKENS], found[OBS_LANGUAGE_ATTENTION_MASK]
    missing = step.max_length - read.shape[1]
    pad = torch.nn.functional.pad
    return {
        OBS_LANGUAGE_TOKENS: pad(read, (0, missing), value=step.input_tokenizer.pad_token_id),
        OBS_LANGUAGE_ATTENTION_MASK: pad(mask, (0, missing)),
    }


def instruction(checkpoint, batch, task):
    """The tokens of an instruction, without padding."""
    found = tokens(checkpoint, {**batch, "task": task})
    return found[OBS_LANGUAGE_TOKENS][found[OBS_LANGUAGE_ATTENTION_MASK]].tolist()


def reference(checkpoint, layer, tap_step, sample):
    """Actions and tap of the eager policy, as numpy arrays."""
    noise = {} if sample.noise is None else {NOISE: sample.noise.clone()}
    batch = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in sample.batch.items()}
    checkpoint.policy.reset()
    with taps.capture(checkpoint, layer) as seen, torch.no_grad():
        chunk = checkpoint.policy.predict_action_chunk(checkpoint.preprocessor(batch), **noise)
        actions = checkpoint.postprocessor(chunk)
    return {ACTIONS: actions.float().numpy(), ACTIVATION: seen[tap_step].float().numpy()}


def session(path, level):
    """ONNX Runtime on one thread, as the host runs it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(opened, tensors):
    """Both outputs for one sample's tensors."""
    found = opened.run([ACTIONS, ACTIVATION], {name: value.numpy() for name, value in tensors.items()})
    return dict(zip((ACTIONS, ACTIVATION), found, strict=True))


def difference(found, expected):
    """Largest absolute difference, and the same by the tolerance's measure; NaN and infinity count as infinite."""
    if found.shape != expected.shape:
        raise ParityError(f"the graph returns shape {list(found.shape)}, the policy {list(expected.shape)}")
    delta = float(np.max(np.abs(found.astype(np.float64) - expected)))
    scale = max(1.0, float(np.max(np.abs(expected))))
    return (delta, delta / scale) if math.isfinite(delta) and math.isfinite(scale) else (math.inf, math.inf)


def precision(as_loaded, in_float32):
    """How far the policy in the precision that it was loaded in is from the same weights computing in float32."""
    return {
        f"{output}_loaded_precision": max(
            difference(one[output], other[output])[0] for one, other in zip(as_loaded, in_float32, strict=True)
        )
        for output in (ACTIONS, ACTIVATION)
    }


def check(path, checkpoint, layer, tap_step, drawn):
    """Largest differences by output and level, in the outputs' units; refuses a graph beyond the tolerance."""
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
