"""Describes how upstream places a task's objects at a reset, so that the native runtime can draw new starts.
Owns the translation of upstream's samplers into plain numbers; anything that it does not know ends the export."""

import copy
import math
import xml.etree.ElementTree as ElementTree

import upstream  # noqa: F401, I001 (first: it stands in for the drawing modules that LIBERO imports)
from libero.libero.envs.regions.base_region_sampler import (
    InSiteRegionRandomSampler,
    MultiRegionRandomSampler,
    SiteRegionRandomSampler,
)
from libero.libero.envs.regions.workspace_region_sampler import (
    Libero100TableRegionSampler,
    ObjectBasedSampler,
    TableRegionSampler,
)

# Radians. The recorded initial states carry robosuite's default noise on the arm's joints (`robots/robot.py`), though
# `ControlEnv` itself asks for none.
ARM_NOISE_SD = 0.02


def placements(env) -> dict:
    """What a reset draws, in upstream's order: joints of articulated objects, the arm, then the objects one by one."""
    domain, robot = env.env, env.robots[0]
    bodies = ElementTree.fromstring(domain.model.get_xml()).find("worldbody")
    sequence = []
    for composite in (
        domain.placement_initializer,
        domain.conditional_placement_initializer,
        domain.conditional_placement_on_objects_initializer,
    ):
        for name, sampler in composite.samplers.items():
            (item,) = sampler.mujoco_objects
            arguments = composite.sample_args[name] or {}
            if item.name in domain.fixtures_dict:
                sequence.append({"kind": "fixture", **footprint(item), **frozen(env, item)})
            else:
                where = anchor(domain, bodies, sampler, arguments)
                sequence.append({"kind": "object", **footprint(item), **placement(item, sampler), "anchor": where})
    return {
        "arm": [float(value) for value in robot.init_qpos],
        "arm_noise_sd": ARM_NOISE_SD,
        "gripper": [float(value) for value in robot.gripper.init_qpos],
        "articulation": articulation(domain),
        "sequence": sequence,
    }


def articulation(domain) -> list[dict]:
    """Joint positions that the description asks for. Each hard reset of upstream appends the same ones again."""
    initialisers = {sampler.name: sampler for sampler in domain.object_property_initializers}
    return [
        {
            "joints": list(domain.get_object(name).joints),
            "low": float(sampler.joint_ranges[0]),
            "high": float(sampler.joint_ranges[1]),
        }
        for name, sampler in initialisers.items()
    ]


def footprint(item) -> dict:
    """The upright cylinder that upstream's overlap check takes an object for; heights from its origin."""
    if hasattr(item, "init_quat"):
        raise SystemExit(f"{item.name}: init_quat: expected none, for the runtime composes none")
    return {
        "name": item.name,
        "radius": float(item.horizontal_radius),
        "bottom": float(item.bottom_offset[-1]),
        "top": float(item.top_offset[-1]),
    }


def frozen(env, fixture) -> dict:
    body = env.env.obj_body_id[fixture.name]
    return {
        "position": [float(value) for value in env.sim.model.body_pos[body]],
        "orientation": [float(value) for value in env.sim.model.body_quat[body]],
    }


def placement(item, sampler) -> dict:
    turns, scalar_last = rotation(sampler)
    # A position inside a site is drawn without regard to the object's radius.
    inset = sampler.ensure_object_boundary_in_range and not isinstance(sampler, InSiteRegionRandomSampler)
    return {
        "joint": item.joints[-1],
        "ranges": [
            {"x": [float(value) for value in x], "y": [float(value) for value in y]}
            for x, y in zip(sampler.x_ranges, sampler.y_ranges, strict=True)
        ],
        "inset": float(item.horizontal_radius) if inset else 0.0,
        "keep_clear": bool(sampler.ensure_valid_placement),
        "z_offset": float(sampler.z_offset),
        "turns": turns,
        "scalar_last": scalar_last,
    }


def rotation(sampler) -> tuple[list[dict], bool]:
    """Uniform turns about axes, in the order of upstream's product, and where upstream puts a quaternion's scalar.

    MuJoCo reads the scalar first. Most of upstream's samplers put it last, so that a "turn about z" by a right angle
    comes out as one about another axis; objects stand upright because their ranges were chosen to suit.
    """
    ranges = sampler.rotation if isinstance(sampler.rotation, dict) else {sampler.rotation_axis: sampler.rotation}
    turns = []
    for axis, limits in ranges.items():
        limits = (0.0, 2.0 * math.pi) if limits is None else limits
        limits = limits if isinstance(limits, tuple | list) else (limits, limits)
        turns.append({"axis": axis, "low": float(min(limits)), "high": float(max(limits))})
    probe = copy.copy(sampler)
    probe.rotation, probe.rotation_axis = 0.0, "z"
    return turns, bool(probe._sample_quat()[-1] == 1.0)


def anchor(domain, bodies, sampler, arguments: dict) -> dict:
    """What a drawn position is relative to."""
    if type(sampler) in (TableRegionSampler, Libero100TableRegionSampler, MultiRegionRandomSampler) and not arguments:
        return {"kind": "point", "position": [float(value) for value in sampler.reference_pos]}
    reference = arguments["reference"]
    if type(sampler) is ObjectBasedSampler:
        return {"kind": "object", "reference": reference}
    if type(sampler) not in (SiteRegionRandomSampler, InSiteRegionRandomSampler):
        raise SystemExit(f"{sampler.name}: unknown sampler {type(sampler).__name__}")
    # Upstream turns the site's world position, from before anything is placed, by the reference's orientation.
    root = domain.get_object(reference).root_body
    body = bodies.find(f"./body[@name='{root}']")
    if body is None or any(key in body.attrib for key in ("axisangle", "xyaxes", "zaxis", "euler")):
        raise SystemExit(f"{root}: expected a body of the world with its orientation as a quaternion")
    return {
        "kind": "in_site" if type(sampler) is InSiteRegionRandomSampler else "on_site",
        "reference": reference,
        "body": root,
        "site": arguments["site_name"],
        "home_position": [float(value) for value in body.get("pos", "0 0 0").split()],
        "home_orientation": [float(value) for value in body.get("quat", "1 0 0 0").split()],
    }
