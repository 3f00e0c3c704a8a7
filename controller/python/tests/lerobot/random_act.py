"""Writes ACT policies of LeRobot's own class with random weights, for checks of what evaluates them, and a reflex of two of them.

    python random_act.py POSES POSES_STRONG PICTURES
    python random_act.py --reflex POSES POSES_STRONG OUT
"""

import sys
from pathlib import Path

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_IMAGES, OBS_STATE

SIZE = 64


def write(out: Path, seed: int, pictures: bool) -> None:
    """Writes one policy with its processors, as LeRobot's trainer would."""
    torch.manual_seed(seed)
    inputs = {OBS_STATE: PolicyFeature(FeatureType.STATE, (8 if pictures else 18,))}
    if pictures:
        inputs |= {f"{OBS_IMAGES}.{name}": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)) for name in ("image", "image2")}
    else:
        inputs[OBS_ENV_STATE] = PolicyFeature(FeatureType.ENV, (70,))
    outputs = {ACTION: PolicyFeature(FeatureType.ACTION, (7,))}
    config = ACTConfig(
        input_features=inputs, output_features=outputs, device="cpu", chunk_size=10, n_action_steps=10, dim_model=32, n_heads=2,
        dim_feedforward=64, n_encoder_layers=1, use_vae=False, pretrained_backbone_weights=None, push_to_hub=False,
    )  # fmt: skip
    features = inputs | outputs
    stats = {
        name: {"mean": torch.zeros(feature.shape if feature.type is not FeatureType.VISUAL else (3, 1, 1)),
               "std": torch.ones(feature.shape if feature.type is not FeatureType.VISUAL else (3, 1, 1))}
        for name, feature in features.items()
    }  # fmt: skip
    ACTPolicy(config).save_pretrained(out)
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(out)


def reflex(weak: str, strong: str, out: str) -> None:
    """Fits a probe on recorded episodes, whose outcomes are made up as random weights have none, and writes the reflex."""
    from aegis_libero import LiberoEnv
    from aegis_reflex import fit_probe
    from aegis_reflex.lerobot import ReflexConfig, ReflexPolicy, record_episodes

    environments = [LiberoEnv(task=task, names="poses", horizon=40) for task in range(4)]
    rows = record_episodes(weak, "model.decoder.layers.0", environments, range(12))
    rows["success"] = rows["episode"] * 7 % 3 > 0
    fit_probe(rows, f"{out}.probe.json", horizon_steps=40, chunk_steps=10)
    limits = {"horizon_steps": 40, "guard_fraction": 0.0, "hold_chunks": 1}
    config = ReflexConfig(
        weak=weak, strong=strong, probe=f"{out}.probe.json", layer="model.decoder.layers.0", limits=limits, device="cpu",
    )  # fmt: skip
    ReflexPolicy(config).save_pretrained(out)


if __name__ == "__main__":
    if sys.argv[1] == "--reflex":
        reflex(*sys.argv[2:])
    else:
        poses, strong, pictures = map(Path, sys.argv[1:])
        write(poses, 1, False), write(strong, 2, False), write(pictures, 3, True)
