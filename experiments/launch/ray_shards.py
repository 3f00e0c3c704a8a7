#!/usr/bin/env python3
"""A registered study on a Ray cluster: one task a shard, then merged and reported.

    pip install ray
    experiments/launch/ray_shards.py --plan experiments/study.toml --out /shared/study --shards 16 --cpus 8

--out lies on a file system that all nodes see, and so do the repository and AEGIS_CACHE. A task whose node is lost is
started again elsewhere and continues from its store; so does the whole study when the script is called again.
"""

import argparse
import pathlib
import subprocess
import sys

import ray

ROOT = pathlib.Path(__file__).resolve().parents[2]


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"found {text}; valid is a whole number from 1")
    return value


def call(*arguments):
    """Runs aegis and returns its output; on failure the output is the error."""
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=pathlib.Path, default=ROOT / "experiments/study.toml", help="registered plan")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder that all nodes see")
    parser.add_argument("--shards", type=positive, required=True, help="parts, each one task")
    parser.add_argument("--cpus", type=positive, default=1, help="processors and worker threads of a task")
    parser.add_argument("--address", help="of a running cluster; one on this machine when left out")
    parser.add_argument("--aegis", type=pathlib.Path, default=ROOT / "target/release/aegis", help="binary")
    given = parser.parse_args()
    aegis, plan, out = given.aegis.resolve(), given.plan.resolve(), given.out.resolve()
    # A missing file, or a difference from the registration, is reported before any task is queued.
    call(aegis, "plan", "check", plan)
    out.mkdir(parents=True, exist_ok=True)
    # Sets of one division would be in two parts of another.
    division = out / "shards"
    before = division.read_text().strip() if division.exists() else str(given.shards)
    if before != str(given.shards):
        raise RuntimeError(f"--shards: found {given.shards}; valid is {before}, as many as {out} was begun with, or another --out")
    division.write_text(f"{given.shards}\n")
    ray.init(address=given.address, log_to_driver=False)

    # A worker that dies is tried again; an error of aegis itself is not, for it would come again.
    @ray.remote(num_cpus=given.cpus, max_retries=3)
    def shard(index):
        part = out / f"part-{index}"
        name = f"{index}/{given.shards}"
        said = call(aegis, "experiment", "run", "--plan", plan, "--shard", name, "--out", part, "--workers", given.cpus)
        return part, said

    pending = [shard.remote(index) for index in range(1, given.shards + 1)]
    parts = []
    while pending:
        done, pending = ray.wait(pending)
        part, said = ray.get(done[0])
        parts.append(part)
        print(said, flush=True)
    study = out / "study"
    # One that is there was put together by an earlier call, and only when all of it was.
    if not study.exists():
        call(aegis, "experiment", "merge", "--plan", plan, "--out", study, *sorted(parts))
    call(aegis, "experiment", "report", "--plan", plan, study)
    print(f"{study / 'report.html'}")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"ray_shards.py: {error}")
