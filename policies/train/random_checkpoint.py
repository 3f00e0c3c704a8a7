"""Write a LeRobot checkpoint of the real class and the published size with random weights.

    python random_checkpoint.py smolvla --out runs/smolvla/checkpoint --vlm runs/smolvla/vlm --suite SCENES

Pretrained weights come from a hub; this needs none. Cameras, state and action are those of public LIBERO policies. The
sizes are the published ones: SmolVLM2-500M with 16 of its 32 layers, SigLIP of 12 layers on 512x512 pictures, an expert
of 0.75 of the width, 10 denoising steps. The tokenizer is trained on the suite's instructions, so it is not the
published one; the embedding has the published number of rows. `tests/reduced.py` uses the same functions at a reduced
size.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
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

SPECIAL = ["<|endoftext|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
# SmolVLM2-500M-Video-Instruct.
TEXT = {
    "vocab_size": 49280,
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "head_dim": 64,
}
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
SCALE_FACTOR = 4


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


def tokenizer(texts, special, vocabulary=320):
    """Trains a byte-level tokenizer on texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def smolvlm(directory, texts, text=TEXT, vision=VISION, scale_factor=SCALE_FACTOR, dtype="bfloat16", vocabulary=512):
    """Writes SmolVLM's configuration, its processor and a tokenizer trained on `texts`."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(texts, SPECIAL, vocabulary),
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
    llama = LlamaConfig(**{"vocab_size": len(fast), **text}, rms_norm_eps=1e-5, rope_theta=100_000, dtype=dtype)
    config = SmolVLMConfig(
        text_config=llama.to_dict(),
        vision_config=vision,
        scale_factor=scale_factor,
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(),
        tokenizer=fast,
        video_processor=SmolVLMVideoProcessor(),
        image_seq_len=(vision["image_size"] // vision["patch_size"] // scale_factor) ** 2,
    )
    config.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def smolvla(directory, backbone, shape, seed=1, **changes):
    """Writes a SmolVLA checkpoint; `shape` has cameras, height, width, and sizes of state and action."""
    inputs, outputs = features(*shape)
    config = SmolVLAConfig(
        **{
            "device": "cpu",
            "input_features": inputs,
            "output_features": outputs,
            "vlm_model_name": str(backbone),
            "load_vlm_weights": False,
            **changes,
        }
    )
    policy = SmolVLAPolicy(config)
    randomise(policy, seed)
    stats = statistics({**config.input_features, **outputs}, seed)
    return save(policy, make_smolvla_pre_post_processors(config, stats), directory)


def instructions(suite):
    """Returns the instructions of a suite of exported scenes, in the order of its tasks."""
    return [json.loads(path.read_text())["language"] for path in sorted((suite / "tasks").glob("*/task.json"))]


# Cameras, their height and width, and the sizes of state and action of public LIBERO policies.
LIBERO = (("image", "image2"), 256, 256, 8, 7)


def main():
    """Writes the checkpoint that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=("smolvla",))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    parser.add_argument("--vlm", type=Path, required=True, metavar="DIR", help="folder of the backbone's config")
    parser.add_argument("--suite", type=Path, required=True, metavar="DIR", help="exported scenes of a suite")
    parser.add_argument("--layers", type=int, default=16, help="layers of the text model; default 16, as published")
    parser.add_argument("--steps", type=int, default=10, help="denoising steps; default 10")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    smolvlm(given.vlm, instructions(given.suite))
    smolvla(given.out, given.vlm.resolve(), LIBERO, given.seed, num_vlm_layers=given.layers, num_steps=given.steps)


if __name__ == "__main__":
    main()
