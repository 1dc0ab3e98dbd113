import { z } from 'zod';
import type { KayentaMetric, KayentaPolicy, KayentaSeries } from '../analysis/kayenta-policy';
import { choice, found } from './fields';
import { at, checkJson, checkPlaced, firstOf, listOf, loosely, name, strictly } from './json-document';
import type { JsonResult, PlacedResult } from './json-document';
import { nearest } from './nearest';

const JUDGE = 'NetflixACAJudge-v1.0';

/** Kayenta takes numbers and truth values in quotes as well. */
function number(range: readonly [number, number]): z.ZodType<number> {
  return z.unknown().transform((input, context) => {
    const value = typeof input === 'string' && input.trim() !== '' ? Number(input) : input;
    if (typeof value === 'number' && value >= range[0] && value <= range[1]) return value;
    const upTo = range[1] === Number.MAX_VALUE ? `of at least ${range[0]}` : `from ${range[0]} to ${range[1]}`;
    context.addIssue({ code: 'custom', message: `${found(input)} is not allowed here. Allowed: a number ${upTo}.` });
    return z.NEVER;
  });
}

const truth = z.unknown().transform((input, context): boolean => {
  if (typeof input === 'boolean') return input;
  if (input === 'true' || input === 'false') return input === 'true';
  context.addIssue({ code: 'custom', message: `${found(input)} is not allowed here. Allowed: true or false.` });
  return z.NEVER;
});

const size = number([0, Number.MAX_VALUE]).optional();

const effectSize = strictly('effectSize', {
  measure: choice(['meanRatio', 'cles']).default('meanRatio'),
  allowedIncrease: size,
  allowedDecrease: size,
  criticalIncrease: size,
  criticalDecrease: size,
});

const canary = strictly('analysisConfigurations.canary', {
  direction: choice(['increase', 'decrease', 'either']).default('either'),
  nanStrategy: choice(['remove', 'replace', 'none']).default('remove'),
  outliers: strictly('outliers', {
    strategy: choice(['remove', 'keep', 'none']).default('keep'),
    outlierFactor: number([Number.MIN_VALUE, Number.MAX_VALUE]).default(3),
  }).optional(),
  critical: truth.default(false),
  mustHaveData: truth.default(false),
  muted: truth.default(false),
  effectSize: effectSize.optional(),
});

const metric = loosely('metric', {
  name: name('the metric'),
  groups: listOf(name('a group'), 'groups').min(1, { error: 'the list is empty. Allowed: one group at least.' }),
  analysisConfigurations: loosely('analysisConfigurations', { canary: canary.optional() }).optional(),
});

const config = loosely('canary config', {
  judge: loosely('judge', {
    name: z.literal(JUDGE, { error: (issue) => `${found(issue.input)} is not known. Allowed: ${JUDGE}.` }),
  }).optional(),
  metrics: listOf(metric, 'metrics').min(1, { error: 'the list is empty. Allowed: one metric at least.' }),
  classifier: strictly('classifier', {
    groupWeights: z
      .record(z.string(), number([0, 100]), {
        error: (issue) => `${found(issue.input)} is not allowed here. Allowed: a weight for each group, 100 in all.`,
      })
      .default({}),
    scoreThresholds: strictly('scoreThresholds', {
      pass: number([0, 100]).default(95),
      marginal: number([0, 100]).default(75),
    }).optional(),
  }).optional(),
}).superRefine(({ metrics, classifier }, context) => {
  const problem = (path: PropertyKey[], message: string): void => context.addIssue({ code: 'custom', path, message });
  for (const [index, { name: own }] of metrics.entries()) {
    const first = metrics.findIndex((other) => other.name === own);
    if (first === index) continue;
    problem(
      ['metrics', index, 'name'],
      `${found(own)} is metrics[${first}], too. Allowed: a name of its own for each.`,
    );
  }
  const { pass, marginal } = { pass: 95, marginal: 75, ...classifier?.scoreThresholds };
  if (marginal > pass) {
    const path = ['classifier', 'scoreThresholds', 'marginal'];
    problem(path, `${marginal} is above the pass threshold, ${pass}. Allowed: a number from 0 to ${pass}.`);
  }
  const groups = [...new Set(metrics.flatMap((each) => each.groups))];
  checkWeights(new Map(Object.entries(classifier?.groupWeights ?? {})), groups, (path, message) =>
    problem(['classifier', 'groupWeights', ...path], message),
  );
});

