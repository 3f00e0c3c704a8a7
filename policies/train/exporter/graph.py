"""Wraps a policy as one module of tensors and traces it as an ONNX program. The inputs are raw observations; the outputs
are raw actions and the tapped layer. The traced code is LeRobot's, including its processors.

Two of LeRobot's routines are replaced while tracing by equivalent ones. SigLIP computes the positions of its patches with
masks whose shapes depend on data; the positions are constant at a fixed image size, so they are stored. RoPE writes into
slices, which would become scatters; the replacement concatenates.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from lerobot.configs.types import FeatureType
from lerobot.policies.smolvla import smolvlm_with_expert
from lerobot.processor.converters import create_transition
from lerobot.processor.core import TransitionKey
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS

from . import ExportError, taps
from .checkpoint import HOST, first_line

ACTIONS, ACTIVATION, NOISE = "actions", "activation", "noise"
KINDS = {FeatureType.VISUAL: "image", FeatureType.STATE: "state", FeatureType.ENV: "environment"}


@dataclass(frozen=True)
class Input:
    """One input of the graph. `name` is the raw observation's name, which the checkpoint's pre-processor may rename to
    `feature`, the name in the policy's config.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple
    feature: str


def inputs(checkpoint, image_size=None):
    """Returns the graph's inputs in order: the observation before LeRobot's pre-processor, then tokens, mask and noise."""
    config = checkpoint.config
    raw = {}
    for step in checkpoint.preprocessor.steps:
        raw.update({new: old for old, new in getattr(step, "rename_map", {}).items()})
    found = []
    for feature, spec in config.input_features.items():
        if feature.startswith("observation.images.empty_camera_"):
            continue
        if spec.type not in KINDS:
            valid = ", ".join(one.value for one in KINDS)
            raise ExportError(f"config.json: input_features.{feature}: found type {spec.type.value}; valid is {valid}")
        shape = tuple(spec.shape)
        if spec.type is FeatureType.VISUAL:
            if len(shape) != 3 or shape[0] != 3:
                valid = "(3, rows, columns)"
                raise ExportError(f"config.json: input_features.{feature}: found shape {shape}; valid is {valid}")
            shape = (3, *image_size) if image_size else shape
        found.append(Input(raw.get(feature, feature), KINDS[spec.type], "float32", (1, *shape), feature))
    if checkpoint.reads_instruction:
        length = checkpoint.tokenizer_step.max_length
        found.append(Input(OBS_LANGUAGE_TOKENS, "tokens", "int64", (1, length), OBS_LANGUAGE_TOKENS))
        found.append(Input(OBS_LANGUAGE_ATTENTION_MASK, "mask", "bool", (1, length), OBS_LANGUAGE_ATTENTION_MASK))
        found.append(Input(NOISE, "noise", "float32", (1, config.chunk_size, config.max_action_dim), NOISE))
    return found


class Exported(torch.nn.Module):
    """Maps tensors in the order of `inputs` to actions `[1, horizon, width]` and the tapped layer `[1, tokens, width]`."""

    def __init__(self, checkpoint, names, seen, tap_step):
        super().__init__()
        self.policy = checkpoint.policy
        self.before = [one for one in checkpoint.preprocessor.steps if one._registry_name not in HOST]
        self.after = list(checkpoint.postprocessor.steps)
        self.names, self.seen, self.tap_step = names, seen, tap_step

    def forward(self, *tensors):
        observation = dict(zip(self.names, tensors, strict=True))
        noise = {NOISE: observation.pop(NOISE)} if NOISE in observation else {}
        transition = create_transition(observation=observation)
        for step in self.before:
            transition = step(transition)
        self.seen.clear()
        chunk = self.policy.predict_action_chunk(dict(transition[TransitionKey.OBSERVATION]), **noise)
        transition = create_transition(action=chunk)
        for step in self.after:
            transition = step(transition)
        # Contiguous copies, because an output that is also an inner tensor may be renamed or removed by fusion.
        return transition[TransitionKey.ACTION].clone(), self.seen[self.tap_step].clone()


def program(checkpoint, specs, layer, tap_step, samples):
    """Traces the policy on the first sample and returns torch's ONNX program."""
    tensors = tuple(samples[0].tensors[one.name] for one in specs)
    with taps.capture(checkpoint, layer) as seen, torch.no_grad():
        module = Exported(checkpoint, [one.name for one in specs], seen, tap_step).eval()
        with traceable(checkpoint, module, tensors):
            try:
                return torch.onnx.export(
                    module,
                    tensors,
                    input_names=[one.name for one in specs],
                    output_names=[ACTIONS, ACTIVATION],
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                )
            except torch.onnx.OnnxExporterError as error:
                said = f"torch {torch.__version__} cannot trace it: {first_line(error.__cause__ or error)}"
                raise ExportError(f"{checkpoint.directory}: {said}") from error


@contextmanager
def traceable(checkpoint, module, tensors):
    """Replaces, while active, the routines that cannot be traced or would become scatters."""
    if checkpoint.kind != "smolvla":
        yield
        return
    embeddings = checkpoint.policy.model.vlm_with_expert.get_vlm_model().vision_model.embeddings
    positions = []
    handle = embeddings.position_embedding.register_forward_pre_hook(lambda _module, read: positions.append(read[0]))
    module(*tensors)
    handle.remove()
    # LeRobot resizes the pictures of all cameras to one size, so all have the same positions.
    fixed = positions[0].clone()

    def embed(pixel_values, patch_attention_mask):
        patches = embeddings.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        return patches + embeddings.position_embedding(fixed)

    with mock.patch.object(embeddings, "forward", embed), mock.patch.object(smolvlm_with_expert, "apply_rope", rope):
        yield


def rope(x, positions, max_wavelength=10_000):
    """Rotary embedding of `[batch, tokens, heads, width]` as in SmolVLA, with halves concatenated instead of assigned."""
    half = x.shape[-1] // 2
    exponents = (2.0 / x.shape[-1]) * torch.arange(half, dtype=torch.float32)
    radians = positions[..., None].to(torch.float32) / (max_wavelength**exponents)[None, None, :]
    sin, cos = torch.sin(radians[..., None, :]), torch.cos(radians[..., None, :])
    first, second = x.to(torch.float32).split(half, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
