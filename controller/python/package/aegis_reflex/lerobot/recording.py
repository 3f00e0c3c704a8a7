"""Episodes of a LeRobot policy with the activations of one of its modules, from which a probe is fitted."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from ..recorder import ActivationRecorder
from .modeling_reflex import Inner

__all__ = ["record_episodes"]


def batched(observation):
    """Returns an observation with a first axis of one episode."""
    if isinstance(observation, Mapping):
        return {name: batched(value) for name, value in observation.items()}
    return np.asarray(observation)[None]


def record_episodes(
    weak: str | PathLike, layer: str, environments: Iterable, seeds: Iterable[int], *, n_action_steps: int = 10, device: str = "cpu"
) -> dict:
    """Runs one episode of a pretrained LeRobot policy for each environment and seed; returns the columns that `fit_probe` takes.

    `layer` is a module of the policy by its name in `named_modules()`. The environments are gymnasium's, with observations as LeRobot's
    environments give them, and with `info["is_success"]`; an attribute `task_description` is the instruction. A seed is a start.
    """
    from lerobot.envs.utils import preprocess_observation
    from lerobot.processor.env_processor import LiberoProcessorStep

    processed = LiberoProcessorStep().observation
    inner = Inner(Path(weak), device, n_action_steps)
    seeds = list(seeds)
    with ActivationRecorder(inner.module(layer)) as recorder:
        for number, environment in enumerate(environments):
            task = getattr(environment, "task_description", "")
            for seed in seeds:
                observation, info = environment.reset(seed=seed)
                recorder.begin(task=task or number, start=seed)
                step, ended = 0, False
                while not ended:
                    actions = inner.chunk(processed(preprocess_observation(batched(observation))) | {"task": [task]})
                    recorder.boundary(step)
                    for action in actions:
                        observation, _, terminated, truncated, info = environment.step(action[0].numpy())
                        step, ended = step + 1, terminated or truncated
                        if ended:
                            break
                recorder.end(bool(info["is_success"]))
        return recorder.columns()
