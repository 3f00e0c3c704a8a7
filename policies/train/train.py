"""Train one chunked policy from demonstrations and export it to ONNX with its card.

    python train.py weak --data demos.safetensors --out ../models/weak
    python train.py strong --data demos.safetensors recoveries.safetensors --out ../models/strong

The same data, seed and package versions give the same weights on the same kind of processor.
"""

import argparse
import json
import platform
import random
from pathlib import Path

import numpy as np
import torch
from onnx_file import sha256, strip
from safetensors.numpy import load_file
from torch import nn

HORIZON = 10
ACTION = 7
LAYOUT = "libero-lowdim-v1"

# Weak is weak because it is small and saw little, not because it was broken.
PRESETS = {
    "weak": dict(width=64, blocks=1, token=64, epochs=60, batch=256, rate=1e-3, decay=1e-4, demonstrations=40),
    "strong": dict(width=384, blocks=3, token=96, epochs=16, batch=1024, rate=1e-3, decay=1e-4, demonstrations=None),
}


class Block(nn.Module):
    """Pre-norm residual MLP block."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))


class ChunkPolicy(nn.Module):
    """float32[batch, features] → actions float32[batch, 10, 7] and action tokens float32[batch, 10, token].

    A residual trunk reads the state once; one token per control step of the chunk is unfolded from it, and a head
    shared by all tokens turns each into an action. The tokens are the tensor that a probe watches.
    """

    def __init__(self, mean, scale, width, blocks, token):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.token = token
        self.stem = nn.Linear(len(mean), width)
        self.trunk = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.unfold = nn.Linear(width, HORIZON * token)
        self.head = nn.Linear(token, ACTION)

    def forward(self, observation):
        x = self.stem((observation - self.mean) / self.scale)
        x = self.norm(self.trunk(x))
        tokens = nn.functional.gelu(self.unfold(x)).reshape(-1, HORIZON, self.token)
        return self.head(tokens), tokens


def load(paths, limit):
    """Windows of HORIZON control steps in which the expert drove undisturbed.

    A window that runs past the end of its episode repeats the last action. `limit` keeps the first so many
    demonstrations, spread evenly over the tasks.
    """
    observations, chunks = [], []
    for path in paths:
        data = load_file(path)
        episodes = np.unique(data["episode"])
        if limit is not None:
            task_of = {e: int(data["task"][np.argmax(data["episode"] == e)]) for e in episodes}
            tasks = sorted(set(task_of.values()))
            kept = [[e for e in episodes if task_of[e] == t][: -(-limit // len(tasks))] for t in tasks]
            episodes = [e for task in kept for e in task]
        for episode in episodes:
            rows = np.flatnonzero(data["episode"] == episode)
            clean, action = data["clean"][rows], data["action"][rows]
            for start in range(len(rows)):
                window = np.minimum(np.arange(start, start + HORIZON), len(rows) - 1)
                if clean[window].all():
                    observations.append(data["observation"][rows[start]])
                    chunks.append(action[window])
    return torch.from_numpy(np.stack(observations)), torch.from_numpy(np.stack(chunks))


def fit(policy, observations, chunks, preset, seed):
    """AdamW with cosine decay on the mean absolute error; returns the loss of each epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=preset["rate"], weight_decay=preset["decay"])
    batches = max(1, len(observations) // preset["batch"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, preset["rate"], total_steps=preset["epochs"] * batches, pct_start=0.05
    )
    losses = []
    for epoch in range(preset["epochs"]):
        order = torch.randperm(len(observations), generator=generator)
        total = 0.0
        for batch in order[: batches * preset["batch"]].reshape(batches, -1) if batches > 1 else [order]:
            loss = (policy(observations[batch])[0] - chunks[batch]).abs().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / batches)
        print(f"epoch {epoch + 1:3d}/{preset['epochs']}  loss {losses[-1]:.5f}", flush=True)
    return losses


