"""Train one chunked policy from demonstrations and export it to ONNX with its card.

    python train.py weak --data demos.safetensors --out ../models/weak
    python train.py strong --data demos.safetensors recoveries.safetensors --out ../models/strong
    python train.py weak_vision --data pictures.safetensors --out ../models/weak_vision
    python train.py weak --data demos.safetensors --interventions corrections.safetensors --out dagger/weak

The same data, seed and package versions give the same weights on the same kind of processor.
"""

import argparse
import json
import platform
import random
from pathlib import Path

import numpy as np
import torch
from networks import ACTION, HORIZON, ChunkPolicy, LookingPolicy
from onnx_file import sha256, strip
from torch import nn
from windows import LOWDIM, PROPRIO, load, load_looks

# The weak policy is weak because it is small and has few demonstrations; nothing is impaired on purpose.
PRESETS = {
    "weak": dict(width=64, blocks=1, token=64, epochs=60, batch=256, rate=1e-3, decay=1e-4, demonstrations=40),
    "strong": dict(width=384, blocks=3, token=96, epochs=16, batch=1024, rate=1e-3, decay=1e-4, demonstrations=None),
    "weak_vision": dict(width=128, blocks=1, token=64, epochs=30, batch=64, rate=1e-3, decay=1e-4, demonstrations=None),
}
# Policies whose tokens are an output of the model, which a probe may read.
WATCHED = ("weak", "weak_vision")


def fit(policy, windows, preset, seed):
    """Trains with AdamW and cosine decay on the mean absolute error. Returns the loss of each epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=preset["rate"], weight_decay=preset["decay"])
    batches = max(1, len(windows) // preset["batch"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, preset["rate"], total_steps=preset["epochs"] * batches, pct_start=0.05
    )
    losses = []
    for epoch in range(preset["epochs"]):
        order = torch.randperm(len(windows), generator=generator)
        total = 0.0
        for batch in order[: batches * preset["batch"]].reshape(batches, -1) if batches > 1 else [order]:
            loss = (policy(*windows.inputs(batch, generator))[0] - windows.chunks[batch]).abs().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / batches)
        print(f"epoch {epoch + 1:3d}/{preset['epochs']}  loss {losses[-1]:.5f}", flush=True)
    return losses


def export(policy, name, out, windows):
    """Writes one self-contained ONNX file: weights inside, fixed shapes, for a watched policy tokens as second output."""
    outputs = ["actions", "action_tokens"] if name in WATCHED else ["actions"]
    pictures = [taken[:1] for taken in windows.cameras.values()]

    class Exported(nn.Module):
        def __init__(self):
            super().__init__()
            self.policy = policy

        def forward(self, observation, *pictures):
            actions, tokens = self.policy(observation, *pictures)
            return (actions, tokens) if name in WATCHED else actions

    path = out.with_suffix(".onnx")
    torch.onnx.export(
        Exported().eval(),
        (torch.zeros(1, windows.observations.shape[1]), *pictures),
        str(path),
        input_names=["observation", *windows.cameras],
        output_names=outputs,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    strip(path)
    return path


def origin(path):
    """Returns the origin (starts) that `aegis demonstrate` wrote beside a file of demonstrations; None if it is missing."""
    beside = path.with_suffix(".origin.json")
    return json.loads(beside.read_text()) if beside.exists() else None


def inline(value):
    """Formats a JSON value as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(member)}" for key, member in value.items()) + " }"
    return json.dumps(value)


def card(name, path, policy, preset, args, windows, losses):
    """Writes the card and returns the digest of the weights. The loader refuses weights with another digest."""
    digest = sha256(path)
    parameters = sum(p.numel() for p in policy.parameters())
    sampled = [round(loss, 5) for loss in losses[:: max(1, len(losses) // 10)]] + [round(losses[-1], 5)]
    eyes = "a small CNN with spatial soft-argmax per camera, " if windows.cameras else ""
    files = [*args.data, *args.interventions]
    data = [{"file": p.name, "sha256": sha256(p), "origin": origin(p)} for p in files]
    lines = [
        f"# Written by policies/train/train.py; the {name} policy.",
        f"file = {json.dumps(path.name)}",
        f'sha256 = "{digest}"',
        "",
        "[observation]",
        'tensor = "observation"',
        f'layout = "{PROPRIO if windows.cameras else LOWDIM}"',
        f"width = {windows.observations.shape[1]}",
        "",
        "[chunk]",
        'tensor = "actions"',
        f"horizon = {HORIZON}",
        f"width = {ACTION}",
    ]
    for camera, taken in windows.cameras.items():
        height, width = taken.shape[1:3]
        lines += ["", "[[frames]]", f'tensor = "{camera}"', f'camera = "{camera}"']
        lines += [f"height = {height}", f"width = {width}"]
    if name in WATCHED:
        lines += ["", "[activation]", 'tensor = "action_tokens"', f"tokens = {HORIZON}", f"width = {preset['token']}"]
    lines += [
        "",
        "[training]",
        f'architecture = "{eyes}residual MLP, width {preset["width"]}, {preset["blocks"]} block(s), '
        f'{HORIZON} action tokens of {preset["token"]}"',
        f"parameters = {parameters}",
        f"seed = {args.seed}",
        f"windows = {len(windows)}",
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
        if entry["origin"] is not None:
            lines.append(f"origin = {inline(entry['origin'])}")
    path.with_suffix(".toml").write_text("\n".join(lines) + "\n")
    return digest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=PRESETS)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files that `aegis demonstrate` wrote")
    parser.add_argument(
        "--interventions", type=Path, nargs="+", default=[], help="files of interventions.py; every window of them counts"
    )
    parser.add_argument("--out", type=Path, required=True, help="path of the model without its suffix")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--demonstrations", type=int, help="number of demonstrations, instead of the preset's")
    args = parser.parse_args()

    preset = dict(PRESETS[args.policy])
    if args.epochs:
        preset["epochs"] = args.epochs
    if args.demonstrations:
        preset["demonstrations"] = args.demonstrations
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)

    if args.policy == "weak_vision":
        if len(args.data) > 1:
            parser.error(f"--data: found {len(args.data)} files; valid is one for {args.policy}")
        if args.interventions:
            parser.error(f"--interventions: found some; valid is none for {args.policy}")
        windows = load_looks(args.data[0])
    else:
        windows = load(args.data, preset["demonstrations"], args.interventions)
    observations = windows.observations
    mean = observations.mean(0)
    scale = observations.std(0)
    # Without a floor, a feature that hardly varies in training would become very large at run time.
    scale = torch.where(scale > 1e-2, scale, torch.full_like(scale, 1e-2))
    shape = (mean, scale, preset["width"], preset["blocks"], preset["token"])
    looks = windows.cameras
    policy = LookingPolicy(*shape, len(looks), windows.size) if looks else ChunkPolicy(*shape)
    print(f"{args.policy}: {len(windows)} windows, {sum(p.numel() for p in policy.parameters())} parameters")
    losses = fit(policy, windows, preset, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    path = export(policy, args.policy, args.out, windows)
    digest = card(args.policy, path, policy, preset, args, windows, losses)
    print(f"{path}: sha256 {digest}")


if __name__ == "__main__":
    main()
