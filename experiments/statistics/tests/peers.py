#!/usr/bin/env python3
"""Compares `aegis stats` with fieldtrial, SciPy and statsmodels on the same counts; prints the largest differences.

    pip install fieldtrial==0.3.0 scipy==1.17.1 statsmodels==0.15.0
    experiments/statistics/tests/peers.py [--aegis target/release/aegis] [--report runs/study/report.json]

With --report, a study's contrasts and arms give further counts, and the report's own figures are compared with the peers.
Exits with 1 where two differ by more than 1e-9, relative.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import sysconfig

import numpy as np
from scipy.stats import binomtest, mannwhitneyu
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOLERANCE = 1e-9
PAIRS = [(49, 17), (17, 49), (10, 0), (0, 10), (1, 1), (0, 1), (35, 36), (200, 150), (1200, 1100)]
FAMILIES = [[0.01, 0.04, 0.03], [8.5e-6, 1.0e-4, 0.2], [0.5, 0.5, 0.5], [0.04]]
PROPORTIONS = [(65, 646), (0, 20), (20, 20), (1, 1), (323, 646), (3, 1000)]


class Ledger:
    """Largest difference by figure and peer."""

    def __init__(self):
        self.worst = {}

    def hold(self, figure, peer, ours, theirs):
        scale = max(abs(theirs), 1e-300)
        difference = abs(ours - theirs) / scale if theirs or ours else 0.0
        count, worst = self.worst.get((figure, peer), (0, 0.0))
        self.worst[(figure, peer)] = (count + 1, max(worst, difference))

    def tell(self):
        print(f"{'figure':<28} {'peer':<12} {'values':>6}  largest difference, relative")
        for (figure, peer), (count, worst) in sorted(self.worst.items()):
            print(f"{figure:<28} {peer:<12} {count:>6}  {worst:.1e}")
        return max(worst for _, worst in self.worst.values()) <= TOLERANCE


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def hold_mcnemar(ledger, fieldtrial, ours):
    b, c = ours["b"], ours["c"]
    if b + c == 0:
        return
    greater = run(fieldtrial, "paired", "--b", b, "--c", c, "--alternative", "greater", "--json")
    two_sided = run(fieldtrial, "paired", "--b", b, "--c", c, "--json")
    ledger.hold("McNemar, one-sided", "fieldtrial", ours["one_sided"], greater["test"]["pvalue"])
    ledger.hold("McNemar, two-sided", "fieldtrial", ours["two_sided"], two_sided["test"]["pvalue"])
    one_sided = binomtest(b, b + c, 0.5, alternative="greater").pvalue
    ledger.hold("McNemar, one-sided", "scipy", ours["one_sided"], one_sided)
    ledger.hold("McNemar, two-sided", "scipy", ours["two_sided"], binomtest(b, b + c, 0.5).pvalue)
    exact = mcnemar(np.array([[0, b], [c, 0]]), exact=True).pvalue
    ledger.hold("McNemar, two-sided", "statsmodels", ours["two_sided"], exact)


def hold_interval(ledger, fieldtrial, k, n, level, lower, upper):
    method = ["--method", "clopper-pearson", "--level", level, "--json"]
    theirs = run(fieldtrial, "ci", f"{k}/{n}", *method)["interval"]
    for ours, peer in [(lower, theirs["low"]), (upper, theirs["high"])]:
        ledger.hold("Clopper–Pearson", "fieldtrial", ours, peer)
    theirs = binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    for ours, peer in [(lower, theirs.low), (upper, theirs.high)]:
        ledger.hold("Clopper–Pearson", "scipy", ours, peer)
    for ours, peer in zip((lower, upper), proportion_confint(k, n, alpha=1 - level, method="beta")):
        ledger.hold("Clopper–Pearson", "statsmodels", ours, float(peer))


def hold_holm(ledger, fieldtrial, p_values, adjusted):
    for ours, peer in zip(adjusted, run(fieldtrial, "adjust", *p_values, "--json")["adjusted"]):
        ledger.hold("Holm", "fieldtrial", ours, peer)
    theirs = multipletests(p_values, method="holm")[1]
    for ours, peer in zip(adjusted, theirs):
        ledger.hold("Holm", "statsmodels", ours, float(peer))


def hold_auroc(ledger, aegis, folder):
    rng = np.random.default_rng(1)
    for index, ties in enumerate([None, 8]):
        labels = rng.integers(0, 2, 400)
        scores = rng.normal(labels * 0.8, 1.0)
        scores = scores if ties is None else np.round(scores * ties / 4)
        path = folder / f"peers-{index}.csv"
        rows = [f"{label},{float(score)!r}" for label, score in zip(labels, scores)]
        path.write_text("label,score\n" + "\n".join(rows) + "\n")
        won, lost = scores[labels == 0], scores[labels == 1]
        theirs = mannwhitneyu(lost, won).statistic / (len(won) * len(lost))
        ledger.hold("AUROC", "scipy", run(aegis, "stats", "auroc", "--csv", path, "--json")["auroc"], theirs)
        path.unlink()


def hold_report(ledger, fieldtrial, path, level):
    report = json.loads(path.read_text())["report"]
    contrasts = report["contrasts"]
    for contrast in contrasts:
        figures = contrast["figures"]
        hold_mcnemar(ledger, fieldtrial, {"b": figures["b"], "c": figures["c"], **figures["mcnemar"]})
    p_values = [contrast["figures"]["mcnemar"]["one_sided"] for contrast in contrasts]
    hold_holm(ledger, fieldtrial, p_values, [contrast["adjusted"] for contrast in contrasts])
    for arm in report["arms"]:
        success = arm["success"]
        exact = success["exact"]
        hold_interval(ledger, fieldtrial, success["k"], success["n"], level, exact["lower"], exact["upper"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aegis", type=pathlib.Path, default=ROOT / "target/release/aegis")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--level", type=float, default=0.95, help="of the report's intervals")
    given = parser.parse_args()
    fieldtrial = pathlib.Path(sysconfig.get_path("scripts")) / "fieldtrial"
    ledger = Ledger()
    for b, c in PAIRS:
        hold_mcnemar(ledger, fieldtrial, run(given.aegis, "stats", "mcnemar", "--b", b, "--c", c, "--json"))
    for p_values in FAMILIES:
        ours = run(given.aegis, "stats", "holm", "--p", ",".join(map(str, p_values)), "--json")
        hold_holm(ledger, fieldtrial, p_values, ours["adjusted"])
    for k, n in PROPORTIONS:
        ours = run(given.aegis, "stats", "clopper-pearson", "--k", k, "--n", n, "--json")
        hold_interval(ledger, fieldtrial, k, n, ours["confidence"], ours["lower"], ours["upper"])
    hold_auroc(ledger, given.aegis, pathlib.Path.cwd())
    if given.report:
        hold_report(ledger, fieldtrial, given.report, given.level)
    sys.exit(0 if ledger.tell() else "peers.py: two figures differ")


if __name__ == "__main__":
    main()
