"""What repeated looks do to the first judge: the figures of docs/analysis.md, by simulation.

Requests and errors come independently (Poisson). The judge looks every 5 s at the last 60 s, never past the last weight
change, and fails at the first failed look (failureLimit 0, minRequests 20): the defaults. Stages 5, 25 and 50 percent of
60 s each for false alarms; 600 s at 5 percent for delays (10000: not found within them by that share of runs).

Run: python3 -m venv venv && venv/bin/pip install scipy==1.17.1 && venv/bin/python test/reference/repeated-looks.py
"""

import numpy
import scipy
from scipy.stats import binom

INTERVAL, WINDOW, MIN_REQUESTS = 5, 60, 20
random = numpy.random.default_rng(20240611)


def looks(runs, seconds, weight, rps, base, times):
    """Window counts at each look: (canary requests, canary errors, stable requests, stable errors), runs x looks."""
    shape = (runs, seconds // INTERVAL)
    batches = []
    for share, rate in ((weight, base * times), (1 - weight, base)):
        requests = random.poisson(share * rps * INTERVAL, shape)
        batches += [requests, random.binomial(requests, min(1, rate))]
    width = WINDOW // INTERVAL
    sums = []
    for batch in batches:
        total = numpy.concatenate([numpy.zeros((runs, 1), int), batch.cumsum(axis=1)], axis=1)
        start = numpy.maximum(0, numpy.arange(1, shape[1] + 1) - width)
        sums.append(total[:, 1:] - total[:, start])
    return sums


def failed(counts, limit, alpha, tolerate):
    n, x, m, y = counts
    result = numpy.zeros(n.shape, bool)
    if limit is not None:
        result |= x > limit * n
    if alpha is not None:
        share = n / numpy.maximum(1, n + m)
        expected = share * tolerate / (share * tolerate + 1 - share)
        exceeds = x * m > tolerate * y * n
        result |= exceeds & (binom.sf(x - 1, x + y, expected) < alpha) & (m > 0)
    return result & (n >= MIN_REQUESTS)


def false_alarms(runs, rps, base, rule, seconds=60, times=1):
    any_failed = numpy.zeros(runs, bool)
    for weight in (0.05, 0.25, 0.5):
        any_failed |= failed(looks(runs, seconds, weight, rps, base, times), *rule).any(axis=1)
    return any_failed.mean()


def delays(runs, rps, base, times, rule):
    result = failed(looks(runs, 600, 0.05, rps, base, times), *rule)
    first = numpy.where(result.any(axis=1), (result.argmax(axis=1) + 1) * INTERVAL, 10_000)
    return [int(numpy.quantile(first, q, method="inverted_cdf")) for q in (0.5, 0.95)]


RULES = {
    "limit 5 %": (0.05, None, None),
    "compare .01, 1.25": (None, 0.01, 1.25),
    "both (the defaults)": (0.05, 0.01, 1.25),
}
print("scipy", scipy.__version__)
for name, rule in RULES.items():
    for rps in (20, 100, 1000):
        alarms = false_alarms(40_000, rps, 0.005, rule)
        found = {times: delays(10_000, rps, 0.005, times, rule) for times in (2, 4, 10, 40)}
        print(f"{name:22} {rps:5} rps  false alarm {100 * alarms:.2f} %  delay median/95 % in s: {found}")
compare = RULES["compare .01, 1.25"]
print(f"compare, stages of 600 s: {100 * false_alarms(10_000, 100, 0.005, compare, seconds=600):.1f} %")
print(f"compare, canary exactly 1.25 times as bad: {100 * false_alarms(40_000, 100, 0.005, compare, times=1.25):.1f} %")
