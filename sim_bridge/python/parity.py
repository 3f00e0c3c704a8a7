"""Holds the native runtime against upstream LIBERO and writes what it finds as a page of tables.

    python parity.py --suite libero_spatial --aegis target/release/aegis --demonstrations D.safetensors --out parity.md

Per task: one rollout of 220 random actions, and undisturbed demonstrations of `aegis collect` replayed by both, and by upstream twice.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from upstream import SEED, open_suite, open_task

NULL = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]
SETTLE = 10  # Control steps before the first action, and again after the last.
HORIZONS = (1, 10, 50, 220)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--aegis", type=Path, required=True, help="the binary")
    parser.add_argument("--demonstrations", type=Path, required=True, help="written by `aegis collect`, no --rate")
    parser.add_argument("--per-task", type=int, default=8, help="demonstrations to replay for each task")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    suite = open_suite(arguments.suite)
    demonstrations = read_demonstrations(arguments.demonstrations, suite.get_num_tasks())
    rows = []
    for task in range(suite.get_num_tasks()):
        env = open_task(suite, task)
        states = suite.get_task_init_states(task)
        noise = np.random.default_rng(task).normal(0.0, 0.5, (max(HORIZONS), 7)).clip(-1.0, 1.0)
        rollout, _ = upstream_rollout(env, states[0], noise)
        wander = difference(native_rollout(arguments, task, 0, noise)[0], rollout)
        ours, theirs = Tally(), Tally()
        for init, actions in demonstrations[task][: arguments.per_task]:
            reference, met = upstream_rollout(env, states[init], actions)
            ours.add(reference, met, *native_rollout(arguments, task, init, actions))
            theirs.add(reference, met, *upstream_rollout(env, states[init], actions))
        cells = [f"{wander[h]:.0e}" for h in HORIZONS] + [f"{d:.0e}" for d in ours.worst]
        rows.append(f"| {task} | " + " | ".join(cells + [ours.agreement(), theirs.agreement()]) + " |")
        print(rows[-1], flush=True)
    arguments.out.write_text(page(arguments.suite, arguments.per_task, rows))


class Tally:
    """How replayed demonstrations of one task compare with their first upstream rollout."""

    def __init__(self):
        self.worst, self.parted, self.same, self.count = [0.0] * 3, 0, 0, 0

    def add(self, reference, met, states, also_met) -> None:
        found = difference(states, reference)
        self.worst = [max(a, found[min(h, len(found) - 1)]) for a, h in zip(self.worst, HORIZONS)]
        self.parted += bool(found.max() > 1e-6)
        self.same += met == also_met
        self.count += 1

    def agreement(self) -> str:
        return f"{self.parted} | {self.same} of {self.count}"


def difference(states, reference):
    """Largest difference after each step; both float64[steps + 1, nq]."""
    return np.abs(states - reference).max(axis=1)


def upstream_rollout(env, state, actions):
    """Positions after each step, and whether the goal was met."""
    env.seed(SEED)
    env.reset()
    env.set_init_state(state)
    positions = slice(1, 1 + env.sim.model.nq)
    rows, met = [env.get_sim_state()[positions]], False
    for action in actions:
        met |= bool(env.step(action)[2])
        # Upstream refuses to step a finished episode; the comparison goes on.
        env.env.done = False
        rows.append(env.get_sim_state()[positions])
    return np.asarray(rows), met


def native_rollout(arguments, task, init, actions):
    """The same by the native runtime."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/actions.npy", actions)
        command = ["sim", "rollout", "--suite", arguments.suite, "--task", str(task), "--init", str(init), "--json"]
        files = ["--actions", f"{folder}/actions.npy", "--states", f"{folder}/states.npy"]
        printed = subprocess.run([arguments.aegis, *command, *files], check=True, capture_output=True, text=True)
        outcome = json.loads(printed.stdout)
        states = np.load(f"{folder}/states.npy")
    return states[:, 1 : 1 + outcome["positions"]], outcome["success_at"] is not None


def read_demonstrations(path: Path, tasks: int):
    """Per task, (initial state, actions with the settling steps in front). The file holds episodes task by task."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    types = {"F32": np.float32, "U8": np.uint8, "I64": np.int64}

    def column(name):
        begin, end = header[name]["data_offsets"]
        values = np.frombuffer(raw[8 + size + begin : 8 + size + end], types[header[name]["dtype"]])
        return values.reshape(header[name]["shape"])

    if not column("clean").all():
        raise SystemExit(f"{path}: clean: found disturbed steps; collect without --rate")
    found = [[] for _ in range(tasks)]
    for episode in np.unique(column("episode")):
        actions = column("action")[column("episode") == episode].astype(np.float64)
        # The last action goes on for a while, so that a goal met a little later still counts.
        actions = np.concatenate([[NULL] * SETTLE, actions, [actions[-1]] * SETTLE])
        found[episode % tasks].append((int(episode) // tasks, actions))
    return found


def page(suite: str, per_task: int, rows) -> str:
    head = " | ".join(str(h) for h in HORIZONS)
    return f"""# Parity with upstream: {suite}

Written by `sim_bridge/python/parity.py`. Largest difference in `qpos` (metres, radians, quaternion components) between
the native runtime and upstream LIBERO after so many control steps, from the same initial state under the same actions.

| task | random: {head} | demonstrations: 1 | 10 | 50 | beyond 1e-6 | same outcome | upstream again: beyond 1e-6 | same outcome |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

*Random* is one rollout of {max(HORIZONS)} actions, normal with a standard deviation of 0.5. *Demonstrations* are the
first {per_task} of each task, replayed from their first settling step on. *Beyond 1e-6* counts those in which the
difference ever exceeded that; *same outcome*, those in which both sides met the goal or neither did. *Upstream again* is
upstream held against itself: the same environment, seed, initial state and actions, run a second time. It is the
yardstick for the native columns, for contact amplifies differences in the last bits.

    aegis collect --out runs/demonstrations.safetensors --seed 1
    "$AEGIS_CACHE"/python/*/bin/python sim_bridge/python/parity.py --suite {suite} --aegis target/release/aegis \\
        --demonstrations runs/demonstrations.safetensors --out docs/parity.md
"""


if __name__ == "__main__":
    main()
