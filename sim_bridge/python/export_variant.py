"""Exports a suite under the name of a variant of LIBERO-PRO's: a registered one, such as `libero_goal_swap`, or one that the package
has files of without registering it, such as `libero_object_temp_x0.1`.

    python export_variant.py --suite libero_object_temp_x0.1 --out DIR
"""

import sys
from pathlib import Path

from export_scenes import main
from upstream import benchmark
from libero.libero import get_libero_path

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")


def register(name: str) -> None:
    """Registers a variant whose files the package has. Raises SystemExit for a name without files."""
    folders = [Path(get_libero_path(kind)) / name for kind in ("bddl_files", "init_states")]
    if not name or not all(folder.is_dir() for folder in folders):
        roots = [folder.parent for folder in folders]
        known = sorted(set.intersection(*({one.name for one in root.iterdir() if one.is_dir()} for root in roots)))
        raise SystemExit(f"--suite: no files of suite {name!r}; the package has {', '.join(known)}")
    if name in benchmark.BENCHMARK_MAPPING:
        return
    suite = next((suite for suite in SUITES if name.startswith(f"{suite}_")), None)
    if suite is None:
        raise SystemExit(f"--suite: {name!r} is no variant of {', '.join(SUITES)}")
    tasks = benchmark.task_maps[suite]
    benchmark.task_maps[name] = {key: task._replace(problem_folder=name) for key, task in tasks.items()}

    class Variant(benchmark.Benchmark):
        def __init__(self, task_order_index=0):
            super().__init__(task_order_index=task_order_index)
            self.name = name
            self._make_benchmark()

    benchmark.BENCHMARK_MAPPING[name] = Variant


if __name__ == "__main__":
    given = dict(zip(sys.argv[1:], sys.argv[2:]))
    if "--suite" in given:
        register(given["--suite"])
    main()
