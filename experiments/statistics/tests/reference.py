"""Makes computed.json: values of mpmath and SciPy with which tests/computed.rs compares the crate.
Run with the versions that the file names: python reference.py > computed.json"""

import json
import sys

import mpmath
import numpy as np
import scipy
from scipy.stats import bootstrap

mpmath.mp.dps = 50


def upper_tail(k, n, p):
    """P(X >= k) by direct summation in 50 digits."""
    p = mpmath.mpf(p)
    if k <= 0:
        return mpmath.mpf(1)
    if k > n:
        return mpmath.mpf(0)
    if k <= n * p:  # The complement is the shorter sum.
        return 1 - upper_tail(n - k + 1, n, 1 - p)
    term = mpmath.exp(
        mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
        + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p)
    ) if 0 < p < 1 else mpmath.mpf(p == 1)
    total = term
    for i in range(k, n):
        term = term * (n - i) / (i + 1) * p / (1 - p)
        total += term
        if term < total * mpmath.mpf(10) ** -45:
            break
    return total


def mass(k, n, p):
    return mpmath.binomial(n, k) * mpmath.mpf(p) ** k * (1 - mpmath.mpf(p)) ** (n - k)


def mcnemar(b, c):
    n = b + c
    upper, above = upper_tail(b, n, 0.5), upper_tail(b + 1, n, 0.5)
    lower = upper_tail(c, n, 0.5)
    return {"b": b, "c": c, "one_sided": float(upper), "two_sided": float(min(1, 2 * min(upper, lower))),
            "mid_p_one_sided": float((upper + above) / 2), "ln_one_sided": float(mpmath.log(upper))}


def clopper_pearson(k, n, confidence):
    # The level as the double that it is, so that both sides solve the same equation.
    tail = (1 - mpmath.mpf(confidence)) / 2

    def solve(holds_below):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(110):
            middle = (low + high) / 2
            low, high = (middle, high) if holds_below(middle) else (low, middle)
        return float(low)

    return {"k": k, "n": n, "confidence": confidence,
            "lower": 0.0 if k == 0 else solve(lambda p: upper_tail(k, n, p) < tail),
            "upper": 1.0 if k == n else solve(lambda p: 1 - upper_tail(k + 1, n, p) > tail)}


def e_value(b, c):
    e = 2 ** (b + c + 1) * mpmath.betainc(b + 1, c + 1, 0.5, 1)
    return {"b": b, "c": c, "ln_e": float(mpmath.log(e))}


def power(treatment_only, control_only, alpha, n):
    # Sums and quotients of probabilities as doubles, the rest in 50 digits.
    rate = treatment_only + control_only
    share = treatment_only / rate
    total = mpmath.mpf(0)
    for d in range(n + 1):
        critical = next((b for b in range(d + 1) if upper_tail(b, d, 0.5) <= alpha), None)
        if critical is not None:
            total += mass(d, n, rate) * upper_tail(critical, d, share)
    return {"treatment_only": treatment_only, "control_only": control_only, "alpha": alpha, "n": n,
            "power": float(total)}


def auroc(labels, scores):
    positives, negatives = scores[labels], scores[~labels]
    return ((positives[:, None] > negatives).sum() + 0.5 * (positives[:, None] == negatives).sum()), \
        len(positives) * len(negatives)


def within(labels, scores, groups):
    wins, pairs = zip(*(auroc(labels[groups == g], scores[groups == g]) for g in np.unique(groups)))
    return float(sum(wins) / sum(pairs))


def ratio(numerators, denominators, axis=-1):
    return numerators.sum(axis=axis) / denominators.sum(axis=axis)


def difference(one, other, axis=-1):
    return one.mean(axis=axis) - other.mean(axis=axis)


def resampled(data, statistic, method, replicates, keep, **options):
    result = bootstrap(data, statistic, n_resamples=replicates, method=method, vectorized=True,
                       rng=np.random.default_rng(2), **options)
    return {"method": method.lower(), "data": [list(map(float, sample)) for sample in data],
            "estimate": float(statistic(*data)), "lower": float(result.confidence_interval.low),
            "upper": float(result.confidence_interval.high), "standard_error": float(result.standard_error),
            "distribution": list(map(float, result.bootstrap_distribution)) if keep else None}


def bootstraps(replicates, keep):
    rng = np.random.default_rng(1)
    episodes = rng.integers(1, 6, 80).astype(float)
    recovered = rng.binomial(episodes.astype(int), 0.15).astype(float)
    skewed, other = rng.exponential(1.0, 40), rng.exponential(0.6, 25)
    rows = []
    for method in ("percentile", "BCa"):
        rows.append({"kind": "ratio", **resampled((recovered, episodes), ratio, method, replicates, keep, paired=True)})
        rows.append({"kind": "difference", **resampled((skewed, other), difference, method, replicates, keep)})
    return rows


def ranked():
    rng = np.random.default_rng(3)
    rows = []
    for n, tasks in ((60, 3), (200, 10)):
        groups = rng.integers(0, tasks, n)
        scores = np.round(rng.normal(groups * 0.3, 1.0), 1)  # Rounded, so that there are ties.
        labels = rng.random(n) < 1 / (1 + np.exp(-scores))
        wins, pairs = auroc(labels, scores)
        rows.append({"labels": [int(label) for label in labels], "scores": list(map(float, scores)),
                     "groups": [int(group) for group in groups], "auroc": float(wins / pairs),
                     "within": within(labels, scores, groups)})
    return rows


counts = [(0, 3), (3, 0), (20, 20), (700, 650), (1100, 0), (5000, 5000), (52_000, 48_000), (100_000, 99_000),
          (500_000, 500_000), (501_000, 499_000), (505_000, 495_000), (520_000, 480_000), (499_000, 501_000)]
json.dump({
    "made_by": f"reference.py; Python {sys.version.split()[0]}, mpmath {mpmath.__version__}, "
               f"numpy {np.__version__}, scipy {scipy.__version__}",
    "mcnemar": [mcnemar(b, c) for b, c in counts],
    "clopper_pearson": [clopper_pearson(*row) for row in (
        (1, 1, 0.95), (1, 1000, 0.9), (5, 1_000_000, 0.95), (5000, 10_000, 0.99), (500_000, 1_000_000, 0.95),
        (999_999, 1_000_000, 0.95), (3, 7, 0.5), (12_345, 100_000, 0.999))],
    "e_value": [e_value(b, c) for b, c in ((0, 0), (1, 0), (0, 9), (40, 10), (10, 40), (300, 250), (2000, 100))],
    "power": [power(*row) for row in (
        (0.1, 0.02, 0.05, 50), (0.1, 0.02, 0.05, 120), (0.054, 0.01, 0.0166, 200), (0.3, 0.3, 0.05, 40),
        (0.6, 0.4, 0.05, 60), (0.2, 0.0, 0.05, 30), (0.01, 0.05, 0.05, 80))],
    "bootstrap_exact": bootstraps(499, True),
    "bootstrap_sampled": bootstraps(99_999, False),
    "auroc": ranked(),
}, sys.stdout)
