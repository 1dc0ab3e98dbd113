"""Writes rank-sum.json: shifts and their intervals, percentiles and effect sizes, by numpy and scipy, for
test/analysis/rank-sum.test.ts. Two independent ways for the interval:

normal  the statistic of R's wilcox.test(conf.int = TRUE, exact = FALSE) from scipy's ranks and normal quantile, its sign
        changes found by looking between all neighbouring differences (R and Kayenta: by a root finder near to them)
exact   as R's wilcox.test: the differences of rank qwilcox, from scipy's exact distribution of U

Run: python3 -m venv venv && venv/bin/pip install scipy==1.17.1 && venv/bin/python test/reference/rank-sum.py; prettier formats it
"""

import json
import pathlib

import numpy
import scipy
from scipy.stats import mannwhitneyu, norm, rankdata

random = numpy.random.default_rng(20240611)


def statistic(x, y, mu):
    """(dz - correction) / sigma of R's wdiff, without the quantile."""
    n, m = len(x), len(y)
    ranks = rankdata(numpy.concatenate([x - mu, y]))
    _, ties = numpy.unique(ranks, return_counts=True)
    dz = ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2
    sigma = numpy.sqrt(n * m / 12 * (n + m + 1 - (ties.astype(float) ** 3 - ties).sum() / ((n + m) * (n + m - 1))))
    return (dz - numpy.sign(dz) * 0.5) / sigma


def crossing(x, y, quantile):
    """The difference at which the statistic falls from above the quantile to at or below it; the outermost otherwise."""
    differences = numpy.unique(numpy.subtract.outer(x, y))
    if len(differences) == 1:
        return differences[0]
    between = (differences[:-1] + differences[1:]) / 2
    low, high = 0, len(between)  # the statistic falls: the first place at or below the quantile
    while low < high:
        middle = (low + high) // 2
        if statistic(x, y, between[middle]) > quantile:
            low = middle + 1
        else:
            high = middle
    return differences[low]


def exact_rank(n, m, tail):
    """qwilcox(tail, n, m), at least 1."""
    for u in range(n * m + 1):
        # P[U <= u], from two samples without ties whose U is u.
        if exact_tail(n, m, u) >= tail * (1 - 1e-12):
            return max(1, u)


def exact_tail(n, m, u):
    x = numpy.arange(1, n + 1) - 1000.0
    y = numpy.arange(1, m + 1) + 0.0
    # Each x stands above `above` of the y: they sum to u.
    above = numpy.zeros(n, int)
    left = u
    for i in reversed(range(n)):
        above[i] = min(m, left)
        left -= above[i]
    x = above + 0.5 + numpy.arange(n) * 1e-6
    return mannwhitneyu(x, y, alternative="less", method="exact").pvalue


def cles(x, y):
    return (numpy.greater.outer(x, y).sum() + numpy.equal.outer(x, y).sum() / 2) / (len(x) * len(y))


rows = []
for index in range(60):
    n, m = (int(v) for v in random.choice([5, 6, 8, 12, 30, 49, 60, 90], 2))
    kind = index % 3
    if kind == 0:
        x, y = random.normal(10, 2, n) + random.choice([0, 1, 4]), random.normal(10, 2, m)
    elif kind == 1:
        x, y = random.poisson(4, n).astype(float) + random.choice([0, 3]), random.poisson(4, m).astype(float)
    else:
        x, y = random.lognormal(-9, 1, n) * random.choice([0.3, 1, 5]), random.lognormal(-9, 1, m)
    z = norm.ppf(0.99)
    row = {
        "x": x.tolist(),
        "y": y.tolist(),
        "estimate": float(numpy.median(numpy.subtract.outer(x, y))),
        "normal": [float(crossing(x, y, z)), float(crossing(x, y, -z))],
        "meanRatio": float(x.mean() / y.mean()),
        "cles": float(cles(x, y)),
        "percentiles": [float(v) for v in numpy.percentile(x, [1, 25, 50, 75, 99])],
    }
    if n < 50 and m < 50 and len(set(x) | set(y)) == n + m:
        rank = exact_rank(n, m, 0.01)
        differences = numpy.sort(numpy.subtract.outer(x, y).ravel())
        row["exact"] = [float(differences[rank - 1]), float(differences[n * m - rank])]
    rows.append(row)

quantiles = [[p, float(norm.ppf(p))] for p in (1e-300, 1e-20, 1e-9, 1e-4, 0.01, 0.025, 0.07, 0.08, 0.3, 0.5, 0.6, 0.93, 0.975, 0.99, 1 - 1e-9)]
target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps({"scipy": scipy.__version__, "numpy": numpy.__version__, "rows": rows, "quantiles": quantiles}) + "\n")
print(len(rows), "rows,", sum("exact" in row for row in rows), "exact")