/** Weights with which no canary could reach 100, or one could go beyond it. */
function checkWeights(
  weights: ReadonlyMap<string, number>,
  groups: readonly string[],
  problem: (path: PropertyKey[], message: string) => void,
): void {
  for (const group of weights.keys()) {
    if (groups.includes(group)) continue;
    const near = nearest(group, groups);
    const hint = near === null ? '' : `; did you mean "${near}"?`;
    problem([], `no metric is in the group ${found(group)}${hint === '' ? '.' : hint} Allowed: ${groups.join(', ')}.`);
  }
  const sum = [...weights.values()].reduce((total, weight) => total + weight, 0);
  const shares = groups.some((group) => !weights.has(group));
  if (sum > 100 + 1e-9 || (!shares && Math.abs(sum - 100) > 1e-9)) {
    problem([], `the weights are ${sum} in all. Allowed: 100, or less with a group left that has none.`);
  }
}

/** A canary config of Kayenta, as its API and Spinnaker keep it. Keys of no meaning to the judge are left alone. */
export function parseKayentaConfig(document: unknown): JsonResult<KayentaPolicy> {
  const checked = checkKayentaConfig(document);
  if (checked.ok) return checked;
  return { ok: false, problems: firstOf(checked.problems.map(({ path, message }) => at(path, message))) };
}

/** The same for a document that knows the places of its keys itself. */
export function checkKayentaConfig(document: unknown): PlacedResult<KayentaPolicy> {
  const checked = checkPlaced(config, document);
  if (!checked.ok) return checked;
  const { metrics, classifier } = checked.value;
  const value: KayentaPolicy = {
    metrics: metrics.map(({ name: own, groups, analysisConfigurations }): KayentaMetric => {
      const settings = analysisConfigurations?.canary ?? canary.parse({});
      const measured = settings.effectSize?.measure ?? 'meanRatio';
      // No difference at all: a ratio of 1, a chance of one half.
      const none = measured === 'cles' ? 0.5 : 1;
      return {
        name: own,
        groups: [...new Set(groups)],
        direction: settings.direction,
        nanStrategy: settings.nanStrategy === 'replace' ? 'replace' : 'remove',
        outliers: {
          strategy: settings.outliers?.strategy === 'remove' ? 'remove' : 'keep',
          factor: settings.outliers?.outlierFactor ?? 3,
        },
        critical: settings.critical,
        mustHaveData: settings.mustHaveData,
        muted: settings.muted,
        effectSize: {
          measure: measured,
          allowedIncrease: settings.effectSize?.allowedIncrease ?? none,
          allowedDecrease: settings.effectSize?.allowedDecrease ?? none,
          criticalIncrease: settings.effectSize?.criticalIncrease ?? none,
          criticalDecrease: settings.effectSize?.criticalDecrease ?? none,
        },
      };
    }),
    groupWeights: classifier?.groupWeights ?? {},
    scoreThresholds: classifier?.scoreThresholds ?? { pass: 95, marginal: 75 },
  };
  return { ok: true, value };
}

const point = z.unknown().transform((input, context): number => {
  if (input === null) return Number.NaN;
  if (typeof input === 'number') return input;
  if (input === 'NaN' || input === 'Infinity' || input === '-Infinity') return Number(input);
  context.addIssue({
    code: 'custom',
    message: `${found(input)} is no value. Allowed: numbers, and null or NaN for none.`,
  });
  return z.NEVER;
});
const points = listOf(point, 'numbers, with null or NaN where there is none');
const data = z.record(z.string(), strictly('series', { control: points, experiment: points }), {
  error: (issue) =>
    `${found(issue.input)} is not allowed here. Allowed: a mapping of metrics, each with its control and its experiment.`,
});

/** `{"<metric name>": {"control": [...], "experiment": [...]}}`; a metric of the config that is missing has no data. */
export function parseKayentaData(
  policy: KayentaPolicy,
  document: unknown,
): JsonResult<ReadonlyMap<string, KayentaSeries>> {
  const checked = checkJson(data, document);
  if (!checked.ok) return checked;
  const series = new Map(Object.entries(checked.value));
  const known = policy.metrics.map((each) => each.name);
  const problems = [...series.keys()].flatMap((own) => {
    if (known.includes(own)) return [];
    const near = nearest(own, known);
    const hint = near === null ? '.' : `; did you mean "${near}"?`;
    return [at([own], `the config has no metric of that name${hint} Allowed: ${known.join(', ')}.`)];
  });
  return problems.length > 0 ? { ok: false, problems: firstOf(problems) } : { ok: true, value: series };
}