def export(policy, name, out, features):
    """One self-contained ONNX file: weights inside, fixed shapes, the tokens as a second output for the weak one."""
    outputs = ["actions", "action_tokens"] if name == "weak" else ["actions"]

    class Exported(nn.Module):
        def __init__(self):
            super().__init__()
            self.policy = policy

        def forward(self, observation):
            actions, tokens = self.policy(observation)
            return (actions, tokens) if name == "weak" else actions

    path = out.with_suffix(".onnx")
    torch.onnx.export(
        Exported().eval(),
        (torch.zeros(1, features),),
        str(path),
        input_names=["observation"],
        output_names=outputs,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    strip(path)
    return path


def card(name, path, policy, preset, args, rows, losses, features):
    """The machine-readable card; the loader refuses weights with another digest."""
    digest = sha256(path)
    parameters = sum(p.numel() for p in policy.parameters())
    sampled = [round(loss, 5) for loss in losses[:: max(1, len(losses) // 10)]] + [round(losses[-1], 5)]
    data = [{"file": p.name, "sha256": sha256(p)} for p in args.data]
    lines = [
        f"# Written by policies/train/train.py; the {name} policy.",
        f"file = {json.dumps(path.name)}",
        f'sha256 = "{digest}"',
        "",
        "[observation]",
        'tensor = "observation"',
        f'layout = "{LAYOUT}"',
        f"width = {features}",
        "",
        "[chunk]",
        'tensor = "actions"',
        f"horizon = {HORIZON}",
        f"width = {ACTION}",
    ]
    if name == "weak":
        lines += ["", "[activation]", 'tensor = "action_tokens"', f"tokens = {HORIZON}", f"width = {preset['token']}"]
    lines += [
        "",
        "[training]",
        f'architecture = "residual MLP, width {preset["width"]}, {preset["blocks"]} block(s), '
        f'{HORIZON} action tokens of {preset["token"]}"',
        f"parameters = {parameters}",
        f"seed = {args.seed}",
        f"windows = {rows}",
        f"epochs = {preset['epochs']}",
        f"batch = {preset['batch']}",
        f"learning_rate = {preset['rate']}",
        f"weight_decay = {preset['decay']}",
        'loss = "mean absolute error"',
        f"loss_curve = {json.dumps(sampled)}",
        f'torch = "{torch.__version__.split("+")[0]}"',
        f'python = "{platform.python_version()}"',
    ]
    if preset["demonstrations"] is not None:
        lines.append(f"demonstrations = {preset['demonstrations']}")
    for entry in data:
        lines += ["", "[[training.data]]", f"file = {json.dumps(entry['file'])}", f'sha256 = "{entry["sha256"]}"']
    path.with_suffix(".toml").write_text("\n".join(lines) + "\n")
    return digest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=PRESETS)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files that `aegis demonstrate` wrote")
    parser.add_argument("--out", type=Path, required=True, help="path of the model without its suffix")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    args = parser.parse_args()

    preset = dict(PRESETS[args.policy])
    if args.epochs:
        preset["epochs"] = args.epochs
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)

    observations, chunks = load(args.data, preset["demonstrations"])
    mean = observations.mean(0)
    scale = observations.std(0)
    # A feature that hardly varies would blow up any deviation at run time.
    scale = torch.where(scale > 1e-2, scale, torch.full_like(scale, 1e-2))
    policy = ChunkPolicy(mean, scale, preset["width"], preset["blocks"], preset["token"])
    print(f"{args.policy}: {len(observations)} windows, {sum(p.numel() for p in policy.parameters())} parameters")
    losses = fit(policy, observations, chunks, preset, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    path = export(policy, args.policy, args.out, observations.shape[1])
    digest = card(args.policy, path, policy, preset, args, len(observations), losses, observations.shape[1])
    print(f"{path}: sha256 {digest}")


if __name__ == "__main__":
    main()
