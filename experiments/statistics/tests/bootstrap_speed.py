"""Times scipy.stats.bootstrap and the bootstrap of this crate in turn, on the same rows, and prints the ratios.
From the repository's root: python experiments/statistics/tests/bootstrap_speed.py"""

import json
import subprocess
import time

import numpy as np
import scipy
from scipy.stats import bootstrap, rankdata

EPISODES, REPLICATES = 700, 9_999
RUNS = 3


def rows():
    """The same sequence as in examples/bootstrap_speed.rs."""
    state = 12_345

    def uniform():
        nonlocal state
        state = (state * 1_103_515_245 + 12_345) % (1 << 31)
        return state / (1 << 31)

    draws = [uniform() for _ in range(EPISODES)]
    effects = np.array([1.0 if draw < 0.12 else -1.0 if draw < 0.15 else 0.0 for draw in draws])
    labels = np.array([uniform() < 0.6 for _ in range(EPISODES)])
    scores = np.array([uniform() + (0.3 if label else 0.0) for label in labels])
    steps = np.array([100.0 + np.floor(200.0 * uniform()) for _ in range(EPISODES)])
    strong = np.array([np.floor(step * uniform()) for step in steps])
    lost, recovered = np.empty(EPISODES), np.empty(EPISODES)
    for row in range(EPISODES):
        lost[row] = uniform() < 0.5
        recovered[row] = lost[row] * (uniform() < 0.3)
    return effects, labels, scores, (recovered, lost), (strong, steps)


def auroc(labels, scores, axis=-1):
    """Mann-Whitney by ranks, over whole blocks of resamples at once."""
    positives = labels.sum(axis=axis)
    ranks = (rankdata(scores, axis=axis) * labels).sum(axis=axis)
    return (ranks - positives * (positives + 1) / 2) / (positives * (labels.shape[axis] - positives))


def ratio(numerators, denominators, axis=-1):
    return numerators.sum(axis=axis) / denominators.sum(axis=axis)


def best(run, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3, result.confidence_interval


def main():
    command = ["cargo", "run", "--quiet", "--release", "-p", "aegis-statistics", "--example", "bootstrap_speed"]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    effects, labels, scores, recovered, duty = rows()
    # Blocks of 500 resamples are SciPy's fastest here: all at once, they leave the cache.
    statistics = {
        "net effect": ((effects,), np.mean),
        "recovered rate": (recovered, ratio),
        "mean score": ((scores,), np.mean),
        "duty": (duty, ratio),
        "AUROC": ((labels.astype(float), scores), auroc),
    }

    def resample(name, method):
        data, statistic = statistics[name]
        return bootstrap(data, statistic, n_resamples=REPLICATES, batch=500, method=method, vectorized=True,
                         paired=len(data) > 1, rng=np.random.default_rng(1))

    print(f"{EPISODES} rows, {REPLICATES} resamples; scipy {scipy.__version__}, numpy {np.__version__}; best of {RUNS}")
    for row in ours:
        took, interval = best(lambda: resample(row["statistic"], row["method"]), RUNS)
        found = row["found"]
        print(f"{row['statistic']:<14} {row['method']:<11} scipy {took:8.1f} ms  here {row['milliseconds']:7.2f} ms  "
              f"ratio {took / row['milliseconds']:6.1f}  scipy [{interval.low:.4f}, {interval.high:.4f}]  "
              f"here [{found['lower']:.4f}, {found['upper']:.4f}]")


if __name__ == "__main__":
    main()
