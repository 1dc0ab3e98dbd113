"""Writes by-statsmodels.json: what statsmodels says of formulas that it has, too, for test/analysis/statsmodels.test.ts.

wilson    Wilson's 95 % interval of a share: proportion_confint
spread    how unevenly bad events fell on processes: Pearson's chi-squared of a binomial GLM that knows nothing but the
          share of all, and its residual degrees of freedom; proportions_chisquare, a formula of its own, must agree
compare   the exact conditional test of two Poisson rates whose ratio is tolerated: test_poisson_2indep
effect    the common language effect size: rank_compare_2indep

Run: python3 -m venv venv && venv/bin/pip install statsmodels==0.15.0 scipy==1.17.1 &&
     venv/bin/python test/reference/by-statsmodels.py; prettier formats it
"""

import json
import pathlib

import numpy
import scipy
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.proportion import proportion_confint, proportions_chisquare
from statsmodels.stats.rates import test_poisson_2indep

random = numpy.random.default_rng(20261126)

wilson = []
for of in (1, 2, 7, 60, 500, 20_000, 10_000_000):
    for share in (0, 1e-6, 0.003, 0.1, 0.5, 0.97, 1):
        count = round(of * share)
        lower, upper = proportion_confint(count, of, alpha=0.05, method="wilson")
        wilson.append([count, of, float(lower), float(upper)])


def counts(processes, mean, share, cluster):
    """Bad events come `cluster` at a time, all of them of one process."""
    total = random.poisson(mean, processes) + cluster
    bad = numpy.minimum(total, cluster * random.binomial(total, share / cluster))
    return bad, total


spread = []
while len(spread) < 60:
    processes = int(random.choice([2, 3, 10, 40]))
    bad, total = counts(processes, random.choice([5, 60, 3_000, 200_000]), random.choice([0.002, 0.05, 0.5]), int(random.choice([1, 2, 5])))
    if bad.sum() == 0 or (bad == total).all():
        continue
    model = sm.GLM(numpy.column_stack([bad, total - bad]), numpy.ones(processes), family=sm.families.Binomial())
    fit = model.fit(tol=1e-15, maxiter=200)
    statistic, _, _ = proportions_chisquare(bad, total)
    assert abs(statistic / fit.pearson_chi2 - 1) < 1e-10, (bad, total, statistic, fit.pearson_chi2)
    spread.append({"bad": bad.tolist(), "total": total.tolist(), "chiSquared": float(fit.pearson_chi2), "degrees": int(fit.df_resid)})

compare = []
while len(compare) < 60:
    canary, stable = (int(v) for v in random.choice([20, 300, 5_000, 400_000], 2))
    x, y = (int(v) for v in random.poisson([canary * random.choice([0.002, 0.01, 0.05]), stable * 0.005]))
    tolerate = float(random.choice([1, 1.25, 2]))
    if x + y == 0:
        continue
    found = test_poisson_2indep(x, canary, y, stable, value=tolerate, method="exact-cond", compare="ratio", alternative="larger")
    if found.pvalue > 1e-290:
        compare.append({"canary": [x, canary], "stable": [y, stable], "tolerate": tolerate, "p": float(found.pvalue)})

effect = []
for index in range(30):
    n, m = (int(v) for v in random.choice([5, 12, 60], 2))
    x, y = (random.normal(1, 1, n), random.normal(0, 1, m)) if index % 2 else (random.poisson(4, n), random.poisson(5, m))
    effect.append({"x": x.tolist(), "y": y.tolist(), "cles": float(rank_compare_2indep(x, y).prob1)})

target = pathlib.Path(__file__).with_suffix(".json")
document = {
    "statsmodels": statsmodels.__version__,
    "scipy": scipy.__version__,
    "numpy": numpy.__version__,
    "wilson": wilson,
    "spread": spread,
    "compare": compare,
    "effect": effect,
}
target.write_text(json.dumps(document) + "\n")
print(len(wilson), "intervals,", len(spread), "spreads,", len(compare), "comparisons,", len(effect), "effects")
