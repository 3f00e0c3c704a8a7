"""A PyTorch module that learns LIBERO-Spatial from demonstrations, and serves itself to AEGIS from a process of its own.

    python torch_policy.py train --data demonstrations.safetensors --out module.pt
    python torch_policy.py serve --module module.pt --listen tcp/127.0.0.1:7450

It is an example of docs/guide/python-policy.md: nothing of it is exported, and the probe reads a hidden layer through a
forward hook. To serve a module of your own, replace `Module`, `inputs` and the class attributes of `Served`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[2] / "sim_bridge/link/python"))

from aegis_policy import Policy, PooledActivation, digest  # noqa: E402
from aegis_serve_policy import serve  # noqa: E402

HORIZON, WIDTH, TASKS, UNITS = 10, 7, 10, 96
OBJECTS = ["akita_black_bowl_1", "akita_black_bowl_2", "cookies_1", "glazed_rim_porcelain_ramekin_1", "plate_1"]
# What the module reads, by the plant's names, and where `aegis demonstrate` writes it in its vector of 88 numbers.
COLUMNS = {
    "eef_position": slice(0, 3),
    "gripper_positions": slice(9, 11),
    "joint_positions": slice(11, 18),
    **{f"object/{name}/position": slice(18 + 12 * index, 21 + 12 * index) for index, name in enumerate(OBJECTS)},
}
TASK = slice(78, 88)  # One-hot.
INPUTS = sum(found.stop - found.start for found in COLUMNS.values()) + TASKS
EPISODES, EPOCHS, BATCH, RATE = 100, 40, 256, 1e-3


class Module(nn.Module):
    """float32[batch, INPUTS] → actions float32[batch, HORIZON, WIDTH]."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("scale", torch.ones(INPUTS))
        self.trunk = nn.Sequential(nn.Linear(INPUTS, UNITS), nn.GELU(), nn.Linear(UNITS, UNITS), nn.GELU())
        self.head = nn.Linear(UNITS, HORIZON * WIDTH)

    def forward(self, values):
        return self.head(self.trunk((values - self.mean) / self.scale)).reshape(-1, HORIZON, WIDTH)


def inputs(observation) -> torch.Tensor:
    """Returns what the module reads of an observation, float32[1, INPUTS]."""
    parts = [observation.values[name] for name in COLUMNS] + [np.eye(TASKS)[observation.task]]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))[None]


def demonstrated(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns inputs and chunks of the demonstrations, without the steps in which something else was sent. The first
    EPISODES of the file are read, in equal numbers for each task; a chunk past an episode's end repeats its last action."""
    from demonstrations import read_episodes

    columns = np.concatenate([np.r_[found] for found in (*COLUMNS.values(), TASK)])
    rows, chunks, taken = [], [], dict.fromkeys(range(TASKS), 0)
    for episode in read_episodes(data):
        task = int(episode.observation[0, TASK].argmax())
        if taken[task] == EPISODES // TASKS:
            continue
        taken[task] += 1
        last = len(episode.action) - 1
        ahead = np.minimum(np.arange(last + 1)[:, None] + np.arange(HORIZON), last)
        sent = episode.clean[ahead].all(axis=1)
        rows.append(episode.observation[sent][:, columns])
        chunks.append(episode.action[ahead][sent])
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(chunks))


def train(data: Path, out: Path) -> None:
    """Trains by the mean absolute error, with Adam and a cosine decay, and writes the weights."""
    torch.manual_seed(1)
    observed, chunks = demonstrated(data)
    module = Module()
    module.mean.copy_(observed.mean(0))
    # Values that hardly vary in training would otherwise become very large at run time.
    module.scale.copy_(observed.std(0).clamp(min=0.01))
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    batches = len(observed) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(observed))[: batches * BATCH].reshape(batches, BATCH):
            loss = (module(observed[batch]) - chunks[batch]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.save(module.state_dict(), out)
    print(f"{out}: {len(observed)} chunks, last loss {loss.item():.4f}")


class Served(Policy):
    """The module as a weak policy. A forward hook keeps the trunk's output for the probe."""

    horizon, width, activation = HORIZON, WIDTH, (1, UNITS)
    features = list(COLUMNS)
    names = ["delta_x", "delta_y", "delta_z", "delta_rotation_x", "delta_rotation_y", "delta_rotation_z", "gripper"]
    remembers = False

    def __init__(self, weights: Path):
        self.model = digest(weights)
        self.module = Module().eval()
        self.module.load_state_dict(torch.load(weights, weights_only=True))
        self.pooled = PooledActivation(self.module.trunk)

    @torch.inference_mode()
    def infer(self, observation):
        actions = self.module(inputs(observation))[0].numpy()
        # The gripper's values lie between its two commands until they are rounded.
        actions[:, -1] = np.where(actions[:, -1] > 0.0, 1.0, -1.0)
        return actions.clip(-1.0, 1.0), self.pooled.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train", help="learn from demonstrations")
    training.add_argument("--data", type=Path, required=True, help="file that `aegis demonstrate` wrote")
    training.add_argument("--out", type=Path, required=True, help="where the weights go")
    serving = verbs.add_parser("serve", help="serve the module as a policy")
    serving.add_argument("--module", type=Path, required=True, help="weights that `train` wrote")
    serving.add_argument("--name", default="torch", help="name of the policy (default: %(default)s)")
    serving.add_argument("--listen", default="tcp/127.0.0.1:7450", metavar="tcp/127.0.0.1:PORT")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if given.verb == "train":
        train(given.data, given.out)
    else:
        serve(lambda: Served(given.module), given.name, given.listen)


if __name__ == "__main__":
    main()
