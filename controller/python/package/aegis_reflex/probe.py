"""Fitting a probe on rollouts, and judging it on others."""

import json
import tempfile
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from . import _native
from .statistics import Bootstrap, Estimate, auroc

__all__ = ["defaults", "evaluate", "fit_probe"]


def defaults() -> dict:
    """Returns the tables `gate`, `rule` and `fit` of the template of a plan, each as a dict."""
    return json.loads(_native.defaults())


def merged(table: str, changes: Mapping | None) -> dict:
    """Returns a table of the template with these fields changed. Unknown fields are refused where the table is read."""
    return {**defaults()[table], **(changes or {})}


def fit_probe(
    rollouts: str | PathLike | Mapping[str, np.ndarray],
    out: str | PathLike,
    *,
    horizon_steps: int,
    chunk_steps: int,
    head: str = "linear",
    fit: Mapping | None = None,
    limits: Mapping | None = None,
    calibration_share: float = 0.5,
    seed: int = 0,
) -> dict:
    """Fits a probe on one share of the starts, sets its thresholds on the others, and writes the probe file `out`.

    `rollouts` is a file of docs/reference/rollouts.md, or its columns as arrays: `task`, `episode` and `step` of `[rows]`, `success` of
    `[rows]`, `activation` of `[rows, width]`, and optionally `start`, one row for each inference. `horizon_steps` is the largest number
    of control steps of an episode, `chunk_steps` that from one inference to the next. `head` is linear, mlp or recurrent; `fit` and
    `limits` change other fields of a plan's tables `[fit]` and `[gate]`. Returns the content of the probe file.
    """
    gate = merged("gate", {"horizon_steps": horizon_steps, "chunk_steps": chunk_steps, **(limits or {})})
    settings = merged("fit", {"head": head, **(fit or {})})
    with tempfile.TemporaryDirectory() as folder:
        file = _file(rollouts, Path(folder))
        text = _native.fit_probe(file, fspath(out), json.dumps(gate), json.dumps(settings), calibration_share, seed)
    return json.loads(text)


def evaluate(
    probe: str | PathLike,
    rollouts: str | PathLike | Mapping[str, np.ndarray],
    *,
    early_fraction: float = 0.3,
    bootstrap: Bootstrap = Bootstrap(),
) -> dict[str, Estimate]:
    """Returns the AUROC of each episode's mean score over the first `early_fraction` of the horizon, overall and within tasks, with
    intervals from a bootstrap over starts. `rollouts` are others than the probe was fitted on, as `fit_probe` takes them."""
    with tempfile.TemporaryDirectory() as folder:
        task, start, step, score, failed, episode, horizon = _native.scores(fspath(probe), _file(rollouts, Path(folder)))
    task, start, step, score, failed, episode = map(np.array, (task, start, step, score, failed, episode))
    early = (step == 0) | (step < early_fraction * horizon)
    first = np.flatnonzero(np.diff(episode, prepend=-1))
    means = np.array([score[early & (episode == number)].mean() for number in episode[first]])
    keys = task[first] * (start.max() + 1) + start[first]
    overall = auroc(failed[first], means, clusters=keys, bootstrap=bootstrap)
    return {"overall": overall, "within_task": auroc(failed[first], means, groups=task[first], clusters=keys, bootstrap=bootstrap)}


def _file(rollouts, folder: Path) -> str:
    """Returns the path of the rollouts, which are written to `folder` where they are arrays."""
    if not isinstance(rollouts, Mapping):
        return fspath(rollouts)
    path = folder / "rollouts.npz"
    np.savez(path, **rollouts)
    return str(path)
