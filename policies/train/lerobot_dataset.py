"""Write demonstrations as a LeRobotDataset (v3.0) with lerobot itself, and check that nothing was lost.

    python lerobot_dataset.py write --data demos.safetensors --suite SCENES/libero_spatial --out DIR
    python lerobot_dataset.py check DIR --data demos.safetensors --suite SCENES/libero_spatial

Several files become one data set, with their episodes in the files' order. docs/evidence/demonstrations.md describes the columns.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

# All data is local. Without this setting, lerobot asks its hub for missing files.
os.environ["HF_HUB_OFFLINE"] = "1"

from demonstrations import LAYOUT, DataError, read_episodes, read_suite
from lerobot_layout import FEATURES, FPS, ROBOT, columns

# The record of sources, a file beside lerobot's own files; lerobot does not read it.
SOURCES = "meta/aegis.json"


def sources(files: list[tuple[Path, list]], suite: str) -> dict:
    """Returns the sources of a data set: the files in their order, with digests."""
    return {
        "layout": LAYOUT,
        "suite": suite,
        "files": [
            {
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "episodes": len(episodes),
                "rows": sum(map(len, episodes)),
            }
            for path, episodes in files
        ],
    }


def write(data: list[Path], suite: Path, out: Path) -> None:
    """Writes a data set atomically: the folder `out` exists only once it is complete."""
    if out.exists() or out.is_symlink():
        raise DataError(f"{out}: exists; valid is a path where nothing is yet")
    name, instructions = read_suite(suite)
    files = [(path, read_episodes(path)) for path in data]
    origin = sources(files, name)

    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    datasets.disable_progress_bars()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.partial-", dir=out.parent) as partial:
        root = Path(partial) / "dataset"
        dataset = LeRobotDataset.create(
            f"aegis/{out.name}", FPS, FEATURES, robot_type=ROBOT, root=root, use_videos=False
        )
        try:
            # All tasks are saved first, in the suite's order, so that `task_index` is the suite's number of the task.
            dataset.meta.save_episode_tasks(instructions)
            episodes = [episode for _, found in files for episode in found]
            for index, episode in enumerate(episodes):
                dataset.save_episode(columns(episode, index, instructions[episode.task]))
                if (index + 1) % 100 == 0:
                    print(f"{index + 1} of {len(episodes)} episodes", file=sys.stderr, flush=True)
        finally:
            # Also after a failure; else lerobot's destructor would write buffered data to a folder that no longer exists.
            dataset.finalize()
        (root / SOURCES).write_text(json.dumps(origin, indent=1) + "\n")
        os.rename(root, out)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write", help="convert what `aegis demonstrate` wrote")
    writing.add_argument("--out", type=Path, required=True, help="the data set's folder; must not exist")
    checking = verbs.add_parser("check", help="open a data set with lerobot and hold every value against its source")
    checking.add_argument("dataset", type=Path)
    checking.add_argument("--workers", type=int, default=0, help="processes that read; results do not depend on it")
    for verb in (writing, checking):
        verb.add_argument("--data", type=Path, nargs="+", required=True, help="files that `aegis demonstrate` wrote")
        verb.add_argument("--suite", type=Path, required=True, help="the exported suite, for the instructions")
    arguments = parser.parse_args(words)

    begin = time.monotonic()
    try:
        if arguments.verb == "write":
            write(arguments.data, arguments.suite, arguments.out)
            print(f"{arguments.out}: written in {time.monotonic() - begin:.0f} s")
            return 0
        from lerobot_check import check

        name, instructions = read_suite(arguments.suite)
        files = [(path, read_episodes(path)) for path in arguments.data]
        report = check(
            arguments.dataset,
            [episode for _, episodes in files for episode in episodes],
            instructions,
            arguments.workers,
        )
        differences = report.differences
        if json.loads((arguments.dataset / SOURCES).read_text()) != sources(files, name):
            differences.append(f"{SOURCES}: names other sources than those given")
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.summary)
    for difference in differences:
        print(f"differs: {difference}", file=sys.stderr)
    print(f"{arguments.dataset}: {'differs' if differences else 'the same'}, {time.monotonic() - begin:.0f} s")
    return 1 if differences else 0


if __name__ == "__main__":
    # Raises SystemExit on SIGTERM, so that an interrupted writer removes its incomplete folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
