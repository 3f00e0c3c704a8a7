"""Paired statistics: exact tests, intervals over clusters, and how many episodes an effect needs.

Each function is the one that the reports of `aegis` are made with. Sources are in the docstrings.
"""

import json
from dataclasses import dataclass

import numpy as np

from . import _native
from ._checks import counted
from ._native import McNemarProcess

__all__ = [
    "Bootstrap",
    "BudgetDifference",
    "Estimate",
    "McNemar",
    "McNemarProcess",
    "PairedEffects",
    "Rate",
    "SampleSize",
    "auroc",
    "bootstrap_mean",
    "budget_match",
    "clopper_pearson",
    "holm",
    "mcnemar",
    "mcnemar_mid_p",
    "mcnemar_power",
    "mcnemar_sample_size",
    "paired_effects",
]


@dataclass(frozen=True)
class Bootstrap:
    """Settings of a bootstrap over clusters: resamples (100 to 1,000,000), seed, two-sided confidence level, and "percentile" or "bca". A
    seed draws the same resamples on every machine."""

    replicates: int = 10_000
    seed: int = 0
    confidence: float = 0.95
    method: str = "percentile"

    def _settings(self) -> tuple:
        return (
            counted("bootstrap.replicates", self.replicates, 0, 2**64 - 1),
            counted("bootstrap.seed", self.seed, 0, 2**64 - 1),
            self.confidence,
            self.method,
        )


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval over `clusters`; `undefined` resamples on which it had no value were left out."""

    estimate: float
    lower: float
    upper: float
    standard_error: float
    clusters: int
    undefined: int


@dataclass(frozen=True)
class McNemar:
    """P-values of the exact test: P(X ≥ b) and twice the smaller tail, X ~ Binomial(b + c, ½), and the one-sided mid-p value, which is 1
    where no pair is discordant."""

    one_sided: float
    two_sided: float
    mid_p_one_sided: float


@dataclass(frozen=True)
class Rate:
    """`k` of `n` episodes, with the Clopper–Pearson interval `exact`, and an interval over clusters, or None where it is undefined."""

    k: int
    n: int
    estimate: float
    exact: tuple[float, float]
    clustered: Estimate | None


@dataclass(frozen=True)
class PairedEffects:
    """What an arm does to the outcomes of the weak policy: episodes that it recovers of those that weak lost, breaks of those that weak
    won (None where there are none), and (recovered − broken) / episodes, with McNemar's test."""

    episodes: int
    recovered: Rate | None
    broken: Rate | None
    net_effect: float
    net_effect_clustered: Estimate | None
    mcnemar: McNemar


@dataclass(frozen=True)
class SampleSize:
    """Pairs that a power needs. Power rises in saw teeth: `first` reaches it, from `stable` on it stays for `looked_ahead` more."""

    first: int
    first_power: float
    stable: int
    stable_power: float
    looked_ahead: int


@dataclass(frozen=True)
class BudgetDifference:
    """One quantity of two arms' budgets, treatment minus control; `verdict` is "matched", "unclear" or "mismatched"."""

    treatment: float
    control: float
    difference: Estimate
    verdict: str


def mcnemar(b: int, c: int) -> McNemar:
    """Exact McNemar test; `b` pairs were won only by the treatment, `c` only by the control, at most a billion each. Source: McNemar, Psychometrika 1947."""
    return McNemar(**json.loads(_native.mcnemar(*_pair(b, c))))


def mcnemar_mid_p(b: int, c: int) -> float:
    """One-sided mid-p value, ½ where no pair is discordant. Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology
    2013."""
    return _native.mcnemar_mid_p(*_pair(b, c))


