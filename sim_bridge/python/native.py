"""The native runtime for one task, called through the `aegis` binary.
Arrays are exchanged in files of a temporary folder."""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np


class Native:
    """One task of a suite."""

    def __init__(self, binary: Path, suite: str, task: int):
        self.binary, self.place = binary, ["--suite", suite, "--task", task, "--json"]

    def rollout(self, init: int, actions, *options):
        """Returns the initial state and the state after each action, float64[steps + 1, 1 + nq + nv], and the output of
        `aegis sim rollout`."""
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "actions.npy", Path(folder) / "states.npy"
            np.save(given, actions)
            outcome = self._run("rollout", "--init", init, "--actions", given, "--states", found, *options)
            return np.load(found), outcome

    def goals(self, states, steps: int) -> list[list[bool]]:
        """Returns whether the goal is met in each state and after each of `steps` null actions."""
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder) / "states.npy"
            np.save(given, states)
            return self._run("goals", "--states", given, "--steps", steps)["success"]

    def sample(self, count: int, seed: int, *options):
        """Returns new initial states, float64[count, 1 + nq + nv], and the output of `aegis sim sample` for the task."""
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder) / "states.npy"
            outcome = self._run("sample", "--count", count, "--seed", seed, "--out", found, *options)
            return np.load(found), outcome["tasks"][0]

    def _run(self, verb: str, *arguments) -> dict:
        command = list(map(str, [self.binary, "sim", verb, *self.place, *arguments]))
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {ran.stderr.strip()}")
        return json.loads(ran.stdout)
