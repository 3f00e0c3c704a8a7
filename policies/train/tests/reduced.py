"""Reduced LeRobot checkpoints for the exporter's tests: the real classes with few, narrow layers and random weights.

Everything is written by `save_pretrained`, as in training, and nothing is downloaded.
"""

import json
import math

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

TASKS = ("put the bowl on the plate", "open the drawer of the cabinet and push the red cube into it")
SPECIAL = ["<|endoftext|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]


def randomise(module, seed):
    """Sets random weights with which every input affects the output. A transformer's initial weights hardly do."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean, deviation):
        drawn = torch.randn(tensor.shape, generator=generator) * deviation + mean
        tensor.copy_(drawn.to(tensor.dtype))

    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.dim() > 1:
                normal(value, 0.0, 1.0 / math.sqrt(value[0].numel()))
            else:
                normal(value, 0.0 if name.endswith("bias") else 1.0, 0.1)
        for name, value in module.named_buffers():
            # Frozen batch norms have their statistics in buffers.
            if name.endswith("running_mean"):
                normal(value, 0.0, 0.1)
            elif name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)


def statistics(features, seed):
    """Returns statistics in LeRobot's layout for all normalisation modes, in the units of the features."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, feature in features.items():
        shape = (3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape
        mean = torch.rand(shape, generator=generator) * 2 - 1
        std = torch.rand(shape, generator=generator) + 0.5
        if feature.type is FeatureType.VISUAL:
            mean, std = 0.45 + 0.05 * mean, 0.2 + 0.05 * std
        found[name] = {"mean": mean, "std": std, "min": mean - 2 * std, "max": mean + 2 * std}
    return found


def features(cameras, height, width, state, action):
    """Returns the input and output features of a policy."""
    inputs = {f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, height, width)) for name in cameras}
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (state,))
    return inputs, {"action": PolicyFeature(FeatureType.ACTION, (action,))}


def save(policy, processors, directory):
    """Writes the files that training leaves in a `pretrained_model` folder."""
    policy.save_pretrained(directory)
    for pipeline in processors:
        pipeline.save_pretrained(directory)
    return directory


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
    """Writes the backbone's configuration, processor and a byte-level tokenizer trained on the tasks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TASKS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        extra_special_tokens={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    )
    text = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        rms_norm_eps=1e-5,
        rope_theta=100_000,
        dtype=dtype,
    )
    config = SmolVLMConfig(
        text_config=text.to_dict(),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        scale_factor=2,
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(),
        tokenizer=fast,
        video_processor=SmolVLMVideoProcessor(),
        image_seq_len=4,
    )
    config.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def smolvla(directory, backbone, seed=1, **changes):
    """Writes a SmolVLA checkpoint with two cameras that are not square as the backbone's input is, which tests padding."""
    inputs, outputs = features(("front", "wrist"), 60, 80, 7, 6)
    config = SmolVLAConfig(
        **{
            "device": "cpu",
            "input_features": inputs,
            "output_features": outputs,
            "vlm_model_name": str(backbone),
            "load_vlm_weights": False,
            "chunk_size": 6,
            "n_action_steps": 4,
            "max_state_dim": 12,
            "max_action_dim": 10,
            "resize_imgs_with_padding": (64, 64),
            "tokenizer_max_length": 24,
            "num_steps": 4,
            "num_vlm_layers": 4,
            **changes,
        }
    )
    policy = SmolVLAPolicy(config)
    randomise(policy, seed)
    stats = statistics({**config.input_features, **outputs}, seed)
    return save(policy, make_smolvla_pre_post_processors(config, stats), directory)
