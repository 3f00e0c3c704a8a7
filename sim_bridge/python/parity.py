"""Compares the native runtime with upstream LIBERO, task by task, and writes the results as a page of tables.

    python parity.py --aegis target/release/aegis --demonstrations D.safetensors --work runs/parity --out docs/evidence/parity.md

Per task of every suite: ten random actions from several initial states, 220 from one, and states near the goal. For the
suite of the demonstrations (`aegis demonstrate`): also the demonstrations, and as a reference upstream from a state changed
by one bit. Results are kept in --work, one file per task; an interrupted run continues from these files.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from fresh import NULL, Fresh
from goal_states import goal_flags, goal_states
from native import Native
from parity_page import page
from per_task import SUITES, add_arguments, results, write_whole
from upstream import SEED, open_suite

SETTLE = 10  # Control steps before the first action of a demonstration, and again after its last.
HORIZONS = (1, 10, 50, 220)
LEVELS = (1e-12, 1e-9, 1e-6)
STARTS = 4  # Number of initial states for the ten-step check, spread evenly over all initial states.
GOAL_STATES, GOAL_STEPS = 16, 2
AGAIN = 50  # Control steps of the comparison of upstream with itself.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--demonstrations", type=Path, help="of libero_spatial, by `aegis demonstrate` without --rate")
    parser.add_argument("--per-task", type=int, default=20, help="demonstrations to replay for each task")
    parser.add_argument("--nudged", type=int, default=20, help="how many of them upstream replays nudged")
    arguments = parser.parse_args()
    found = results(arguments, lambda suite: range(open_suite(suite).get_num_tasks()), measure)
    write_whole(arguments.out, page(found))


def measure(arguments, suite_name: str, index: int) -> dict:
    suite = open_suite(suite_name)
    task = Fresh(suite, index)
    native = Native(arguments.aegis, suite_name, index)
    rng = np.random.default_rng([index, SUITES.index(suite_name)])
    count = len(task.initial_states)
    kinds = geom_kinds(task.env)

    # This rollout comes first, so that only upstream's own reset has run in the environment before it.
    noise = random_actions(rng, max(HORIZONS))
    wander = upstream_rollout(task, task.initial_states[0], noise)
    found = {
        "suite": suite_name,
        "task": index,
        "name": suite.get_task(index).name,
        "goal": [" ".join(predicate) for predicate in task.env.env.parsed_problem["goal_state"]],
        "wander": compare(wander, native_rollout(native, 0, noise), kinds),
        "starts": [],
        "demonstrations": [],
        "nudged": [],
    }
    for start in np.linspace(0, count - 1, STARTS).astype(int):
        actions = random_actions(rng, 10)
        reference = upstream_rollout(task, task.initial_states[start], actions)
        found["starts"].append({"init": int(start), **compare(reference, native_rollout(native, int(start), actions), kinds)})
    if arguments.demonstrations is not None and suite_name == "libero_spatial":
        demonstrations = read_demonstrations(arguments.demonstrations, suite.get_num_tasks())[index]
        for number, (init, actions) in enumerate(demonstrations[: arguments.per_task]):
            state = task.initial_states[init]
            reference = upstream_rollout(task, state, actions)
            replay = compare(reference, native_rollout(native, init, actions), kinds)
            found["demonstrations"].append({"init": init, **replay})
            if number < arguments.nudged:
                replay = compare(reference, upstream_rollout(task, nudge(state), actions), kinds)
                found["nudged"].append({"init": init, **replay})
    found["goal_states"] = compare_goals(task, native, rng)
    # The first rollout is repeated at the end, to check that `Fresh.begin` clears all state of earlier episodes.
    again = upstream_rollout(task, task.initial_states[0], noise[:AGAIN])
    found["again"] = float(np.abs(again.states - wander.states[: AGAIN + 1]).max())
    found["resets"] = reset_again(task)
    return found


def reset_again(task: Fresh) -> dict | None:
    """Returns how far fixtures move at a second seeded reset, metres: with the joint samplers of the first reset kept, as in
    upstream, and with them removed. Returns None where the task has no joint samplers."""
    samplers, model = task.env.env.object_property_initializers, task.env.sim.model
    if not samplers:
        return None
    first, moved = np.array(model.body_pos), {}
    for forgotten in (False, True):
        if forgotten:
            # The list as at the first reset after construction: one round of samplers, to which the reset adds another.
            del samplers[len(samplers) // 3 :]
        task.env.seed(SEED)
        task.env.reset()
        moved["forgotten" if forgotten else "kept"] = float(np.abs(task.env.sim.model.body_pos - first).max())
    return moved


def random_actions(rng, steps: int):
    return rng.normal(0.0, 0.5, (steps, 7)).clip(-1.0, 1.0)


def nudge(state):
    """Returns the state with the arm's first joint position increased to the next double."""
    moved = np.array(state)
    moved[1] = np.nextafter(moved[1], np.inf)
    return moved


