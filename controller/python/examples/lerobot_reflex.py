"""A reflex of two LeRobot policies on native LIBERO: record the weak one, fit its probe, write the folder that lerobot-eval takes.

    python lerobot_reflex.py WEAK STRONG OUT [LAYER]

WEAK and STRONG are folders of pretrained LeRobot policies that read `observation.state` and `observation.environment_state`, as
docs/guide/lerobot.md trains one; for policies that read pictures, change `names` and `cameras`. LAYER is a module of the weak policy.
"""

import sys

from aegis_libero import LiberoEnv
from aegis_reflex import evaluate, fit_probe
from aegis_reflex.lerobot import ReflexConfig, ReflexPolicy, record_episodes

HORIZON, CHUNK = 220, 10

weak, strong, out = sys.argv[1:4]
layer = sys.argv[4] if len(sys.argv) > 4 else "model.decoder.layers.0"
environments = [LiberoEnv("libero_spatial", task, names="poses", settle_steps=10, horizon=HORIZON) for task in range(10)]

# Initial states 0 to 21 to fit on and to set thresholds on, 22 to 29 to judge; lerobot-eval gets those from 30 on.
rows = record_episodes(weak, layer, environments, range(22), n_action_steps=CHUNK)
fit_probe(rows, f"{out}.probe.json", horizon_steps=HORIZON, chunk_steps=CHUNK, head="mlp")
others = record_episodes(weak, layer, environments, range(22, 30), n_action_steps=CHUNK)
for name, found in evaluate(f"{out}.probe.json", others).items():
    print(f"AUROC {name}: {found.estimate:.3f} [{found.lower:.3f}, {found.upper:.3f}]")

limits = {"horizon_steps": HORIZON, "hold_chunks": 6}
config = ReflexConfig(weak=weak, strong=strong, probe=f"{out}.probe.json", layer=layer, limits=limits, device="cpu")
ReflexPolicy(config).save_pretrained(out)
print(f"{out}: lerobot-eval takes it as --policy.path={out}")
