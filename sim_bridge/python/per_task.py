"""Comparisons with upstream, task by task, each task in a separate process.
The results of single tasks are kept in files, from which an interrupted run continues."""

import json
import multiprocessing
import os
from pathlib import Path

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


def add_arguments(parser) -> None:
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this suite; may be repeated")
    parser.add_argument("--aegis", type=Path, required=True, help="the binary")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="folder for the results of single tasks")
    parser.add_argument("--out", type=Path, required=True)


def results(arguments, tasks, measure) -> list[dict]:
    """Returns the results of `measure(arguments, suite, task)` for `tasks(suite)` of every requested suite.

    `measure` must be a module-level function, because it is passed to other processes.
    """
    arguments.work.mkdir(parents=True, exist_ok=True)
    jobs = [(arguments, suite, task) for suite in arguments.suite or SUITES for task in tasks(suite)]
    waiting = [(measure, *job) for job in jobs if not _path(*job).is_file()]
    # One process per task, because upstream's environments leak memory.
    with multiprocessing.get_context("spawn").Pool(arguments.processes, maxtasksperchild=1) as pool:
        for done, name in enumerate(pool.imap_unordered(_run, waiting), 1):
            print(f"{done}/{len(waiting)}: {name}", flush=True)
    return [json.loads(_path(*job).read_text()) for job in jobs]


def write_whole(path: Path, text: str) -> None:
    """Writes a file atomically."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.rename(partial, path)


def _path(arguments, suite: str, task: int) -> Path:
    return arguments.work / f"{suite}-{task:02}.json"


def _run(job) -> str:
    measure, *place = job
    path = _path(*place)
    write_whole(path, json.dumps(measure(*place), indent=1) + "\n")
    return path.stem
