"""Template for serving a policy of your own: replace `load` and the two methods. Needs `eclipse-zenoh`, `msgpack` and `numpy`.

    python serve_policy.py --name mine --listen tcp/127.0.0.1:7450
    aegis model card tcp/127.0.0.1:7450 --out mine.toml        # then use mine.toml as any other card

The policy in this template is a random linear map of the joint positions.
"""

import argparse
import hashlib

import numpy

from aegis_policy import Policy
from aegis_serve_policy import arguments, serve

HORIZON, WIDTH, JOINTS = 16, 7, 7


def load() -> numpy.ndarray:
    """REPLACE: load your module and its weights, once. Here: random weights, float32 `[HORIZON * WIDTH, JOINTS]`."""
    return numpy.random.default_rng(0).normal(0.0, 0.1, (HORIZON * WIDTH, JOINTS)).astype(numpy.float32)


WEIGHTS = load()


class Mine(Policy):
    """REPLACE: what the policy reads, by the plant's names, and what it returns."""

    model = hashlib.sha256(WEIGHTS.tobytes()).hexdigest()  # For files: `aegis_policy.digest("model.safetensors")`.
    horizon, width = HORIZON, WIDTH
    features = ["joint_positions"]
    cameras = {}  # {"agentview": (128, 128)}: height and width of each picture that it reads
    activation = (1, HORIZON * WIDTH)  # Tokens and width of what a probe reads; (0, 0) for a strong policy.
    remembers = False  # Whether `infer` depends on earlier observations of the episode.

    def reset(self, seed: int) -> None:
        """Begins an episode; draw noise from `seed`, or a run cannot be repeated."""

    def infer(self, observation):
        hidden = WEIGHTS @ observation.values["joint_positions"].astype(numpy.float32)
        # With PyTorch: `self.pooled = aegis_policy.PooledActivation(module.encoder)`, and then `self.pooled.value` here.
        return numpy.tanh(hidden).reshape(HORIZON, WIDTH), hidden


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    serve(Mine, **arguments(parser, "mine"))
