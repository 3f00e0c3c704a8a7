"""Formats the results of `parity.py` as a page of tables. Numbers in, Markdown out; every statement on the page is computed
from the numbers."""

from collections import Counter

COMMANDS = """
    aegis demonstrate --starts 0..20 --seed 1 --out runs/demonstrations.safetensors
    "$AEGIS_CACHE"/python/*/bin/python sim_bridge/python/parity.py --aegis target/release/aegis \\
        --demonstrations runs/demonstrations.safetensors --work runs/parity --out docs/evidence/parity.md
"""


def page(results: list[dict]) -> str:
    suites = {}
    for result in results:
        suites.setdefault(result["suite"], []).append(result)
    parts = [head(results)]
    parts += [suite_section(name, tasks) for name, tasks in suites.items()]
    replayed = [task for task in results if task["demonstrations"]]
    if replayed:
        parts.append(demonstrations(replayed))
        parts.append(onset(replayed))
    parts.append(resets(results))
    parts.append(f"## Again\n{COMMANDS}")
    return "\n".join(parts)


def head(results) -> str:
    starts = [start for task in results for start in task["starts"]]
    replays = [replay for task in results for replay in task["demonstrations"]]
    rollouts = replays + [task["wander"] for task in results]
    goals = [task["goal_states"] for task in results]
    worst = max(start["after"]["10"] for start in starts)
    again = max(task["again"] for task in results)
    one_sided = [
        f"{task['suite']} {task['task']}"
        for task in results
        if not 0 < task["goal_states"]["met"] < task["goal_states"]["states"]
    ]
    return f"""# Parity with upstream

Written by `sim_bridge/python/parity.py`. Differences are the largest in `qpos` (metres, radians, quaternion components)
between the native runtime and upstream LIBERO, from the same initial state under the same actions, upstream in an
environment that has just been seeded with 0 and reset once.

- **Ten control steps** of random actions from {len(starts)} initial states of {len(results)} tasks: at most {worst:.0e}.
- **Goals** in {sum(goal["states"] for goal in goals)} states in which they hold, nearly hold or hold in part, looked at as they are and after each of
  two null actions: both sides agree on all three looks in {sum(goal["agree"] for goal in goals)}. {met_both_ways(one_sided)}
- **Outcomes** of {len(rollouts)} episodes, {len(replays)} of them demonstrations: the same in {same_outcome(rollouts)}.
- **Upstream against itself**, each task's random actions again after everything else: {bitwise(again)}.

Random actions are normal with a standard deviation of 0.5, clipped to −1 to 1.
"""


def same_outcome(replays) -> int:
    return sum(replay["met"][0] == replay["met"][1] for replay in replays)


def bitwise(difference: float) -> str:
    return f"at most {difference:.0e}" if difference else "the same to the last bit"


def met_both_ways(one_sided) -> str:
    if not one_sided:
        return "Every task has states of both kinds."
    return f"Without states of both kinds: {', '.join(one_sided)}."


def suite_section(name: str, tasks) -> str:
    rows = [
        f"| {task['task']} | {ladder(task['wander'])} | {max(start['after']['10'] for start in task['starts']):.0e} | "
        f"{'; '.join(task['goal'])} | {task['goal_states']['met']} of {task['goal_states']['states']} | "
        f"{task['goal_states']['agree']} |"
        for task in tasks
    ]
    return f"""## {name}

The first four columns are one rollout from initial state 0.

| task | after 1 step | 10 | 50 | 220 | worst of {len(tasks[0]['starts'])} after 10 | goal | holds in | both agree |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def ladder(comparison) -> str:
    return " | ".join(f"{difference:.0e}" for difference in comparison["after"].values())


def demonstrations(tasks) -> str:
    rows = []
    for task in tasks:
        replays, nudged = task["demonstrations"], task["nudged"]
        worst = [max(replay["after"][steps] for replay in replays) for steps in ("1", "10", "50")]
        cells = [f"{difference:.0e}" for difference in worst] + tally(replays) + tally(nudged)
        rows.append(f"| {task['task']} | " + " | ".join(cells) + " |")
    replays = [replay for task in tasks for replay in task["demonstrations"]]
    nudged = [replay for task in tasks for replay in task["nudged"]]
    rows.append("| all | | | | " + " | ".join(tally(replays) + tally(nudged)) + " |")
    return f"""## Demonstrations of libero_spatial

Demonstrations of the scripted expert, replayed from their first settling step on. *Beyond 1e-6* counts those in which
the difference ever exceeded that; *same outcome*, those in which both sides met the goal or neither did. *Nudged* is
upstream compared with upstream whose first arm joint began one bit (at most 4e-16 rad) further: what contact makes of the
smallest difference there is, and the yardstick for the native columns.

| task | after 1 step | 10 | 50 | beyond 1e-6 | same outcome | nudged: beyond 1e-6 | same outcome |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def tally(replays) -> list[str]:
    beyond = sum(replay["beyond"][2] is not None for replay in replays)
    return [f"{beyond} of {len(replays)}", f"{same_outcome(replays)} of {len(replays)}"]


def onset(tasks) -> str:
    rows = []
    for title, kind in (("native", "demonstrations"), ("nudged", "nudged")):
        parted = [replay for task in tasks for replay in task[kind] if replay["beyond"][2] is not None]
        if not parted:
            continue
        touches = Counter(pair for replay in parted for pair in replay["touches"])
        growth = sorted(replay["beyond"][2] - replay["beyond"][0] for replay in parted)
        first = sorted(replay["beyond"][0] for replay in parted)
        among = ", ".join(f"{pair} {count}" for pair, count in touches.most_common())
        rows.append(
            f"| {title} | {len(parted)} | {first[0]} / {first[len(first) // 2]} / {first[-1]} | "
            f"{growth[0]} / {growth[len(growth) // 2]} / {growth[-1]} | {among} |"
        )
    return f"""## Where divergence begins

Of the demonstrations that part by more than 1e-6: the control step at which the difference first exceeds 1e-12 (least /
median / most), how many steps later it exceeds 1e-6, and in how many of them which kinds of geoms touch at the first.

| against upstream | parted | exceeds 1e-12 at | to 1e-6 in | touching then |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def resets(results) -> str:
    moved = [
        f"{task['suite']} {task['task']} ({task['resets']['kept'] * 1000:.0f} mm)" for task in results if task["resets"]
    ]
    forgotten = max((task["resets"]["forgotten"] for task in results if task["resets"]), default=0.0)
    return f"""## What upstream draws anew

Upstream's initial states record time, positions and velocities. Where a fixture stands (a cabinet within 2 cm and a few
degrees) is drawn at every `env.reset()` from NumPy's global generator and kept in the model, so it depends on the seed
and on all that was drawn since.

- **Seed 0, one reset, `set_init_state`:** the scene that is exported here, and the one that this page compares with.
- **No seed:** another scene in every process. Only an export of that very environment could match it.
- **Seed 0 before every reset:** the same scene each time, except in tasks that begin with a drawer, door or knob set.
  Each reset appends another sampler of that joint to a list that upstream never empties
  (`object_property_initializers`), each of them draws, and what is drawn after them comes out different. From the first
  reset to the second, fixtures move in {", ".join(moved)}. With the list cut back in between, the largest move is
  {bitwise_metres(forgotten)}. An environment that resets such a task twice is in another scene than a fresh one, and
  upstream compared with itself that way parts as soon as something touches.
"""


def bitwise_metres(distance: float) -> str:
    return f"{distance:.0e} m" if distance else "exactly zero"
