"""Times this control loop beside LeRobot's asynchronous server and openpi's websocket server, with no-op policies.
Owns the order of the runs and the figures; `peer_lerobot.py` and `peer_openpi.py` own the inputs of their peers."""

import argparse
import json
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAYLOADS = {"state": [], "state+pictures": ["--pictures"]}
# Variants of each peer, with the largest number of observations: LeRobot as shipped sleeps for 33 ms in every reply.
VARIANTS = {"lerobot": {"lean": None, "usual": None, "as-shipped": 500}, "openpi": {"as-shipped": None}}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
METHOD = {
    "clock": "time.perf_counter_ns of the client: observation in hand to chunk in hand, less the policy's time",
    "order": "one observation at a time; the next is shown once the last one's actions are taken",
    "placement": "server and client a process each on 127.0.0.1, pinned to no core",
    "quantiles": "nearest rank",
}
DRIVE_S = 900


def main() -> None:
    args = arguments()
    rows = ours(args) if args.aegis else []
    for peer, python in (("lerobot", args.lerobot_python), ("openpi", args.openpi_python)):
        if not python:
            print(f"{peer} is skipped: --{peer}-python names no interpreter", file=sys.stderr)
            continue
        for variant, most in VARIANTS[peer].items():
            for payload in PAYLOADS:
                times = min(args.times, most or args.times)
                rows.append(measure(args, peer, python, variant, payload, times))
                print(line(rows[-1]), file=sys.stderr, flush=True)
    if args.json:
        report = {"machine": machine(), "method": METHOD | {"warmup": args.warmup}, "rows": rows}
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join([HEAD, *map(line, rows)]))


def ours(args: argparse.Namespace) -> list[dict]:
    """Times this control loop with the same observation without pictures, free-running at 200 Hz, so that each observation
    is answered before the next."""
    seconds = math.ceil(args.times / 200)
    command = [args.aegis.absolute(), "bench", "loop", "--rate", "200", "--pace", "observation", "--json"]
    found = json.loads(subprocess.check_output([*command, "--seconds", str(seconds)]))
    spans = {"round trip": "round_trip_us", "loop": "observation_to_command_us"}
    rows = []
    for variant, key in spans.items():
        figures = {name: found[key][name] for name in QUANTILES}
        rows.append({"peer": "aegis", "variant": variant, "payload": "state", "n": found[key]["n"], "overhead_us": figures})
        print(line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def measure(args: argparse.Namespace, peer: str, python: Path, variant: str, payload: str, times: int) -> dict:
    """Runs one server and one client from start to end and returns their figures."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        options = ["--port", str(free_port()), "--variant", variant]
        if peer == "openpi":
            options += ["--source", str(args.openpi_src.resolve())]
        drive = [*options, "--warmup", str(args.warmup), "--times", str(times), *PAYLOADS[payload]]
        server = start(scratch, python, peer, "serve", options)
        client = start(scratch, python, peer, "drive", drive)
        try:
            code = client.wait(DRIVE_S)
        finally:
            client.kill()
            server.terminate()
            server.wait()
            client.wait()
        # LeRobot's client can abort while it is torn down, after its figures have been written.
        if code and not (scratch / "drive.json").is_file():
            logs = "\n".join(
                (scratch / f"{side}.log").read_text(errors="replace")[-2000:] for side in ("serve", "drive")
            )
            raise SystemExit(f"{peer}, {variant}, {payload}: the client ended with {code}\n{logs}")
        found = json.loads((scratch / "drive.json").read_text())
        round_trips = found.pop("round_trips_ns")
        # LeRobot's replies do not carry the policy's duration, so its server writes all durations at its end, in order.
        policy = found.pop("policy_ns", None) or json.loads((scratch / "serve.json").read_text())
    if len(policy) != len(round_trips):
        raise SystemExit(f"{peer}: {len(round_trips)} observations were sent, the policy saw {len(policy)}")
    overheads = [whole - part for whole, part in zip(round_trips, policy, strict=True)][args.warmup :]
    row = {"peer": peer, "variant": variant, "payload": payload, "n": len(overheads)}
    return row | {"overhead_us": figures(overheads), "policy_us": figures(policy[args.warmup :])} | found


def start(scratch: Path, python: Path, peer: str, side: str, options: list[str]) -> subprocess.Popen:
    """Starts a process in a scratch folder: LeRobot writes logs into the working directory and calibrations into its home."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_HOME": str(scratch / "home"), "HF_HUB_OFFLINE": "1"}
    command = [python.absolute(), HERE / f"peer_{peer}.py", side, *options, "--report", scratch / f"{side}.json"]
    with (scratch / f"{side}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=scratch, env=environment, stdout=log, stderr=log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def figures(nanoseconds: list[int]) -> dict[str, float]:
    """Returns the quantiles of durations, in microseconds."""
    ranked = sorted(nanoseconds)
    return {name: ranked[max(math.ceil(share * len(ranked)), 1) - 1] / 1000.0 for name, share in QUANTILES.items()}


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_at_end": os.getloadavg(),
    }


HEAD = f"{'peer':<8} {'variant':<11} {'payload':<15} {'n':>5}" + "".join(f"{name:>10}" for name in QUANTILES) + "  µs"


def line(row: dict) -> str:
    cells = [f"{row['overhead_us'][name]:>10.1f}" for name in QUANTILES]
    return f"{row['peer']:<8} {row['variant']:<11} {row['payload']:<15} {row['n']:>5}" + "".join(cells)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aegis", type=Path, help="the binary, for our rows")
    parser.add_argument("--lerobot-python", type=Path, help="interpreter with requirements-lerobot.txt")
    parser.add_argument("--openpi-python", type=Path, help="interpreter with requirements-openpi.txt")
    parser.add_argument(
        "--openpi-src", type=Path, help="clone of Physical-Intelligence/openpi: its server is in no package"
    )
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--times", type=int, default=5000)
    args = parser.parse_args()
    if args.times < 1 or args.warmup < 0:
        parser.error(f"--times {args.times} --warmup {args.warmup}: valid are at least 1 and at least 0")
    if not (args.aegis or args.lerobot_python or args.openpi_python):
        parser.error("nothing to time: valid is any of --aegis, --lerobot-python, and --openpi-python with --openpi-src")
    if args.openpi_python and not args.openpi_src:
        print("openpi's server is in no package: without --openpi-src it cannot run", file=sys.stderr)
        args.openpi_python = None
    elif args.openpi_src and not (args.openpi_src / "src/openpi/serving/websocket_policy_server.py").is_file():
        parser.error(f"{args.openpi_src}: not a clone of Physical-Intelligence/openpi")
    return args


if __name__ == "__main__":
    main()
