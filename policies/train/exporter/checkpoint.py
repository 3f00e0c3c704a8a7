"""Loads a LeRobot checkpoint: policy, pre-processor and post-processor. Refuses checkpoints that cannot be exported.

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
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

from . import ExportError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
CLASSES = {"act": ACTPolicy, "smolvla": SmolVLAPolicy, "pi0": PI0Policy}
# Policies that read an instruction and denoise, and the field of their config with the number of denoising steps.
STEPS = {"smolvla": "num_steps", "pi0": "num_inference_steps"}

# Fields whose other values change the policy in a way that one graph cannot express: the exportable value, and why.
ONLY = {
    "use_peft": (False, "merge the adapter into the weights first"),
    "n_obs_steps": (1, "a graph reads one observation"),
    "temporal_ensemble_coeff": (None, "the average over chunks is state that a graph does not keep"),
    "adapt_to_pi_aloha": (False, "the conversion is not exported"),
    "use_cache": (True, "the prefix is computed once per chunk"),
}
# Steps that each pipeline may have; the steps in HOST are not part of the graph.
HOST = ("smolvla_new_line_processor", "pi0_new_line_processor", "tokenizer_processor")
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

    @property
    def reads_instruction(self):
        return self.kind in STEPS

    @property
    def steps(self):
        """Number of denoising steps."""
        return getattr(self.config, STEPS[self.kind])

    @property
    def tokenizer_step(self):
        """The step of the pre-processor that tokenizes the instruction."""
        return next(one for one in self.preprocessor.steps if one._registry_name == "tokenizer_processor")


def load(kind, directory, vlm=None, steps=None):
    """Loads a checkpoint of the kind `act`, `smolvla` or `pi0`; the last inside `openpi.supplied`.

    `vlm` is a folder that replaces the name of the backbone or of its tokenizer. `steps` replaces the denoising steps
    of the config.
    """
    directory = Path(directory)
    check(kind, directory)
    if kind not in STEPS:
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
        config.compile_model = False
        if steps is not None:
            setattr(config, STEPS[kind], steps)
        if kind == "smolvla":
            config.load_vlm_weights = False
            config.vlm_model_name = backbone(directory, config.vlm_model_name if vlm is None else vlm, vlm is not None)
        name = config.vlm_model_name if kind == "smolvla" else tokenizer(directory, vlm)
        overrides["tokenizer_processor"] = {"tokenizer_name": name}
    try:
        policy = CLASSES[kind].from_pretrained(directory, config=config, strict=True)
        if kind == "pi0":
            check_weights(directory, policy)
    except ExportError:
        raise
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
    """Returns a message on whether LeRobot refuses the weights or the config."""
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


def tokenizer(directory, given):
    """Checks and returns the folder with the tokenizer, or its name in the hub or cache as the pre-processor has it."""
    steps = read_json(directory / PREPROCESSOR).get("steps", [])
    configs = [one.get("config", {}) for one in steps if one.get("registry_name") == "tokenizer_processor"]
    name = given or next((one.get("tokenizer_name") for one in configs), None)
    where = "--vlm" if given else f"{directory / PREPROCESSOR}: tokenizer_name"
    try:
        AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise ExportError(
            f"{where}: found {name}: {first_line(error)}; --vlm DIR names a folder with the backbone's tokenizer"
        ) from error
    return str(name)


def check_weights(directory, policy):
    """Checks that a policy has the weights of the file and no others. LeRobot returns a π0 of random weights where it
    cannot read them.
    """
    found = policy._fix_pytorch_state_dict_keys(load_file(directory / WEIGHTS), policy.config)
    found = {name if name.startswith("model.") else f"model.{name}": value for name, value in found.items()}
    known = policy.state_dict(keep_vars=True)
    for name, value in found.items():
        if name not in known:
            raise ExportError(f"{directory / WEIGHTS}: {name}: no such weight in the policy that {CONFIG} describes")
        held = known[name]
        if held.shape != value.shape or not torch.equal(held.detach(), value.to(held.dtype)):
            raise ExportError(f"{directory / WEIGHTS}: {name}: LeRobot did not load it")
    # A weight with two names, as that of the tokens' embedding, is in the file once.
    present = {known[name].data_ptr() for name in found}
    for name, value in known.items():
        if name not in found and value.data_ptr() not in present:
            raise ExportError(f"{directory / WEIGHTS}: {name}: missing; valid is every weight that {CONFIG} describes")


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
