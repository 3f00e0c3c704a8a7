"""Reduced LeRobot checkpoints for the exporter's tests: the real classes with few, narrow layers and random weights.

Everything is written by `save_pretrained`, as in training, and nothing is downloaded.
"""

import json
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.policies.pi0 import modeling_pi0, processor_pi0
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.processor import TokenizerProcessorStep
from tokenizers import processors
from transformers import GemmaForCausalLM, PaliGemmaForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm

import random_checkpoint
from random_checkpoint import features, randomise, save, statistics

TASKS = ("put the bowl on the plate", "open the drawer of the cabinet and push the red cube into it")


def edit(directory, name, **fields):
    """Changes fields of one of a checkpoint's JSON files."""
    path = directory / name
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **fields}, indent=4))


def act(directory, seed=1, shape=(("front", "wrist"), 48, 64, 6, 5), environment=0, edit_policy=None, **changes):
    """Writes an ACT checkpoint with the full ResNet-18 and a narrow transformer; `shape` has cameras, height, width,
    and sizes of state and action, `environment` is the size of the environment's state. Its config names ImageNet
    weights, as that of a trained checkpoint does. `edit_policy` changes the policy before it is saved."""
    inputs, outputs = features(*shape)
    if environment:
        inputs["observation.environment_state"] = PolicyFeature(FeatureType.ENV, (environment,))
    config = ACTConfig(
        **{
            "device": "cpu",
            "input_features": inputs,
            "output_features": outputs,
            "pretrained_backbone_weights": None,
            "chunk_size": 8,
            "n_action_steps": 5,
            "dim_model": 32,
            "n_heads": 4,
            "dim_feedforward": 64,
            "n_encoder_layers": 2,
            "n_decoder_layers": 2,
            "n_vae_encoder_layers": 1,
            "latent_dim": 8,
            **changes,
        }
    )
    policy = ACTPolicy(config)
    randomise(policy, seed)
    if edit_policy is not None:
        edit_policy(policy)
    save(policy, make_act_pre_post_processors(config, statistics({**inputs, **outputs}, seed)), directory)
    edit(directory, "config.json", pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1")
    return directory


def vlm(directory, dtype="float32"):
    """Writes SmolVLA's backbone: configuration, processor and a byte-level tokenizer trained on the tasks."""
    text = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    return random_checkpoint.smolvlm(directory, TASKS, text, vision, scale_factor=2, dtype=dtype, vocabulary=320)


def smolvla(directory, backbone, seed=1, **changes):
    """Writes a SmolVLA checkpoint with two cameras that are not square as the backbone's input is, for padding."""
    reduced = {
        "chunk_size": 6,
        "n_action_steps": 4,
        "max_state_dim": 12,
        "max_action_dim": 10,
        "resize_imgs_with_padding": (64, 64),
        "tokenizer_max_length": 24,
        "num_steps": 4,
        "num_vlm_layers": 4,
    }
    return random_checkpoint.smolvla(
        directory, backbone, (("front", "wrist"), 60, 80, 7, 6), seed, **{**reduced, **changes}
    )


def gemma_tokenizer(directory):
    """Writes a tokenizer that begins each text with a token of its own, as PaliGemma's does."""
    made = random_checkpoint.tokenizer(TASKS, ["<pad>", "<eos>", "<bos>", "<unk>"])
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.save_pretrained(directory)
    return directory


@contextmanager
def narrow_pi0():
    """Builds π0 narrow while active: LeRobot has its sizes in the code, and its config names one of two."""

    def sizes(variant):
        width = 48 if variant == "gemma_2b" else 32
        return modeling_pi0.GemmaConfig(width, depth=4, mlp_dim=64, num_heads=8, num_kv_heads=1, head_dim=16)

    def paligemma(config):
        config.text_config.vocab_size = 320
        for field, value in (
            ("hidden_size", 32),
            ("intermediate_size", 64),
            ("num_hidden_layers", 2),
            ("num_attention_heads", 2),
            ("projection_dim", config.text_config.hidden_size),
        ):
            setattr(config.vision_config, field, value)
        return PaliGemmaForConditionalGeneration(config=config)

    def expert(config):
        config.vocab_size = 320
        return GemmaForCausalLM(config=config)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(modeling_pi0, "get_gemma_config", sizes))
        stack.enter_context(mock.patch.object(modeling_pi0, "PaliGemmaForConditionalGeneration", paligemma))
        stack.enter_context(mock.patch.object(modeling_pi0, "GemmaForCausalLM", expert))
        yield


def pi0(directory, tokenizer, seed=1, shape=(("front", "wrist"), 60, 80, 7, 6), **changes):
    """Writes a π0 checkpoint inside `narrow_pi0` and `openpi.supplied`.
    `tokenizer` is the folder that its pre-processor names.
    """
    inputs, outputs = features(*shape)
    config = PI0Config(
        **{
            "device": "cpu",
            "input_features": inputs,
            "output_features": outputs,
            "chunk_size": 6,
            "n_action_steps": 4,
            "max_state_dim": 12,
            "max_action_dim": 10,
            "image_resolution": (56, 56),
            "tokenizer_max_length": 40,
            "num_inference_steps": 4,
            **changes,
        }
    )
    policy = modeling_pi0.PI0Policy(config)
    randomise(policy, seed)
    with torch.no_grad():
        for module in policy.modules():
            if isinstance(module, GemmaRMSNorm):
                # Gemma's norm adds 1 to its weight.
                module.weight -= 1
    stats = statistics({**config.input_features, **outputs}, seed)

    def step(tokenizer_name, **arguments):
        return TokenizerProcessorStep(tokenizer_name=str(tokenizer), **arguments)

    with mock.patch.object(processor_pi0, "TokenizerProcessorStep", step):
        pipelines = processor_pi0.make_pi0_pre_post_processors(config, stats)
    return save(policy, pipelines, directory)