class Rollout:
    """Positions after each step, whether the goal was met after any step, and the geoms in contact where they are known."""

    def __init__(self, states, met: bool, touches=()):
        self.states, self.met, self.touches = np.asarray(states), met, touches


def upstream_rollout(task: Fresh, state, actions) -> Rollout:
    task.begin(state)
    rows, touches, met = [task.state()[task.positions]], [touching(task)], False
    for action in actions:
        met |= task.step(action)
        rows.append(task.state()[task.positions])
        touches.append(touching(task))
    return Rollout(rows, met, touches)


def native_rollout(native: Native, init: int, actions) -> Rollout:
    states, outcome = native.rollout(init, actions)
    return Rollout(states[:, 1 : 1 + outcome["positions"]], outcome["success_at"] is not None)


def touching(task: Fresh):
    """Returns the pairs of geoms in contact, int[contacts, 2]."""
    return np.array(task.env.sim.data._data.contact.geom)


def geom_kinds(env) -> list[str]:
    """Returns the kind of owner of each geom, in one word."""
    model, domain = env.sim.model, env.env
    kinds = {name: "object" for item in domain.objects_dict.values() for name in item.contact_geoms}
    kinds |= {name: "fixture" for item in domain.fixtures_dict.values() for name in item.contact_geoms}

    def kind(name) -> str:
        prefix = (name or "").split("_")[0]
        return kinds.get(name) or {"gripper0": "gripper", "robot0": "arm", "mount0": "arm"}.get(prefix, "table or floor")

    return [kind(model.geom_id2name(geom)) for geom in range(model.ngeom)]


def compare(reference: Rollout, other: Rollout, kinds: list[str]) -> dict:
    difference = np.abs(other.states - reference.states).max(axis=1)
    beyond = [int(np.argmax(difference > level)) if (difference > level).any() else None for level in LEVELS]
    return {
        "after": {str(steps): float(difference[steps]) for steps in HORIZONS if steps < len(difference)},
        "beyond": beyond,
        "touches": pairs(reference.touches[beyond[0]], kinds) if beyond[0] is not None else None,
        "met": [reference.met, other.met],
    }


def pairs(geoms, kinds: list[str]) -> dict[str, int]:
    return Counter("–".join(sorted(kinds[geom] for geom in pair)) for pair in geoms)


def compare_goals(task: Fresh, native: Native, rng) -> dict:
    """Counts the states for which both sides agree whether the goal is met, in the state and after each null action."""
    states = goal_states(task, GOAL_STATES, rng)
    flags = goal_flags(task, states, GOAL_STEPS)
    agree = (flags == np.asarray(native.goals(states, GOAL_STEPS))).all(axis=1)
    return {
        "states": len(states),
        "met": int(flags[:, 0].sum()),
        "agree": int(agree.sum()),
        "differ": np.flatnonzero(~agree).tolist(),
    }


def read_demonstrations(path: Path, tasks: int):
    """Reads demonstrations from a safetensors file. Returns, per task, a list of (initial state, actions): null actions for
    settling come before the demonstration's actions, and its last action is repeated after them."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    types = {"F32": np.float32, "U8": np.uint8, "I64": np.int64}

    def column(name):
        begin, end = header[name]["data_offsets"]
        values = np.frombuffer(raw[8 + size + begin : 8 + size + end], types[header[name]["dtype"]])
        return values.reshape(header[name]["shape"])

    if not column("clean").all():
        raise ValueError(f"{path}: clean: found disturbed steps; collect without --rate")
    found = [[] for _ in range(tasks)]
    for episode in np.unique(column("episode")):
        actions = column("action")[column("episode") == episode].astype(np.float64)
        # The last action is repeated, so that a goal met a little later still counts.
        actions = np.concatenate([[NULL] * SETTLE, actions, [actions[-1]] * SETTLE])
        found[episode % tasks].append((int(episode) // tasks, actions))
    return found


if __name__ == "__main__":
    main()
