"""Writes routing-check.json: the Beta-binomial e-value of src/analysis/routing-check.ts, for its test.

ln E = ln B(a + x, b + n - x) - ln B(a, b) - x ln w - (n - x) ln(1 - w), a = 100 w, b = 100 (1 - w), by mpmath with 60
digits, because doubles lose some of it at large n; scipy's betaln must agree as far as its digits go.

Run: python3 -m venv venv && venv/bin/pip install scipy==1.17.1 mpmath==1.3.0 &&
     venv/bin/python test/reference/routing-check.py
"""

import json
import math
import pathlib
import random

import mpmath
import scipy
from scipy.special import betaln

mpmath.mp.dps = 60
random.seed(20260326)


def exact(x, n, w):
    x, n, w = mpmath.mpf(x), mpmath.mpf(n), mpmath.mpf(w)
    a, b = 100 * w, 100 * (1 - w)
    beta = lambda p, q: mpmath.loggamma(p) + mpmath.loggamma(q) - mpmath.loggamma(p + q)
    return beta(a + x, b + n - x) - beta(a, b) - x * mpmath.log(w) - (n - x) * mpmath.log1p(-w)


def by_scipy(x, n, w):
    a, b = 100 * w, 100 * (1 - w)
    return betaln(a + x, b + n - x) - betaln(a, b) - x * math.log(w) - (n - x) * math.log1p(-w)


cases = [(0, 1, 0.5), (1, 1, 0.01), (0, 10, 0.99), (2.5, 7.25, 0.25)]
for n in (1, 3, 16, 40, 150, 1000, 30000, 1000000, 100000000):
    for w in (0.01, 0.05, 0.25, 1 / 3, 0.5, 0.9, 0.99):
        spread = (n * w * (1 - w)) ** 0.5
        for distance in (-5, -1, 0, 0.4, 1.5, 4, 12):
            x = n * w + distance * spread
            if random.random() < 0.6:
                x = round(x)
            if 0 <= x <= n:
                cases.append((x, n, w))
        cases += [(0, n, w), (n, n, w)]

rows = []
for x, n, w in dict.fromkeys(cases):
    value = float(exact(x, n, w))
    assert abs(by_scipy(x, n, w) - value) <= 1e-13 * (n + 100) * 10 + 1e-10, (x, n, w, value, by_scipy(x, n, w))
    rows.append([x, n, w, value])

target = pathlib.Path(__file__).with_suffix(".json")
lines = ",\n".join("  " + json.dumps(row) for row in rows)
versions = f'"mpmath": "{mpmath.__version__}", "scipy": "{scipy.__version__}"'
target.write_text("{ %s, \"rows\": [\n%s\n] }\n" % (versions, lines))
print(len(rows), "rows")
