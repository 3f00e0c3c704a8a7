"""A probe from a PyTorch policy of one's own: record activations by a forward hook, fit, judge.

    pip install torch
    python probe_from_pytorch.py

The policy here is a small network that is trained to steer to a mark, on marks to the right alone: it fails on the left. Replace
`policy` by yours, `policy[1]` by one of its modules, and the loop by your plant.
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

from aegis_reflex import ActivationRecorder, evaluate, fit_probe

HORIZON, CHUNK = 60, 5  # Control steps of an episode, and of a chunk.

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
for _ in range(300):
    mark, position = torch.rand(256, 1), 2 * torch.rand(256, 1) - 1
    loss = nn.functional.mse_loss(policy(torch.cat([position, mark], dim=1)), 0.05 * torch.sign(mark - position))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def record(seeds: range) -> dict:
    """Runs an episode for each seed; returns the columns that `fit_probe` takes."""
    with ActivationRecorder(policy[1]) as recorder, torch.inference_mode():
        for seed in seeds:
            mark = float(2 * torch.rand(1, generator=torch.Generator().manual_seed(seed)) - 1)
            position, reached = 0.0, False
            recorder.begin(task="go to the mark", start=seed)
            for step in range(0, HORIZON, CHUNK):
                velocity = float(policy(torch.tensor([[position, mark]])))
                recorder.boundary(step)
                for _ in range(CHUNK):
                    position += velocity
                    reached = reached or abs(mark - position) < 0.05
            recorder.end(reached)
        return recorder.columns()


with tempfile.TemporaryDirectory() as folder:
    probe = Path(folder) / "probe.json"
    fit_probe(record(range(300)), probe, horizon_steps=HORIZON, chunk_steps=CHUNK)
    others = record(range(1000, 1200))
    found = evaluate(probe, others)["overall"]
lost = sum(~others["success"]) // (HORIZON // CHUNK)
print(f"of 200 other episodes {lost} failed; AUROC of the early score {found.estimate:.3f} [{found.lower:.3f}, {found.upper:.3f}]")