def holm(p_values) -> np.ndarray:
    """Adjusted p-values in the order given. Source: Holm, Scandinavian Journal of Statistics 1979."""
    return np.array(_native.holm(_numbers("p_values", p_values).tolist()))


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of `k` successes in `n` independent trials. Source: Clopper and Pearson, Biometrika 1934."""
    return _native.clopper_pearson(counted("k", k), counted("n", n), confidence)


def mcnemar_power(treatment_only: float, control_only: float, *, alpha: float, n: int) -> float:
    """Probability that the one-sided exact test rejects over `n` independent pairs, given the probabilities that a pair is won by one
    arm only. Source: Duffy, Biometrics 1984."""
    return _native.mcnemar_power(treatment_only, control_only, alpha, counted("n", n, most=10_000_000))


def mcnemar_sample_size(
    treatment_only: float, control_only: float, *, alpha: float, power: float = 0.8, limit: int = 100_000
) -> SampleSize:
    """Pairs that `power` needs, at most `limit`."""
    limit = counted("limit", limit, 1, 10_000_000)
    return SampleSize(**json.loads(_native.mcnemar_sample_size(treatment_only, control_only, alpha, power, limit)))


def auroc(labels, scores, *, groups=None, clusters=None, bootstrap: Bootstrap = Bootstrap()) -> float | Estimate:
    """Area under the ROC curve of `scores` for `labels` (true for the class that scores higher), `[rows]`; ties count one half.

    With `groups`, only pairs within a group are compared. With `clusters`, returns an `Estimate` with its interval over clusters, drawn
    within groups where these are given; otherwise a float. Groups and clusters are whole numbers or text, `[rows]`. A score that is NaN
    ranks above all others, as the gate takes it for the highest risk.
    """
    found = _native.auroc(_flags("labels", labels), _numbers("scores", scores), _codes(groups), _codes(clusters), bootstrap._settings())
    found = json.loads(found)
    return Estimate(**found) if isinstance(found, dict) else found


def bootstrap_mean(values, clusters, *, bootstrap: Bootstrap = Bootstrap()) -> Estimate:
    """Mean of `values`, `[rows]`, with its interval over `clusters`, `[rows]`."""
    return Estimate(**json.loads(_native.bootstrap_mean(_numbers("values", values), _codes(clusters), bootstrap._settings())))


def paired_effects(weak, arm, *, task, initial_state, bootstrap: Bootstrap = Bootstrap()) -> PairedEffects:
    """Compares outcomes of an arm with those of the weak policy on the same starts, row by row, `[rows]`. Clusters of the intervals are
    the rows that share `task` and `initial_state`, which are whole numbers or text."""
    tasks, starts = _codes(task, "task").tolist(), _codes(initial_state, "initial_state").tolist()
    weak, arm = _flags("weak", weak), _flags("arm", arm)
    found = json.loads(_native.paired_effects(tasks, starts, weak, arm, bootstrap._settings()))
    rates = {name: _rate(found.pop(name)) for name in ("recovered", "broken")}
    clustered, test = _estimate(found.pop("net_effect_clustered")), McNemar(**found.pop("mcnemar"))
    return PairedEffects(**found, **rates, net_effect_clustered=clustered, mcnemar=test)


def budget_match(
    treatment, control, *, task, initial_state, tolerance: tuple[float, float], bootstrap: Bootstrap = Bootstrap(confidence=0.9)
) -> dict[str, BudgetDifference]:
    """Compares what two arms spent on the same episodes. `treatment` and `control` are `(fires, steps, strong_steps)`, each `[rows]`;
    `tolerance` is of fires per episode and of duty. A confidence of 1 − 2α shows a match at level α. Source: Schuirmann, Journal of
    Pharmacokinetics and Biopharmaceutics 1987. Returns the differences of `fires` and of `duty`."""
    names = ("fires", "steps", "strong_steps")
    for name, arm in (("treatment", treatment), ("control", control)):
        if len(arm) != len(names):
            raise ValueError(f"{name}: found {len(arm)} columns; valid are {len(names)}: {', '.join(names)}")
    spent = [tuple(_counts(name, column) for name, column in zip(names, arm)) for arm in (treatment, control)]
    tasks, starts = _codes(task, "task").tolist(), _codes(initial_state, "initial_state").tolist()
    found = _native.budget_match(tasks, starts, *spent, tolerance, bootstrap._settings())
    return {
        name: BudgetDifference(**{**one, "difference": Estimate(**one["difference"])}) for name, one in json.loads(found).items()
    }


def _estimate(found: dict | None) -> Estimate | None:
    return None if found is None else Estimate(**found)


def _rate(found: dict | None) -> Rate | None:
    if found is None:
        return None
    exact = found["proportion"].pop("exact")
    return Rate(**found["proportion"], exact=(exact["lower"], exact["upper"]), clustered=_estimate(found["clustered"]))


def _column(name: str, values) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name}: found shape {values.shape}; valid is [rows]")
    return values


def _flags(name: str, values) -> np.ndarray:
    values = _column(name, values)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name}: found other values than true and false, or 1 and 0")
    return np.ascontiguousarray(values, dtype=bool)


def _numbers(name: str, values) -> np.ndarray:
    values = _column(name, values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name}: found {values.dtype}; valid is numbers")
    return np.ascontiguousarray(values, dtype=np.float64)


def _counts(name: str, values) -> list[int]:
    values = _column(name, values)
    if values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise ValueError(f"{name}: found {values.dtype}; valid is whole numbers from 0")
    return values.tolist()


def _pair(b: int, c: int) -> tuple[int, int]:
    return counted("b", b), counted("c", c)


def _codes(values, name: str = "groups or clusters") -> np.ndarray | None:
    """Returns labels of any kind as int64, equal where they are equal, in their sorted order."""
    if values is None:
        return None
    values = _column(name, values)
    if values.dtype.kind not in "iubUSf" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise ValueError(f"{name}: found {values.dtype}, or a number that is not finite; valid is whole numbers or text")
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
