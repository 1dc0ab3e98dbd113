"""Writes binomial.json: upper tails of the binomial distribution by scipy, for test/analysis/binomial.test.ts.

Run: python3 -m venv venv && venv/bin/pip install scipy==1.17.1 && venv/bin/python test/reference/binomial.py
"""

import json
import pathlib
import random

import scipy
from scipy.stats import binom

random.seed(20240611)
cases = [(0, 0, 0.5), (0, 10, 0.3), (10, 10, 0.3), (1, 1, 1e-6), (5, 1000, 0.0001), (990, 1000, 0.5), (3, 4, 0.0625)]
for n in (1, 2, 5, 10, 16, 30, 100, 1000, 20000, 1000000, 10000000):
    for p in (0.001, 0.01, 0.0508, 0.0616, 0.25, 0.5, 0.75, 0.99):
        mean, deviation = n * p, (n * p * (1 - p)) ** 0.5
        for distance in (-4, -1, 0, 1, 3, 6, 20):
            k = round(mean + distance * deviation + random.random())
            if 0 <= k <= n:
                cases.append((k, n, p))

rows = []
for k, n, p in dict.fromkeys(cases):
    tail = float(binom.sf(k - 1, n, p))
    if tail > 1e-290:
        rows.append({"k": k, "n": n, "p": p, "tail": tail})

target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps({"scipy": scipy.__version__, "rows": rows}, indent=1) + "\n")
print(len(rows), "rows")
