"""Write demonstrations as a LeRobotDataset (v3.0) with lerobot itself, and check that nothing was lost.

    python lerobot_dataset.py write --data demos.safetensors --suite SCENES/libero_spatial --out DIR
    python lerobot_dataset.py write --data pictures.safetensors --suite SCENES/libero_spatial --out DIR --layout libero
    python lerobot_dataset.py check DIR --data demos.safetensors --suite SCENES/libero_spatial

Several files become one data set, with their episodes in the files' order. docs/evidence/demonstrations.md describes
the columns of the layout `lowdim`, docs/evidence/lerobot.md those of `libero`.
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

from demonstrations import FRAMES, LAYOUT, DataError, Episode, clean_parts, read_episodes, read_suite
from lerobot_layout import CAMERAS, FPS, NAMES, ROBOT, Layout, columns

# The record of sources, a file beside lerobot's own files; lerobot does not read it. The exporter reads `reads` of it.
SOURCES = "meta/aegis.json"
# Pictures that are read and encoded at a time.
AT_ONCE = 64


def sources(files: list[tuple[Path, list]], suite: str, layout: Layout, only_clean: bool) -> dict:
    """Returns the sources of a data set, the files in their order, with digests; and what of the plant its columns
    hold."""
    return {
        "layout": LAYOUT,
        "columns": layout.name,
        "only_clean": only_clean,
        "reads": layout.reads,
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


def layout_of(name: str, files: list[tuple[Path, list[Episode]]]) -> Layout:
    """Returns the layout of this name for files, which all have pictures of the same cameras and sizes or all have
    none."""
    sizes = [episodes[0].pictures.sizes if episodes[0].pictures else {} for _, episodes in files]
    first = sizes[0]
    for (path, _), found in zip(files, sizes):
        if unknown := sorted(set(found) - set(CAMERAS)):
            raise DataError(f"{path}: {FRAMES}{unknown[0]}: found another camera; valid are {', '.join(CAMERAS)}")
        if name == "lowdim" and found:
            what = f"{path}: {FRAMES}{min(found)}: found pictures"
            raise DataError(f"{what}, which the layout lowdim lacks; valid is --layout libero")
        if found != first:
            raise DataError(f"{path}: frames: found {shown(found)}; valid is {shown(first)}, as {files[0][0]} has")
    return Layout(name, {camera: first[camera] for camera in CAMERAS if camera in first})


def shown(sizes: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{camera} {height}×{width}" for camera, (height, width) in sizes.items()) or "no pictures"


def episodes_of(files: list[tuple[Path, list[Episode]]], only_clean: bool) -> list[Episode]:
    """Returns the episodes of a data set: those of the files in their order, or the clean parts of them."""
    episodes = [episode for _, found in files for episode in found]
    return clean_parts(episodes) if only_clean else episodes


def write_pictures(layout: Layout, episode: Episode, folder: Path) -> dict[str, list[str]]:
    """Writes an episode's pictures as PNG files, which lerobot takes into its own; returns the files of each column."""
    import PIL.Image

    paths = {CAMERAS[camera]: [] for camera in layout.cameras}
    for first in range(0, len(episode) if paths else 0, AT_ONCE):
        for column, taken in layout.pictures(episode, first, min(first + AT_ONCE, len(episode))).items():
            for step, picture in enumerate(taken, start=first):
                path = folder / f"{column}-{step:06}.png"
                PIL.Image.fromarray(picture).save(path)
                paths[column].append(str(path))
    return paths


def write(data: list[Path], suite: Path, out: Path, layout: str = "lowdim", only_clean: bool = False) -> None:
    """Writes a data set atomically: the folder `out` exists only once it is complete."""
    if out.exists() or out.is_symlink():
        raise DataError(f"{out}: exists; valid is a path where nothing is yet")
    name, instructions = read_suite(suite)
    files = [(path, read_episodes(path)) for path in data]
    made = layout_of(layout, files)
    origin = sources(files, name, made, only_clean)

    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    datasets.disable_progress_bars()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.partial-", dir=out.parent) as partial:
        root = Path(partial) / "dataset"
        dataset = LeRobotDataset.create(
            f"aegis/{out.name}", FPS, made.features, robot_type=ROBOT, root=root, use_videos=False
        )
        try:
            # All tasks are saved first, in the suite's order, so that `task_index` is the suite's number of the task.
            dataset.meta.save_episode_tasks(instructions)
            episodes = episodes_of(files, only_clean)
            for index, episode in enumerate(episodes):
                with tempfile.TemporaryDirectory(dir=partial) as folder:
                    pictures = write_pictures(made, episode, Path(folder))
                    dataset.save_episode(columns(made, episode, index, instructions[episode.task], pictures))
                if (index + 1) % 100 == 0:
                    print(f"{index + 1} of {len(episodes)} episodes", file=sys.stderr, flush=True)
        finally:
            # Also after a failure; else lerobot's destructor would write buffered data to a folder that no longer exists.
            dataset.finalize()
        (root / SOURCES).write_text(json.dumps(origin, indent=1) + "\n")
        os.rename(root, out)


def record_of(dataset: Path) -> dict:
    """Returns the record of sources of a data set."""
    if not (dataset / "meta/info.json").is_file():
        raise DataError(f"{dataset}: meta/info.json is missing; valid is the folder of a LeRobotDataset")
    try:
        record = json.loads((dataset / SOURCES).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{dataset / SOURCES}: cannot read: {error}") from error
    columns = record.get("columns") if isinstance(record, dict) else None
    if columns not in NAMES:
        raise DataError(f"{dataset / SOURCES}: columns: found {columns!r}; valid are {', '.join(NAMES)}")
    return record


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write", help="convert what `aegis demonstrate` wrote")
    writing.add_argument("--out", type=Path, required=True, help="the data set's folder; must not exist")
    writing.add_argument(
        "--layout", choices=NAMES, default="lowdim", help="columns: poses, or those of public LIBERO data sets"
    )
    writing.add_argument(
        "--only-clean",
        action="store_true",
        help="leave out steps in which something else than `action` was sent; each part between becomes an episode",
    )
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
            write(arguments.data, arguments.suite, arguments.out, arguments.layout, arguments.only_clean)
            print(f"{arguments.out}: written in {time.monotonic() - begin:.0f} s")
            return 0
        from lerobot_check import check

        record = record_of(arguments.dataset)
        name, instructions = read_suite(arguments.suite)
        files = [(path, read_episodes(path)) for path in arguments.data]
        layout, only_clean = layout_of(record["columns"], files), bool(record.get("only_clean"))
        episodes = episodes_of(files, only_clean)
        report = check(arguments.dataset, layout, episodes, instructions, arguments.workers)
        differences = report.differences
        if record != sources(files, name, layout, only_clean):
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
