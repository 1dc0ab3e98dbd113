"""Writes evidence.json: ln E of the evidence judge, computed by mpmath straight from the formulas of docs/analysis.md
with 60 digits and no logarithms until the end, for test/analysis/event-evidence.test.ts.

Run: python3 -m venv venv && venv/bin/pip install mpmath==1.4.1 && venv/bin/python test/reference/evidence.py; prettier formats it
"""

import json
import pathlib
import random

import mpmath
from mpmath import mpf

mpmath.mp.dps = 60
random.seed(20240611)

ERRORS = ["1.5", "2", "3", "5", "10", "20", "50"]
LATENCY = ["1.1", "1.25", "1.5", "2", "3", "5", "10", "20"]
PROMOTION = [0.1, 0.25, 0.5, 0.75]


def likelihood_ratio(batch, r, tolerate, clusters):
    (xc, nc), (xb, nb) = batch
    if nc == 0 or nb == 0:
        return mpf(1)
    s = mpf(nc) / (nc + nb)
    t0 = s * tolerate / (s * tolerate + 1 - s)
    t1 = s * tolerate * r / (s * tolerate * r + 1 - s)
    return ((t1 / t0) ** xc * ((1 - t1) / (1 - t0)) ** xb) ** (mpf(1) / clusters)


def onset_shares(planned, batches):
    if planned is None or planned == 1:
        return [mpf(1)] + [mpf(0)] * (batches - 1)
    rest = mpf(1) / 2 / (planned - 1)
    return [mpf(1) / 2] + [rest if k <= planned else mpf(0) for k in range(2, batches + 1)]


def evidence(batches, alternatives, tolerate, clusters, planned):
    """ln E after each batch."""
    grid = [mpf(r) for r in alternatives]
    tolerate, clusters = mpf(tolerate), mpf(clusters)
    shares = onset_shares(planned, len(batches))
    capital = [mpf(0)] * len(grid)
    logs = []
    for k, batch in enumerate(batches):
        capital = [(S + shares[k]) * likelihood_ratio(batch, r, tolerate, clusters) for S, r in zip(capital, grid)]
        left = 1 - sum(shares[: k + 1])
        logs.append(mpmath.log(sum(capital) / len(grid) + left))
    return logs


def number(value):
    return float(value)


def counts(size, weight, rate):
    total = random.randint(0, size)
    canary = sum(random.random() < weight for _ in range(total)) if total < 3000 else int(total * weight)
    def bad(n):
        return min(n, max(0, round(random.gauss(n * rate, (n * rate) ** 0.5))))
    return [bad(canary), canary], [bad(total - canary), total - canary]


designs = []
for index in range(60):
    alternatives = [ERRORS, LATENCY, PROMOTION][index % 3]
    designs.append(
        {
            "alternatives": [float(r) for r in alternatives],
            "tolerate": random.choice([1, 1.25, 2, 5]),
            "clusters": random.choice([1, 2, 3.5]),
            "planned": random.choice([None, 1, 2, 5, 36]),
            "batches": [
                counts(random.choice([20, 500, 20000]), random.choice([0.001, 0.05, 0.25, 0.5, 0.999]), random.choice([0, 0.005, 0.1, 0.9]))
                for _ in range(random.randint(1, 8))
            ],
        }
    )
# The extremes: shares near 0 and 1, huge counts, nothing bad, everything bad.
extremes = [
    [[[0, 1], [0, 10**15]]],
    [[[1, 1], [0, 10**15]]],
    [[[10**15, 10**15], [0, 1]]],
    [[[0, 10**15], [1, 1]]],
    [[[5 * 10**12, 10**15], [5 * 10**12, 10**15]]],
    [[[0, 0], [3, 10]], [[2, 9], [0, 0]], [[2, 9], [1, 100]]],
    [[[25, 25], [475, 475]]],
    [[[3, 25], [0, 475]]],
]
for batches in extremes:
    for alternatives in (ERRORS, LATENCY, PROMOTION):
        designs.append({"alternatives": [float(r) for r in alternatives], "tolerate": 1.25, "clusters": 2, "planned": 3, "batches": batches})

rows = []
for design in designs:
    # The doubles themselves, as the judge gets them.
    logs = evidence(design["batches"], design["alternatives"], design["tolerate"], design["clusters"], design["planned"])
    rows.append({**design, "lnE": [number(log) for log in logs]})

histograms = []
for _ in range(20):
    clusters, tolerate, planned = random.choice([1, 2]), random.choice([1, 1.25]), random.choice([None, 4])
    batches = []
    for _ in range(random.randint(1, 4)):
        arms = []
        for size, slow in ((random.randint(1, 80), random.uniform(1, 2)), (random.randint(1, 900), 1)):
            times = [random.expovariate(1 / slow) for _ in range(size)]
            arms.append([sum(t <= le for t in times) for le in (0.1, 0.5, 1, 2, 5)] + [size])
        batches.append(arms)
    logs = []
    for k in range(len(batches)):
        events = []
        for j in range(5):
            upto = [[[c[-1] - c[j], c[-1]], [b[-1] - b[j], b[-1]]] for c, b in batches[: k + 1]]
            events.append(mpmath.exp(evidence(upto, [float(r) for r in LATENCY], tolerate, clusters, planned)[-1]))
        logs.append(number(mpmath.log(sum(events) / len(events))))
    histograms.append({"tolerate": tolerate, "clusters": clusters, "planned": planned, "batches": batches, "lnE": logs})

objectives = []
for _ in range(40):
    p0 = random.choice([0.001, 0.01, 0.05, 0.3, 0.5, 0.7, 0.95])
    clusters = random.choice([1, 2])
    batches = []
    for _ in range(random.randint(1, 4)):
        total = random.choice([0, 1, 50, 3000, 10**9])
        batches.append([min(total, round(total * p0 * random.choice([0, 0.5, 1, 1.3, 4]))), total])
    shares = [mpf(m) * mpf(p0) for m in ERRORS if mpf(m) * mpf(p0) < 1] or [(1 + mpf(p0)) / 2]
    logs = []
    for k in range(len(batches)):
        x, n = sum(b[0] for b in batches[: k + 1]), sum(b[1] for b in batches[: k + 1])
        bets = [((p / p0) ** x * ((1 - p) / (1 - mpf(p0))) ** (n - x)) ** (mpf(1) / clusters) for p in shares]
        logs.append(number(mpmath.log(sum(bets) / len(bets))))
    objectives.append({"objective": p0, "clusters": clusters, "batches": batches, "lnE": logs})

target = pathlib.Path(__file__).with_suffix(".json")
document = {"mpmath": mpmath.__version__, "events": rows, "histograms": histograms, "objectives": objectives}
target.write_text(json.dumps(document) + "\n")
print(len(rows), "designs,", len(histograms), "histograms,", len(objectives), "objectives")
