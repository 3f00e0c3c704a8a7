"""Compares the native runtime's pictures with upstream LIBERO's and writes the results as a page of tables.

    python pictures.py --suite libero_spatial --aegis BINARY --rate EXAMPLE --out docs/evidence/cameras.md [--keep DIR]

Needs EGL and, besides the locked packages, PyOpenGL on PYTHONPATH.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from native import Native
from upstream import SEED, ControlEnv, open_suite

CAMERAS = ("agentview", "robot0_eye_in_hand")
SIZES = (128, 256)
NEAR = 8  # Difference of a channel, in units of 1/255, above which a pixel counts as different.
RATED = 40  # Number of pictures over which a rate is measured.
STOVE = ("flat_stove_1_button", 1.0)  # A joint and a position at which upstream lights the burner.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--aegis", type=Path, required=True, help="the binary")
    parser.add_argument("--rate", type=Path, required=True, help="the built example `cameras`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="folder for all pictures, ours beside upstream's")
    parser.add_argument("--fixtures", type=Path, help="where upstream's pictures for the tests go")
    arguments = parser.parse_args()
    use_egl()

    suite = open_suite(arguments.suite)
    rows, rates, drawn_by = [], [], ""
    for rollout in ROLLOUTS:
        env = open_drawn(suite, rollout.task)
        state = start(env, suite, rollout)
        theirs = upstream_pictures(env, rollout, state)
        if rollout is ROLLOUTS[0]:
            rates, drawn_by = [upstream_rate(env, size) for size in SIZES], renderer()
        env.close()
        if arguments.fixtures is not None:
            keep_fixtures(rollout, theirs, arguments.fixtures)
        for size in SIZES:
            rows += compare(rollout, size, native_pictures(arguments, rollout, state, size), theirs, arguments.keep)
    native = subprocess.run(
        [arguments.rate, scenes() / arguments.suite, str(ROLLOUTS[0].task), str(RATED)],
        check=True, capture_output=True, text=True,
    ).stdout
    arguments.out.write_text(page(arguments.suite, rows, rates, native, drawn_by))


def use_egl() -> None:
    """Restores robosuite's EGL context, which the module `upstream` replaces by a stub."""
    name = "robosuite.renderers.context.egl_context"
    sys.modules.pop(name)
    os.environ["MUJOCO_GL"] = "egl"
    try:
        __import__(name)
    except ImportError as error:
        raise SystemExit(f"{error}; install libegl1, libegl-mesa0 and libgl1-mesa-dri, and PyOpenGL") from None
    sys.modules["robosuite.utils.binding_utils"].GLContext = sys.modules[name].EGLGLContext


class Rollout:
    """A rollout that both sides execute: a start, and recorded actions float[steps, 7]. Pictures are compared every `every`
    control steps."""

    def __init__(self, task, init, actions, every, lit=False):
        self.task, self.init, self.every, self.lit = task, init, every, lit
        self.actions = np.asarray(actions, dtype=np.float64)

    def name(self) -> str:
        return f"task{self.task:02}_init{self.init:02}" + ("_lit" if self.lit else "")


def recorded(name: str):
    """Reads recorded actions from the fixtures, which the tests replay as well."""
    return np.load(Path(__file__).parent.parent / "libero/tests/fixtures" / name)


def random(seed: int, steps: int):
    return np.random.default_rng(seed).normal(0.0, 0.5, (steps, 7)).clip(-1.0, 1.0)


ROLLOUTS = (
    Rollout(0, 3, recorded("task00_init03_success_actions.npy"), 40),
    Rollout(0, 0, random(0, 20), 20, lit=True),
    Rollout(4, 7, recorded("task04_init07_actions.npy"), 20),
    Rollout(7, 49, recorded("task07_init49_actions.npy"), 20),
)
# Pictures that are fixtures of the tests: rollout, control step, camera.
FIXTURES = {
    ("task00_init03", 120, "agentview"),
    ("task00_init00_lit", 0, "agentview"),
    ("task04_init07", 20, "agentview"),
    ("task04_init07", 20, "robot0_eye_in_hand"),
}


def scenes() -> Path:
    return Path(os.environ.get("AEGIS_CACHE") or Path.home() / ".cache/aegis") / "scenes"


