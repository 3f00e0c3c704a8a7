#!/usr/bin/env python3
"""Drives native LIBERO episodes over Zenoh for a set time and accounts for every missed period, fault and kilobyte.
Owns the order of the run and its figures; the two processes are `aegis sim serve` and `aegis run`, started as a user would.

  python3 controller/runtime/soak/soak.py --aegis target/release/aegis --minutes 60 --rate 200 --out soak.json
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
ROBOT = REPOSITORY / "controller/libero.toml"
SAMPLE_SEED = 20261125
TASKS, FIRST, SAMPLED = 10, 50, 500
SAMPLE_S = 10.0
# Timeouts of the shipped robot file, in control periods at 20 Hz.
PATIENCE_STEPS = {"stale_steps": 3, "weak_misses": 3, "strong_patience_steps": 4}
# An upper bound: an episode of 220 periods takes about a second at 200 Hz, and its reset as long again.
EPISODES_PER_MINUTE = 120


def main() -> None:
    args = arguments()
    aegis = args.aegis.resolve()
    with tempfile.TemporaryDirectory(prefix="aegis-soak-") as folder:
        folder = Path(folder)
        serve = [str(aegis), "sim", "serve", "--name", "libero", "--sample-seed", str(SAMPLE_SEED)]
        serve += ["--rate", str(args.rate), "--listen", "tcp/127.0.0.1:0"]
        plant = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        warnings: list[str] = []
        threading.Thread(target=lambda: warnings.extend(plant.stderr), daemon=True).start()
        try:
            endpoint = plant.stdout.readline().split(" at ")[1].strip()
            robot = folder / "robot.toml"
            robot.write_text(robot_file(args, endpoint))
            report = drive(aegis, robot, folder, plant.pid, args)
        finally:
            plant.terminate()
            plant.wait()
        report["plant_warnings"] = [text.strip() for text in warnings]
        check = subprocess.run([aegis, "replay", "--check", folder / "record"], capture_output=True, text=True)
        report["replay_check"] = {"exit": check.returncode, "said": (check.stdout + check.stderr).strip()}
    text = json.dumps(report, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)
    sys.exit(0 if report["exit"] in (0, 5) and check.returncode == 0 else 1)


def robot_file(args: argparse.Namespace, endpoint: str) -> str:
    """Returns the shipped robot file at another rate, with more starts than the soak needs."""
    starts = range(max(int(args.minutes * EPISODES_PER_MINUTE), 10))
    place = lambda i: f"{{ task = {i % TASKS}, initial_state = {FIRST + i // TASKS % SAMPLED} }}"
    text = ROBOT.read_text().replace("../policies", str(REPOSITORY / "policies"))
    values = {
        "starts": "[" + ", ".join(map(place, starts)) + "]",
        "connect": json.dumps(endpoint),
        "rate_hz": str(args.rate),
        "priority": str(args.priority),
        # The same timeouts in seconds as in the shipped file, in control periods of this rate.
        **{key: str(steps * args.rate // 20) for key, steps in PATIENCE_STEPS.items()},
    }
    for key, value in values.items():
        text, found = re.subn(rf"^{key} = (\[\n.*?^\]|.*?$)", f"{key} = {value}", text, flags=re.M | re.S)
        if found != 1:
            sys.exit(f"{ROBOT}: {key} is there {found} times")
    read = tomllib.loads(text)
    assert read["control"]["rate_hz"] == args.rate and read["connect"] == endpoint
    return text


def drive(aegis: Path, robot: Path, folder: Path, plant: int, args: argparse.Namespace) -> dict:
    """Runs the controller for the set time, samples both processes meanwhile, and returns the report."""
    record = folder / "record"
    stolen, begin = steal(), time.monotonic()
    with open(folder / "said", "w") as said:
        run = subprocess.Popen(
            [aegis, "run", robot, "--out", record, "--exit-on-stop", "--auto-start", "--json"],
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    samples, waited = [], {}
    while run.poll() is None and time.monotonic() - begin < args.minutes * 60:
        waited = scheduled(run.pid) or waited
        controller, simulator = resident_kib(run.pid), resident_kib(plant)
        if controller and simulator:
            samples.append({"s": round(time.monotonic() - begin), "run": controller, "plant": simulator})
        time.sleep(SAMPLE_S)
    if run.poll() is None:
        run.terminate()
    code = run.wait(timeout=60)
    summary = json.loads((record / "summary.json").read_text())
    ends = summary.pop("episodes")
    return {
        "exit": code,
        "seconds": round(time.monotonic() - begin, 1),
        "rate_hz": args.rate,
        "priority": args.priority,
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "kernel": platform.release()},
        "episodes": {end: ends.count(end) for end in sorted(set(ends))},
        "record_bytes": (record / "run.aegis").stat().st_size,
        "resident_kib": thinned(samples),
        "stolen_by_the_hypervisor_s": round(steal() - stolen, 2),
        "control_thread": waited,
        **summary,
    }


def thinned(samples: list[dict], most: int = 25) -> list[dict]:
    step = max(1, -(-len(samples) // most))
    return samples[::step] + samples[-1:] if samples else []


def resident_kib(pid: int) -> int:
    try:
        return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])
    except (OSError, TypeError):
        return 0


def scheduled(pid: int) -> dict:
    """Returns the kernel's figures of the control thread: seconds on a core, seconds runnable without a core, times it ran."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            if (task / "comm").read_text().strip() == "control":
                on, waiting, times = map(int, (task / "schedstat").read_text().split())
                return {"on_core_s": on / 1e9, "runnable_without_core_s": waiting / 1e9, "times": times}
        except OSError:
            continue
    return {}


def steal() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def cpu() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aegis", type=Path, default=REPOSITORY / "target/release/aegis", help="the program")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=200, help="control periods per second")
    parser.add_argument("--priority", type=int, default=0, help="real-time priority of the control thread; 0: none")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON, besides standard output")
    return parser.parse_args()


if __name__ == "__main__":
    main()
