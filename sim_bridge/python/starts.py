"""Compares sampled starts with upstream's resets and recorded initial states, and writes a page of tables.

    python starts.py --aegis target/release/aegis --work runs/starts --out docs/reference/starts.md

Per task: placements drawn natively and by upstream's own reset code, compared coordinate by coordinate with the
two-sample Kolmogorov-Smirnov test; starts drawn with the physical check, with the counts of refused draws; and a rollout
from a sampled start on both sides. Results are kept in --work; an interrupted run continues from these files.
"""

import argparse

import numpy as np

from upstream import mujoco, open_suite, open_task

from native import Native
from per_task import SUITES, add_arguments, results, write_whole
from placements import ARM_NOISE_SD  # noqa: I001 (`upstream` stands in for the drawing modules first)
from scipy.stats import ks_2samp

SEED = 20260606
STEPS = 20  # Control steps of the rollout from a sampled start.
CONSTANT = 1e-6  # Metres or quaternion components; coordinates that vary less are compared by value.
SMALL = 0.01
REASONS = ("crowded", "overlap", "fell", "goal_holds", "diverged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--first-tasks", type=int, help="only so many tasks of each suite but libero_spatial")
    parser.add_argument("--placements", type=int, default=100, help="unchecked draws per task, on each side")
    parser.add_argument("--starts", type=int, default=20, help="checked draws per task")
    arguments = parser.parse_args()
    found = results(arguments, lambda suite: tasks(suite, arguments.first_tasks), measure)
    write_whole(arguments.out, page(found, arguments))


def tasks(suite: str, first: int | None) -> range:
    count = open_suite(suite).get_num_tasks()
    return range(count if first is None or suite == SUITES[0] else min(first, count))


def measure(arguments, suite_name: str, task: int) -> dict:
    suite = open_suite(suite_name)
    env = open_task(suite, task)
    recorded = np.asarray(suite.get_task_init_states(task))
    native = Native(arguments.aegis, suite_name, task)
    checked, drawn = native.sample(arguments.starts, SEED)
    _, held = native.sample(arguments.starts, SEED, "--recorded")
    found = {
        "suite": suite_name,
        "task": task,
        "accepted": drawn["accepted"],
        "rejected": drawn["rejected"],
        "recorded": arguments.starts,
        "recorded_rejected": held["rejected"],
        # The rollout comes before the other uses of `env`, so that only the first reset has run in it.
        "rollout": rollout_difference(env, native, len(recorded), checked[0]),
    }
    ours, _ = native.sample(arguments.placements, SEED, "--unchecked")
    names = coordinates(env)
    upstream = resets(env, arguments.placements, SEED + 100 * SUITES.index(suite_name) + task)
    found["upstream"] = compare(ours, upstream, names)
    # Upstream moves its fixtures at every reset and does not record their poses.
    loose = [name for name in names if not name[1]]
    found["recorded_states"] = compare(ours, recorded, loose)
    return found


def rollout_difference(env, native: Native, init: int, start: np.ndarray) -> float:
    """Returns the largest difference in `qpos` over a rollout of random actions from a sampled start."""
    actions = np.clip(np.random.default_rng(SEED).normal(0.0, 0.5, (STEPS, 7)), -1.0, 1.0)
    states, _ = native.rollout(init, actions, "--sample-seed", SEED)
    env.set_init_state(start)
    rows = [env.get_sim_state()]
    for action in actions:
        env.step(action)
        rows.append(env.get_sim_state())
        env.env.done = False
    return float(np.abs(states - rows)[:, 1 : 1 + env.sim.model.nq].max())


def coordinates(env) -> list:
    """Returns, for every coordinate that a reset draws: its name, whether it depends on a fixture's pose, and its column in a
    state."""
    domain, model = env.env, env.sim.model
    anchored = set(domain.conditional_placement_initializer.samplers)
    found = [(joint, False, 1 + model.get_joint_qpos_addr(joint)) for joint in env.robots[0].robot_joints]
    for name, item in domain.objects_dict.items():
        first, end = model.get_joint_qpos_addr(item.joints[-1])
        loose = f"{name}_sampler" not in anchored
        parts = ("x", "y", "z", "q0", "q1", "q2", "q3")
        found += [(f"{name}.{part}", not loose, 1 + column) for part, column in zip(parts, range(first, end))]
    for sampler in domain.object_property_initializers:
        for joint in domain.get_object(sampler.name).joints:
            found.append((joint, False, 1 + model.get_joint_qpos_addr(joint)))
    return list(dict.fromkeys(found))


def resets(env, count: int, seed: int) -> np.ndarray:
    """Returns states after upstream's own reset code, with fixtures fixed at their poses in the exported scene.

    The resets are soft: the same code as a hard reset, without loading the model again. Before each reset the fixtures
    return to their poses in the model, because upstream reads site positions before it moves the fixtures.
    """
    domain, model = env.env, env.sim.model
    home = mujoco.MjModel.from_xml_string(domain.model.get_xml())
    for fixture in domain.fixtures_dict.values():
        body = domain.obj_body_id[fixture.name]
        pose = (tuple(model.body_pos[body]), np.array(model.body_quat[body]), fixture)
        for sampler in domain.placement_initializer.samplers.values():
            if sampler.mujoco_objects == [fixture]:
                sampler.sample = fixed(fixture.name, pose)
    env.robots[0].initialization_noise = {"magnitude": ARM_NOISE_SD, "type": "gaussian"}
    env.seed(seed)
    rows = []
    for _ in range(count):
        for fixture in domain.fixtures_dict.values():
            body = domain.obj_body_id[fixture.name]
            model.body_pos[body], model.body_quat[body] = home.body_pos[body], home.body_quat[body]
        env.sim.reset()
        domain._reset_internal()
        rows.append(env.get_sim_state())
    return np.asarray(rows)


