"""Makes states in which a task's goal is met, nearly met, or met in part.

    python goal_states.py --suite libero_goal --task 7 --count 8 --states out.npy --success out_success.npy

Drawers, doors and knobs are set near their thresholds, and objects are dropped on, in and beside the goal's targets; half
of the states then settle for a few control steps. The code depends on upstream's predicate names, but on no suite or task.
"""

import argparse

import numpy as np

from fresh import NULL, Fresh
from upstream import mujoco, open_suite

SETTLE = 3  # Control steps.
# Distance from the centre of a predicate's target, in half sizes: well inside, near the edge, mostly outside.
INSIDE, EDGE, BEYOND = SPREADS = (0.3, 1.2, 3.0)
DROP = np.arange(0.25, -0.1, -0.005)  # Heights at which a first contact is searched for, metres.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--task", type=int, required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--steps", type=int, default=2, help="null actions to play from each state")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--states", required=True, help="where the states go, float64[count, 1 + nq + nv]")
    parser.add_argument("--success", required=True, help="where upstream's flags go, bool[count, steps + 1]")
    arguments = parser.parse_args()
    task = Fresh(open_suite(arguments.suite), arguments.task)
    states = goal_states(task, arguments.count, np.random.default_rng(arguments.seed))
    np.save(arguments.states, states)
    np.save(arguments.success, goal_flags(task, states, arguments.steps))


def goal_flags(task: Fresh, states, steps: int) -> np.ndarray:
    """Returns whether the goal is met in each state and after each of `steps` null actions, bool[count, steps + 1]."""
    flags = []
    for state in states:
        task.begin(state)
        flags.append([bool(task.env.check_success())] + [task.step(NULL) for _ in range(steps)])
    return np.asarray(flags)


def goal_states(task: Fresh, count: int, rng) -> np.ndarray:
    """Makes `count` states near the task's goal, float64[count, 1 + nq + nv]."""
    goal = task.env.env.parsed_problem["goal_state"]
    # Joint predicates come first, because objects are placed relative to drawers and doors.
    ordered = sorted(goal, key=lambda predicate: len(predicate))
    states = []
    while len(states) < count:
        task.begin(task.initial_states[rng.integers(len(task.initial_states))])
        # Every other state aims at the goal; the rest most likely miss at least one predicate.
        missed = None if len(states) % 2 else rng.integers(len(ordered))
        for number, predicate in enumerate(ordered):
            reach = INSIDE if missed is None else rng.choice((EDGE, BEYOND) if number == missed else SPREADS)
            if len(predicate) == 2:
                set_joints(task, predicate, reach, rng)
            else:
                place(task, predicate, reach, rng)
        forward(task)
        if len(states) % 4 >= 2:
            for _ in range(SETTLE):
                task.step(NULL)
        state = task.state()
        if holds_together(task, state):
            states.append(state)
    return np.asarray(states)


def holds_together(task: Fresh, state) -> bool:
    """Returns whether the simulation continues from a state without a warning: overlapping objects can be thrown apart at any
    speed."""
    if not np.isfinite(state).all():
        return False
    task.begin(state)
    for _ in range(SETTLE):
        task.step(NULL)
    bad = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)
    return not any(task.env.sim.data._data.warning[int(kind)].number for kind in bad)


def forward(task: Fresh) -> None:
    mujoco.mj_forward(task.env.sim.model._model, task.env.sim.data._data)


def set_joints(task: Fresh, predicate, reach: float, rng) -> None:
    """Sets the joints of an object or region to the required side of the threshold, to the threshold, or past it."""
    question, name = predicate
    domain = task.env.env
    # A region has its own joints and the joint limits of its parent.
    site = domain.object_sites_dict.get(name)
    owner = domain.get_object(site.parent_name if site is not None else name)
    ranges = owner.object_properties["articulation"]
    low, high = ranges[f"default_{question}_ranges"]
    every = [value for limits in ranges.values() for value in limits]
    for joint in (site.joints if site is not None else owner.joints):
        if reach == INSIDE:
            position = rng.uniform(low, high)
        else:
            edge = rng.choice([low, high] if reach == EDGE else every)
            position = edge + rng.choice([0.0, 1e-9, -1e-9, rng.uniform(-0.05, 0.05)])
        domain.sim.data.set_joint_qpos(joint, position)
    forward(task)


def place(task: Fresh, predicate, reach: float, rng) -> None:
    """Places an object on or in the predicate's target, at a random offset from its centre of up to `reach` half sizes."""
    relation, name, target = predicate
    domain, data = task.env.env, task.env.sim.data
    site = domain.object_sites_dict.get(target)
    joint = domain.get_object(name).joints[-1]
    if site is None:
        centre, extent = np.array(data.body_xpos[domain.obj_body_id[target]]), np.array([0.03, 0.03, 0.0])
    else:
        centre = np.array(data.get_site_xpos(target))
        extent = np.abs(data.get_site_xmat(target) @ np.asarray(site.size))
    offset = rng.uniform(-1.0, 1.0, 3) * extent * reach
    pose = np.array(data.get_joint_qpos(joint))
    data.set_joint_qvel(joint, np.zeros(6))

    def at(height: float) -> None:
        pose[:3] = centre[0] + offset[0], centre[1] + offset[1], centre[2] + height
        data.set_joint_qpos(joint, pose)
        forward(task)

    if relation == "in":
        at(offset[2])
        return
    for height in DROP:
        at(height)
        if domain.check_contact(domain.get_object(name)):
            return


if __name__ == "__main__":
    main()