def open_drawn(suite, task: int) -> ControlEnv:
    """Opens the environment of one task with upstream's cameras, reset with the fixed seed."""
    env = ControlEnv(
        bddl_file_name=suite.get_task_bddl_file_path(task),
        use_camera_obs=True,
        has_renderer=False,
        has_offscreen_renderer=True,
        camera_names=list(CAMERAS),
        camera_heights=max(SIZES),
        camera_widths=max(SIZES),
    )
    env.seed(SEED)
    env.reset()
    return env


def start(env, suite, rollout):
    state = np.array(suite.get_task_init_states(rollout.task)[rollout.init], dtype=np.float64)
    if rollout.lit:
        joint, position = STOVE
        state[1 + env.sim.model.get_joint_qpos_addr(joint)] = position
    return state


def upstream_pictures(env, rollout, state) -> dict:
    """Returns upstream's pictures as {(control step, camera, size): uint8[size, size, 3]}, the right way up.

    The pictures are drawn in every size at the time point at which upstream draws its observation; those of the
    observation's own size are checked against the observation.
    """
    pictures, latest, draw = {}, {}, env.sim.render
    due = True

    def render(camera_name, **_):
        if not due:
            return np.zeros((max(SIZES), max(SIZES), 3), dtype=np.uint8)
        for size in SIZES:
            latest[camera_name, size] = draw(camera_name=camera_name, width=size, height=size)
        return latest[camera_name, max(SIZES)]

    env.sim.render = render
    observation = env.set_init_state(state)
    for step in range(len(rollout.actions) + 1):
        due = step % rollout.every == 0
        if step > 0:
            observation = env.step(rollout.actions[step - 1])[0]
            # Upstream refuses to step a finished episode; the comparison continues.
            env.env.done = False
        if due:
            for (camera, size), picture in latest.items():
                pictures[step, camera, size] = picture[::-1].copy()
            for camera in CAMERAS:
                assert np.array_equal(observation[f"{camera}_image"], latest[camera, max(SIZES)]), (step, camera)
    env.sim.render = draw
    return pictures


def native_pictures(arguments, rollout, state, size: int) -> dict:
    """Returns the native runtime's pictures of one size for a rollout."""
    with tempfile.TemporaryDirectory() as folder:
        start, frames = Path(folder) / "start.npy", Path(folder) / "frames"
        np.save(start, state[None])
        taken = ["--frames", frames, "--frame-size", size, "--every", rollout.every]
        Native(arguments.aegis, arguments.suite, rollout.task).rollout(0, rollout.actions, "--from", start, *taken)
        steps = range(0, len(rollout.actions) + 1, rollout.every)
        return {
            (step, camera): np.asarray(Image.open(frames / f"step{step:03}_{camera}.png"))
            for step in steps
            for camera in CAMERAS
        }


def compare(rollout, size: int, ours: dict, theirs: dict, keep: Path | None) -> list[str]:
    rows = []
    for camera in CAMERAS:
        pairs = {step: (ours[step, name], theirs[step, name, size]) for step, name in ours if name == camera}
        mean, share, most = np.max([distance(*pair) for pair in pairs.values()], axis=0)
        turned = min(distance(mine[::-1], upstream)[0] for mine, upstream in pairs.values())
        cells = [rollout.name(), camera, size, len(pairs), f"{mean:.4f}", f"{share:.2%}", f"{most:.0f}"]
        rows.append("| " + " | ".join(map(str, [*cells, f"{turned:.1f}"])) + " |")
        print(rows[-1], flush=True)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for step, pair in pairs.items():
                beside = Image.fromarray(np.concatenate(pair, axis=1))
                beside.save(keep / f"{rollout.name()}_{size}_step{step:03}_{camera}.png")
    return rows


def distance(ours, theirs):
    """Returns the mean absolute difference in units of 1/255, the fraction of pixels that differ by more than NEAR in any
    channel, and the largest difference."""
    gap = np.abs(ours.astype(int) - theirs.astype(int))
    return gap.mean(), (gap.max(axis=-1) > NEAR).mean(), gap.max()