def fixed(name: str, pose):
    def sample(fixtures=None, reference=None, on_top=True):
        return {**(fixtures or {}), name: pose}

    return sample


def compare(ours: np.ndarray, theirs: np.ndarray, names: list) -> dict:
    """Compares coordinates: those that vary by the Kolmogorov-Smirnov test, constant ones by the largest difference."""
    p_values, constant = {}, 0.0
    for name, _, column in names:
        a, b = ours[:, column], theirs[:, column]
        if max(np.ptp(a), np.ptp(b)) < CONSTANT:
            constant = max(constant, float(np.abs(a.mean() - b.mean())))
        else:
            p_values[name] = float(ks_2samp(a, b).pvalue)
    return {"p": p_values, "constant": constant}


def page(results: list[dict], arguments) -> str:
    lines = [HEAD.format(placements=arguments.placements, starts=arguments.starts, steps=STEPS, small=SMALL)]
    for suite in dict.fromkeys(result["suite"] for result in results):
        lines += ["", f"## {suite}", "", TABLE]
        lines += [row(result) for result in results if result["suite"] == suite]
    lines += ["", "## All tasks", ""]
    for key, what in (("upstream", "upstream's resets"), ("recorded_states", "the recorded states")):
        values = [p for result in results for p in result[key]["p"].values()]
        small = sum(p < SMALL for p in values)
        lines.append(
            f"- Against {what}: {len(values)} coordinates, {small} of them with p < {SMALL} "
            f"({SMALL * len(values):.1f} expected if all distributions were equal), smallest p {min(values):.1e}; "
            f"smallest p times their number {min(1.0, min(values) * len(values)):.2g}."
        )
    accepted, refused = sum(r["accepted"] for r in results), [sum(r["rejected"][k] for r in results) for k in REASONS]
    lines.append(f"- Checked draws: {accepted} accepted, {reasons(dict(zip(REASONS, refused)))} refused.")
    recorded = [sum(r["recorded_rejected"][k] for r in results) for k in REASONS]
    total = sum(r["recorded"] for r in results)
    lines.append(f"- Recorded states under the same check: {reasons(dict(zip(REASONS, recorded)))} of {total} refused.")
    fewer = f" --first-tasks {arguments.first_tasks}" if arguments.first_tasks else ""
    return "\n".join(lines) + "\n" + FOOT.format(fewer=fewer)


def row(result: dict) -> str:
    def smallest(found):
        if not found or not found["p"]:
            return "–", "–"
        name = min(found["p"], key=found["p"].get)
        small = sum(p < SMALL for p in found["p"].values())
        return f"{small} of {len(found['p'])}", f"{found['p'][name]:.1g} ({name})"

    upstream, recorded = result["upstream"], result["recorded_states"]
    cells = [
        result["task"],
        *smallest(upstream),
        f"{upstream['constant']:.0e}",
        *smallest(recorded),
        f"{recorded['constant']:.0e}",
        f"{result['accepted']} / {reasons(result['rejected'])}",
        f"{reasons(result['recorded_rejected'])} of {result['recorded']}",
        f"{result['rollout']:.0e}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def reasons(rejected: dict) -> str:
    named = ", ".join(f"{rejected[key]} {key.replace('_', ' ')}" for key in REASONS if rejected[key])
    return named or "0"


HEAD = """# Sampled starts

Written by `sim_bridge/python/starts.py`. Starts past the recorded ones are drawn natively, as upstream's reset draws
them, from a counter-based stream for each (seed, suite, task, index); fixtures stay where the exported scene has them.

*Upstream* compares {placements} native placements per task, before any check, with as many resets of upstream's own
code with the fixtures held: how many of the coordinates that vary (arm joints, joints of articulated objects, positions
and quaternions of objects) have a two-sample Kolmogorov-Smirnov p below {small}, the smallest p, and the largest difference
among those that do not vary. *Recorded* does the same with the initial states that upstream ships, without objects
that stand in or on a fixture, for upstream drew and did not record where those fixtures were. *Checked* draws
{starts} starts per task with the physical check: accepted / refused. *Recorded refused* is the same check on as many
recorded states. *Rollout* is the largest difference in `qpos` over {steps} random actions from a sampled start, native
against upstream's `set_init_state`."""

TABLE = """\
| task | upstream: p small | smallest p | constant | recorded: p small | smallest p | constant | checked | recorded refused | rollout |
|---|---|---|---|---|---|---|---|---|---|"""

FOOT = """
A draw is refused when there is no room for an object (*crowded*), when an object is in another, in a fixture or in the
robot as drawn, or in anything at rest (*overlap*), when it settles otherwise than it usually does in the recorded
states (*fell*), or when the goal holds at once or while things settle (*goal holds*). The bounds are constants with
their reasons in `sim_bridge/libero/src/sampler.rs`. "Usually" matters: in task 5 of libero_spatial the bowl slides off the
ramekin from every recorded state, and in libero_object and the living-room scenes of libero_10 upstream puts cans and
bottles up to 4 cm into the floor or table, from where they are thrown up and come down again.

    python starts.py --aegis target/release/aegis{fewer} --work runs/starts --out docs/reference/starts.md
"""


if __name__ == "__main__":
    main()
