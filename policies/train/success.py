"""Write the number of episodes that each policy won, task by task, into the policy's card.

    aegis demo --episodes 400 --out runs/confirmation
    python3 policies/train/success.py --episodes runs/confirmation/episodes.jsonl --aegis target/release/aegis \
        --weak policies/models/weak.toml --strong policies/models/strong.toml

Intervals are Clopper-Pearson at 95 %, by `aegis stats`. An existing table is replaced.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HEAD = "[success]"


def interval(aegis, won, episodes):
    command = [str(aegis), "stats", "clopper-pearson", "--k", str(won), "--n", str(episodes), "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return round(found["lower"], 3), round(found["upper"], 3)


def table(aegis, plan, outcomes):
    """Returns the card's table as text. `outcomes` maps a task to a list of bools, true for won episodes."""

    def row(name, results):
        lower, upper = interval(aegis, sum(results), len(results))
        return f"{name} = {{ won = {sum(results)}, episodes = {len(results)}, interval = [{lower}, {upper}] }}"

    everything = [won for results in outcomes.values() for won in results]
    lines = [HEAD, f'starts = "confirmation, {plan}"', row("all", everything)]
    return "\n".join(lines + [row(f"task_{task}", results) for task, results in sorted(outcomes.items())]) + "\n"


def write(card, text):
    """Replaces the card's `[success]` table, which has to be its last one, or appends it. The write is atomic."""
    kept = card.read_text().split(f"\n{HEAD}")[0].rstrip("\n")
    part = card.with_suffix(".part")
    part.write_text(f"{kept}\n\n{text}")
    os.replace(part, card)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=Path, required=True, help="episodes.jsonl of `aegis demo`")
    parser.add_argument("--aegis", type=Path, required=True, help="the binary")
    parser.add_argument("--plan", default="experiments/demo.toml", help="the plan that the episodes are of")
    parser.add_argument("--weak", type=Path, help="card of the weak policy")
    parser.add_argument("--strong", type=Path, help="card of the strong policy")
    arguments = parser.parse_args()
    outcomes = {"weak": defaultdict(list), "strong": defaultdict(list)}
    for number, line in enumerate(arguments.episodes.read_text().splitlines(), start=1):
        try:
            episode = json.loads(line)
            task, won = episode["key"]["start"]["task"], episode["success"]
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"{arguments.episodes}: line {number}: {error!r}; valid is what `aegis demo` writes")
        if episode["arm"] in outcomes:
            outcomes[episode["arm"]][task].append(won)
    for arm, card in (("weak", arguments.weak), ("strong", arguments.strong)):
        if card is None:
            continue
        if not outcomes[arm]:
            sys.exit(f"{arguments.episodes}: no episode of the arm {arm}")
        write(card, table(arguments.aegis, arguments.plan, outcomes[arm]))
        print(card)


if __name__ == "__main__":
    main()