def keep_fixtures(rollout, theirs: dict, folder: Path) -> None:
    for (step, camera, size), picture in theirs.items():
        if (rollout.name(), step, camera) in FIXTURES and size == min(SIZES):
            path = folder / f"{rollout.name()}_step{step:03}_{camera}.png"
            Image.fromarray(picture).save(path, optimize=True)


def upstream_rate(env, size: int) -> str:
    """Measures pictures per second of robosuite's `sim.render`, with the simulation stepped between the pictures."""
    drawing, count = 0.0, 0
    while count < RATED:
        env.sim.step()
        clock = time.perf_counter()
        for camera in CAMERAS:
            env.sim.render(camera_name=camera, width=size, height=size)
        drawing += time.perf_counter() - clock
        count += len(CAMERAS)
    return f"{size} px: {count / drawing:.1f} pictures/s from {len(CAMERAS)} cameras"


def renderer() -> str:
    from OpenGL import GL

    return ", ".join(GL.glGetString(name).decode() for name in (GL.GL_RENDERER, GL.GL_VERSION))


def page(suite: str, rows, rates, native: str, drawn_by: str) -> str:
    upstream_rates = "\n".join(f"    {rate}" for rate in rates)
    native_rates = "\n".join(f"    {line}" for line in native.splitlines())
    return f"""# Cameras against upstream: {suite}

Written by `sim_bridge/python/pictures.py`, both sides drawn by {drawn_by}.

| rollout | camera | px | pictures | mean difference | pixels beyond {NEAR} | largest difference | upside down: mean |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Differences are absolute, of 255, and each is that of the worst picture of its row. A pixel is *beyond {NEAR}* if any of
its colours is. Upstream's pictures are `observation["agentview_image"][::-1]` of LIBERO's `ControlEnv`: its rows begin
at the bottom. *Upside down* leaves them so, as a measure of what a mistake looks like. Rollouts are a state and recorded
actions; `lit` begins with the stove turned on. After a grasp or another contact the two simulations part in the last bits
([how they compare](parity.md)), and that is what the rows other than zero show.

**Tolerance.** `sim_bridge/libero/tests/cameras.rs` asks for a mean difference of at most 3.5 and at most 10 % of pixels beyond
{NEAR} from upstream's pictures as llvmpipe drew them. Another renderer rounds and smooths differently: softpipe, which
has no multisampling, comes to 3.3 and 8.1 % on the same pictures (`GALLIUM_DRIVER=softpipe`). The same picture upside
down comes to 55, the other camera's to 78, one second earlier to 11, and without textures to 5.7 and 40 %. No GPU has
been tried.

## Which moment a picture shows

Upstream samples its observation, pictures included, before the 24th of the 25 physics steps of a control step is
integrated: its sensors have a clock of their own, which LIBERO's `reset` and `set_init_state` put two physics steps
ahead (robosuite, `utils/observables.py`). A picture after a control step is therefore 4 ms older than the state. A
burner is lit by the state at the control step's start. `LiberoPlant::frames` shows the same.

## Rates

Drawing alone, the arm moving between pictures, both in this run on one machine ({os.cpu_count()} cores, load average
{os.getloadavg()[2]:.0f}):

upstream

{upstream_rates}

here

{native_rates}

The first pictures of a task compile its scene with the textures, 190 MB that all plants share, and hand them to OpenGL,
once for each plant; a plant that changes its task does the latter again. Pictures are drawn only where somebody asks.

## Where it is drawn

Off screen through EGL, on the first EGL device that gives a context: with NVIDIA's driver its GPUs come before Mesa's
software. The wrapper has no choice of device; `__EGL_VENDOR_LIBRARY_FILENAMES` of the dispatch library chooses the
driver. Nor does it tell the renderer's name; the one above is what upstream reports from the same device. `libEGL.so.1`
is loaded when the first picture is asked for, and nothing else needs it.

    cargo build --release && cargo build --release --package aegis-sim --example cameras
    pip install --target pyopengl PyOpenGL==3.1.10
    PYTHONPATH=pyopengl "$AEGIS_CACHE"/python/*/bin/python sim_bridge/python/pictures.py --suite {suite} \\
        --aegis target/release/aegis --rate target/release/examples/cameras --out docs/evidence/cameras.md
"""


if __name__ == "__main__":
    main()
