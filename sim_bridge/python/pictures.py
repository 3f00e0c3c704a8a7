"""Holds the native runtime's pictures against upstream LIBERO's and writes what it finds as a page of tables.

    python pictures.py --suite libero_spatial --aegis target/release/aegis --rate target/release/examples/cameras \\
        --out docs/cameras.md [--keep DIR] [--fixtures sim_bridge/tests/fixtures]

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

from upstream import SEED, ControlEnv, open_suite

CAMERAS = ("agentview", "robot0_eye_in_hand")
SIZES = (128, 256)
NEAR = 8  # Of 255: what counts as another colour.
RATED = 40  # Pictures that a rate is measured over.
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
    rows, rates = [], []
    for size in SIZES:
        for rollout in ROLLOUTS:
            env = open_drawn(suite, rollout.task, size)
            state = start(env, suite, rollout)
            theirs = upstream_pictures(env, rollout, state)
            ours = native_pictures(arguments, rollout, state, size)
            rows += compare(rollout, size, ours, theirs, arguments.keep)
            if arguments.fixtures is not None and size == min(SIZES):
                keep_fixtures(rollout, theirs, arguments.fixtures)
            if rollout is ROLLOUTS[0]:
                rates.append(upstream_rate(env, size))
            env.close()
    native = subprocess.run(
        [arguments.rate, scenes() / arguments.suite, str(ROLLOUTS[0].task), str(RATED)],
        check=True, capture_output=True, text=True,
    ).stdout
    arguments.out.write_text(page(arguments.suite, rows, rates, native))


def use_egl() -> None:
    """Gives robosuite its drawing context back, which `upstream` stubs."""
    name = "robosuite.renderers.context.egl_context"
    sys.modules.pop(name)
    os.environ["MUJOCO_GL"] = "egl"
    try:
        __import__(name)
    except ImportError as error:
        raise SystemExit(f"{error}; install libegl1, libegl-mesa0 and libgl1-mesa-dri, and PyOpenGL") from None
    sys.modules["robosuite.utils.binding_utils"].GLContext = sys.modules[name].EGLGLContext


class Rollout:
    """What both sides do: a start, and recorded actions float[steps, 7]. Pictures are compared every so many steps."""

    def __init__(self, task, init, actions, every, lit=False):
        self.task, self.init, self.every, self.lit = task, init, every, lit
        self.actions = np.asarray(actions, dtype=np.float64)

    def name(self) -> str:
        return f"task{self.task:02}_init{self.init:02}" + ("_lit" if self.lit else "")


def recorded(name: str):
    """Actions that the tests replay as well."""
    return np.load(Path(__file__).parent.parent / "tests/fixtures" / name)


def random(seed: int, steps: int):
    return np.random.default_rng(seed).normal(0.0, 0.5, (steps, 7)).clip(-1.0, 1.0)


ROLLOUTS = (
    Rollout(0, 3, recorded("task00_init03_success_actions.npy"), 40),
    Rollout(0, 0, random(0, 20), 20, lit=True),
    Rollout(4, 7, recorded("task04_init07_actions.npy"), 20),
    Rollout(7, 49, recorded("task07_init49_actions.npy"), 20),
    Rollout(9, 20, random(9, 100), 50),
)
# Which of them the tests hold the runtime against: rollout, control step, camera.
FIXTURES = {
    ("task00_init03", 120, "agentview"),
    ("task00_init00_lit", 0, "agentview"),
    ("task04_init07", 20, "agentview"),
    ("task04_init07", 20, "robot0_eye_in_hand"),
}


def scenes() -> Path:
    return Path(os.environ.get("AEGIS_CACHE", Path.home() / ".cache/aegis")) / "scenes"


def open_drawn(suite, task: int, size: int) -> ControlEnv:
    """The environment of one task with upstream's cameras, reset with the fixed seed."""
    env = ControlEnv(
        bddl_file_name=suite.get_task_bddl_file_path(task),
        use_camera_obs=True,
        has_renderer=False,
        has_offscreen_renderer=True,
        camera_names=list(CAMERAS),
        camera_heights=size,
        camera_widths=size,
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
    """(control step, camera) to uint8[size, size, 3], turned as a person would see it."""
    pictures, observation = {}, env.set_init_state(state)
    for step in range(len(rollout.actions) + 1):
        if step > 0:
            observation = env.step(rollout.actions[step - 1])[0]
            # Upstream refuses to step a finished episode; the comparison goes on.
            env.env.done = False
        if step % rollout.every == 0:
            pictures |= {(step, camera): observation[f"{camera}_image"][::-1].copy() for camera in CAMERAS}
    return pictures


def native_pictures(arguments, rollout, state, size: int) -> dict:
    """The same by the native runtime."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        one_start(arguments.suite, rollout.task, state, cache)
        np.save(cache / "actions.npy", rollout.actions)
        command = ["sim", "rollout", "--suite", arguments.suite, "--task", str(rollout.task), "--init", "0"]
        files = ["--actions", cache / "actions.npy", "--states", cache / "states.npy", "--frames", cache / "frames"]
        taken = ["--frame-size", str(size), "--every", str(rollout.every)]
        environment = os.environ | {"AEGIS_CACHE": folder}
        subprocess.run([arguments.aegis, *command, *files, *taken], check=True, capture_output=True, env=environment)
        steps = range(0, len(rollout.actions) + 1, rollout.every)
        return {
            (step, camera): np.asarray(Image.open(cache / f"frames/step{step:03}_{camera}.png"))
            for step in steps
            for camera in CAMERAS
        }


def one_start(suite: str, task: int, state, cache: Path) -> None:
    """A cache with the exported suite in which a task has but one initial state."""
    source, copy = scenes() / suite, cache / "scenes" / suite
    (copy / "tasks").mkdir(parents=True)
    for name in ("suite.json", "assets"):
        (copy / name).symlink_to(source / name)
    for folder in (source / "tasks").iterdir():
        target = copy / "tasks" / folder.name
        if folder.name != f"{task:02}":
            target.symlink_to(folder)
            continue
        target.mkdir()
        for file in folder.iterdir():
            if file.name != "initial_states.npy":
                (target / file.name).symlink_to(file)
        np.save(target / "initial_states.npy", state[None])


def compare(rollout, size: int, ours: dict, theirs: dict, keep: Path | None) -> list[str]:
    rows = []
    for camera in CAMERAS:
        steps = [step for step, name in theirs if name == camera]
        distances = [distance(ours[step, camera], theirs[step, camera]) for step in steps]
        mean, share, most = np.max(distances, axis=0)
        turned = [distance(ours[step, camera][::-1], theirs[step, camera]) for step in steps]
        cells = [rollout.name(), camera, size, len(steps), f"{mean:.4f}", f"{share:.2%}", f"{most:.0f}"]
        rows.append("| " + " | ".join(map(str, [*cells, f"{np.min(turned, axis=0)[0]:.1f}"])) + " |")
        print(rows[-1], flush=True)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for step in steps:
                pair = np.concatenate([ours[step, camera], theirs[step, camera]], axis=1)
                Image.fromarray(pair).save(keep / f"{rollout.name()}_{size}_step{step:03}_{camera}.png")
    return rows


def distance(ours, theirs):
    """Mean absolute difference of 255, share of pixels further than NEAR in any channel, largest difference."""
    gap = np.abs(ours.astype(int) - theirs.astype(int))
    return gap.mean(), (gap.max(axis=-1) > NEAR).mean(), gap.max()


def keep_fixtures(rollout, theirs: dict, folder: Path) -> None:
    for (step, camera), picture in theirs.items():
        if (rollout.name(), step, camera) in FIXTURES:
            path = folder / f"{rollout.name()}_step{step:03}_{camera}.png"
            Image.fromarray(picture).save(path, optimize=True)


def upstream_rate(env, size: int) -> str:
    """Pictures per second of robosuite's `sim.render`, the arm moving between them."""
    drawing, count = 0.0, 0
    while count < RATED:
        env.step(random(count, 1)[0])
        env.env.done = False
        clock = time.perf_counter()
        for camera in CAMERAS:
            env.sim.render(camera_name=camera, width=size, height=size)
        drawing += time.perf_counter() - clock
        count += len(CAMERAS)
    return f"{size} px: {count / drawing:.1f} pictures/s from {len(CAMERAS)} cameras"


def renderer() -> str:
    from OpenGL import GL

    return ", ".join(GL.glGetString(name).decode() for name in (GL.GL_RENDERER, GL.GL_VERSION))


if __name__ == "__main__":
    main()
