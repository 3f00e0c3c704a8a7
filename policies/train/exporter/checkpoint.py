"""Loads a LeRobot checkpoint: policy, pre-processor and post-processor. Refuses what cannot be exported.

Nothing is downloaded. A checkpoint holds all its weights, so the pre-trained weights that its config names as the
starting point of training are not requested.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors import SafetensorError
from transformers import AutoConfig

from . import ExportError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
CLASSES = {"act": ACTPolicy, "smolvla": SmolVLAPolicy}

# Fields whose other values change the policy in a way that one graph cannot express: the exportable value, and why.
ONLY = {
    "use_peft": (False, "merge the adapter into the weights first"),
    "n_obs_steps": (1, "a graph reads one observation"),
    "temporal_ensemble_coeff": (None, "the average over chunks is state that a graph does not keep"),
    "adapt_to_pi_aloha": (False, "the conversion is not exported"),
    "use_cache": (True, "the prefix is computed once per chunk"),
}
# Steps that each pipeline may have; the steps in HOST are not part of the graph.
HOST = ("smolvla_new_line_processor", "tokenizer_processor")
PIPELINES = {
    PREPROCESSOR: (
        "rename_observations_processor",
        "to_batch_processor",
        "device_processor",
        "normalizer_processor",
        *HOST,
    ),
    POSTPROCESSOR: ("unnormalizer_processor", "device_processor"),
}


MIGRATE = "convert it with `python -m lerobot.processor.migrate_policy_normalization`"


@dataclass
class Checkpoint:
    """A loaded checkpoint. `low_precision` names the types, other than float32, of the policy's loaded parameters."""

    kind: str
    directory: Path
    policy: torch.nn.Module
    preprocessor: object
    postprocessor: object
    low_precision: tuple

    @property
    def config(self):
        return self.policy.config


def load(kind, directory, vlm=None, steps=None):
    """Loads a checkpoint of the kind `act` or `smolvla`.

    `vlm` is a folder that replaces the backbone's name in the config. `steps` replaces the config's denoising steps.
    """
    directory = Path(directory)
    check(kind, directory)
    if kind != "smolvla":
        for option, value in (("--steps", steps), ("--vlm", vlm)):
            if value is not None:
                raise ExportError(f"{option}: found {value}; valid is none, for {kind} has no such thing")
    if steps is not None and steps < 1:
        raise ExportError(f"--steps: found {steps}; valid is 1 or more")
    overrides = {"device_processor": {"device": "cpu"}}
    try:
        config = PreTrainedConfig.from_pretrained(directory)
    except Exception as error:
        raise ExportError(f"{directory / CONFIG}: LeRobot does not read it: {first_line(error)}") from error
    config.device = "cpu"
    if kind == "act":
        config.pretrained_backbone_weights = None
    else:
        config.load_vlm_weights = False
        config.compile_model = False
        config.num_steps = config.num_steps if steps is None else steps
        config.vlm_model_name = backbone(directory, config.vlm_model_name if vlm is None else vlm, vlm is not None)
        overrides["tokenizer_processor"] = {"tokenizer_name": config.vlm_model_name}
    try:
        policy = CLASSES[kind].from_pretrained(directory, config=config, strict=True)
    except Exception as error:
        raise ExportError(refusal(directory, error)) from error
    types = sorted({str(one.dtype).removeprefix("torch.") for one in policy.parameters()} - {"float32"})
    try:
        preprocessor, postprocessor = make_pre_post_processors(
            config, pretrained_path=str(directory), preprocessor_overrides=overrides
        )
    except Exception as error:
        raise ExportError(f"{directory}: {PREPROCESSOR} or {POSTPROCESSOR}: {first_line(error)}") from error
    check_statistics(directory / PREPROCESSOR, preprocessor, config.input_features)
    check_statistics(directory / POSTPROCESSOR, postprocessor, config.output_features)
    return Checkpoint(kind, directory, policy, preprocessor, postprocessor, tuple(types))


def check(kind, directory):
    """Checks everything that can be checked without loading weights."""
    if not directory.is_dir():
        raise ExportError(f"--checkpoint: {directory}: no such directory")
    missing = [name for name in (CONFIG, WEIGHTS) if not (directory / name).is_file()]
    if missing:
        raise ExportError(
            f"{directory}: no LeRobot checkpoint: it lacks {' and '.join(missing)}; valid is a folder that "
            "`save_pretrained` wrote, in a training run `checkpoints/<step>/pretrained_model`"
        )
    raw = read_json(directory / CONFIG)
    if raw.get("type") != kind:
        raise ExportError(f"{directory / CONFIG}: type: found {raw.get('type')!r}; valid is {kind!r}")
    for field, (valid, why) in ONLY.items():
        if field in raw and raw[field] != valid:
            found, valid = json.dumps(raw[field]), json.dumps(valid)
            raise ExportError(f"{directory / CONFIG}: {field}: found {found}; valid is {valid}: {why}")
    if (raw.get("rtc_config") or {}).get("enabled"):
        raise ExportError(f"{directory / CONFIG}: rtc_config.enabled: found true; valid is false")
    for name, valid in PIPELINES.items():
        if not (directory / name).is_file():
            raise ExportError(
                f"{directory / name}: no such file; a checkpoint of a LeRobot before 0.4 has none: {MIGRATE}"
            )
        for step in read_json(directory / name).get("steps", []):
            found = step.get("registry_name", step.get("class"))
            if found not in valid:
                raise ExportError(f"{directory / name}: steps: found {found}; valid is {', '.join(valid)}")


def refusal(directory, error):
    """Returns one line that says whether LeRobot refuses the weights or the config."""
    said = first_line(error)
    if "normalize_inputs." in str(error) or "unnormalize_outputs." in str(error):
        return f"{directory / WEIGHTS}: of a LeRobot before 0.4, with statistics among the weights: {MIGRATE}"
    if isinstance(error, SafetensorError):
        return f"{directory / WEIGHTS}: cannot read: {said}"
    if "state_dict" in str(error):
        return f"{directory / WEIGHTS}: {said}; valid is every weight that {CONFIG} describes, and no other"
    return f"{directory / CONFIG}: LeRobot cannot build the policy: {said}"


def read_json(path):
    """Reads a JSON object from a file."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: cannot read: {error}") from error
    if not isinstance(found, dict):
        raise ExportError(f"{path}: found a {type(found).__name__}; valid is an object")
    return found


def backbone(directory, name, given):
    """Checks and returns the folder with the backbone's config, processor and tokenizer, or its name in the hub or cache."""
    where = "--vlm" if given else f"{directory / CONFIG}: vlm_model_name"
    try:
        AutoConfig.from_pretrained(name)
    except Exception as error:
        raise ExportError(
            f"{where}: found {name}: {first_line(error)}; --vlm DIR names a folder with the backbone's config, "
            "processor and tokenizer"
        ) from error
    return str(name)


def check_statistics(path, pipeline, features):
    """Checks that statistics are present for every feature to normalise. LeRobot would silently leave others unnormalised."""
    for step in pipeline.steps:
        if not hasattr(step, "norm_map"):
            continue
        known = step.state_dict()
        for name, feature in features.items():
            mode = step.norm_map.get(feature.type)
            empty = name.startswith("observation.images.empty_camera_")
            if mode is None or mode.value == "IDENTITY" or empty or name not in step.features:
                continue
            if not any(key.startswith(f"{name}.") for key in known):
                raise ExportError(f"{path}: {name}: found no statistics; valid are those that {mode.value} needs")


def first_line(error):
    """Returns an error's type and message on one line, shortened to 400 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 400 else text[:400] + ' …'}"
