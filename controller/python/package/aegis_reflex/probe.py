"""Fitting a probe on rollouts, and judging it on others."""

import json
import tempfile
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from . import _native
from ._checks import counted, encoded
from .statistics import Bootstrap, Estimate, auroc

__all__ = ["calibrate", "defaults", "evaluate", "fit_probe"]


def defaults() -> dict:
    """Returns the tables `gate`, `rule` and `fit` of the template of a plan, each as a dict."""
    return json.loads(_native.defaults())


def merged(table: str, changes: Mapping | None) -> dict:
    """Returns a table of the template with these fields changed. Unknown fields are refused where the table is read."""
    return {**defaults()[table], **(changes or {})}


def own_steps(path: str | PathLike) -> dict:
    """Returns the control steps of an episode and of a chunk, `horizon_steps` and `chunk_steps`, that a probe file names. Returns nothing
    for a file without them, or that cannot be read: the native library, which reads it next, says what is wrong."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        found = {"horizon_steps": content["foreign"]["horizon_steps"], "chunk_steps": content["chunk_steps"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, int)}


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
    `limits` change other fields of a plan's tables `[fit]` and `[gate]`. A file `out` is replaced, and missing folders are made. Returns the
    content of the probe file.
    """
    for name, table, twice in (("limits", limits, ("horizon_steps", "chunk_steps")), ("fit", fit, ("head",))):
        if found := [field for field in twice if field in (table or {})]:
            raise ValueError(f"{name}: found {found[0]}; valid is the argument {found[0]}=")
    steps = {"horizon_steps": counted("horizon_steps", horizon_steps, 1, 2**32 - 1)}
    steps["chunk_steps"] = counted("chunk_steps", chunk_steps, 1, 2**32 - 1)
    gate, settings = merged("gate", steps | dict(limits or {})), merged("fit", {"head": head, **(fit or {})})
    seed = counted("seed", seed, 0, 2**64 - 1)
    with tempfile.TemporaryDirectory() as folder:
        file = _file(rollouts, Path(folder))
        text = _native.fit_probe(file, fspath(out), encoded("limits", gate), encoded("fit", settings), calibration_share, seed)
    return json.loads(text)


def calibrate(
    probe: str | PathLike,
    rollouts: str | PathLike | Mapping[str, np.ndarray],
    out: str | PathLike,
    *,
    alpha: float | None = None,
    limits: Mapping | None = None,
) -> dict:
    """Sets the thresholds of a fitted probe anew, on rollouts that it was not made from, and writes the probe file `out`.

    `alpha` is the share of episodes that succeed and yet fire, by default the probe's. `rollouts` and `limits` are as `fit_probe` takes
    them. Returns the content of the probe file.
    """
    limits = dict(limits or {})
    for name in ("horizon_steps", "chunk_steps"):
        if name in limits:
            raise ValueError(f"limits: found {name}; valid is none: the probe file states it")
    gate = encoded("limits", merged("gate", own_steps(probe) | limits))
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(_native.calibrate_probe(fspath(probe), _file(rollouts, Path(folder)), fspath(out), gate, alpha))


def evaluate(
    probe: str | PathLike,
    rollouts: str | PathLike | Mapping[str, np.ndarray],
    *,
    early_fraction: float = 0.3,
    bootstrap: Bootstrap = Bootstrap(),
) -> dict[str, Estimate]:
    """Returns the AUROC of each episode's mean score over the first `early_fraction` of the horizon, overall and within tasks, with
    intervals from a bootstrap over starts. `rollouts` are others than the probe was fitted on, as `fit_probe` takes them; the very ones are
    refused."""
    if not 0.0 < early_fraction <= 1.0:
        raise ValueError(f"early_fraction: found {early_fraction}; valid is above 0, at most 1")
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
