"""A paired test of two policies from a table of episodes: which of them won, on the same starts.

    python paired_test.py episodes.csv

The table has the columns task, start, a and b, the last two 1 for success and 0 for failure. Without an argument, an example is used.
"""

import csv
import io
import sys

import numpy as np

from aegis_reflex.statistics import Bootstrap, paired_effects

EXAMPLE = "task,start,a,b\n" + "".join(f"{n % 4},{n},{int(n % 3 > 0)},{int(n % 3 > 0 or n % 5 > 1)}\n" for n in range(120))

text = open(sys.argv[1], newline="").read() if len(sys.argv) > 1 else EXAMPLE
rows = list(csv.DictReader(io.StringIO(text)))
column = {name: np.array([int(row[name]) for row in rows]) for name in ("task", "start", "a", "b")}
found = paired_effects(
    column["a"], column["b"], task=column["task"], initial_state=column["start"], bootstrap=Bootstrap(replicates=2000, seed=1)
)

for name, rate in (("of the episodes that a lost, b won", found.recovered), ("of those that a won, b lost", found.broken)):
    if rate:
        print(f"{name} {rate.k} of {rate.n} [{rate.exact[0]:.3f}, {rate.exact[1]:.3f}]")
net = found.net_effect_clustered
print(f"b wins {100 * found.net_effect:+.1f} points more, 95 % over starts [{100 * net.lower:+.1f}, {100 * net.upper:+.1f}]")
print(f"exact McNemar test that b wins more: p = {found.mcnemar.one_sided:.2g}")
