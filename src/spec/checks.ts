import type { z } from 'zod';
import { resolveAnalysis } from './analysis-plan';
import type { Finding, Soak } from './analysis-plan';
import { DEFAULTS } from './defaults';
import { found, milliseconds } from './fields';
import type { TargetPlan, TrafficPlan } from './plan-types';
import { analysisSchema, stepSchema } from './schema';
import type { StepSpec } from './schema';

/**
 * What concerns several keys at once. Works on the raw document and looks only at the parts that are well formed by
 * themselves, so that a typo in one place does not hide a contradiction in another.
 */
export function checkDocument(raw: unknown): {
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
} {
  const spec = field(raw, 'spec');
  const target = targetKind(field(spec, 'target'));
  if (target === null) return { problems: [], warnings: [] };
  const kubernetes = field(field(spec, 'target'), 'kubernetes');
  const blueGreen = field(kubernetes, 'strategy') === 'blueGreen';
  const splitter = trafficKind(kubernetes);

  const steps = readSteps(field(spec, 'steps'));
  const problems = steps === null ? [] : checkSteps(steps, wholeOnly({ blueGreen, splitter }));
  if (steps !== null) problems.push(...checkMatches(steps, target, splitter));
  if (blueGreen && splitter === 'replicas') {
    problems.push({
      path: ['spec', 'target', 'kubernetes', 'traffic', 'replicas'],
      on: 'key',
      message: `"replicas" is not allowed with strategy blueGreen, which never mixes the pods of both versions. Allowed: serviceSelector, or one that splits.`,
    });
  }
  if (splitter === 'replicas' && (field(spec, 'smokeTest') ?? false) !== false) {
    problems.push({
      path: ['spec', 'smokeTest'],
      on: 'key',
      message: `with "replicas" pods get their share of the traffic as soon as they are ready, so that none could be tested before. Allowed: a spec without smokeTest; let the readiness probe ask the same.`,
    });
  }
  if (target === 'kubernetes') problems.push(...checkNames(kubernetes, { blueGreen, splitter }));
  if (target === 'flag') problems.push(...checkFlag(spec, steps ?? []));
  const warnings: Finding[] = serviceWarnings(raw, target);
  if (splitter === 'replicas' && !blueGreen) warnings.push(...shareWarnings(steps));
  const analysis = field(spec, 'analysis');
  if (analysis === undefined && target === 'kubernetes') {
    const message = `the key "analysis" is missing: a ${target} target has no counters of its own. Allowed: analysis: { source: { prometheus: { url: … } } }.`;
    problems.push({ path: ['spec'], on: 'key', message });
    return { problems, warnings };
  }
  const read = readAnalysis(analysis ?? {});
  if (read === null) return { problems, warnings };
  const resolved = resolveAnalysis({
    analysis: read,
    target,
    soaks: soaksOf(steps, blueGreen || splitter === 'serviceSelector'),
  });
  return { problems: [...problems, ...resolved.problems], warnings: [...warnings, ...resolved.warnings] };
}

/**
 * As far as it can be read: a key whose form is wrong, which is told elsewhere, counts as one that is not there, so that
 * what is wrong with the metrics is told, too. Null where the metrics or their source cannot be read.
 */
function readAnalysis(analysis: unknown): z.infer<typeof analysisSchema> | null {
  const parsed = analysisSchema.safeParse(analysis);
  if (parsed.success) return parsed.data;
  const wrong = new Set(
    parsed.error.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [issue.path[0]],
    ),
  );
  if (typeof analysis !== 'object' || analysis === null) return null;
  if ([undefined, 'metrics', 'source'].some((key) => wrong.has(key))) return null;
  return (
    analysisSchema.safeParse(Object.fromEntries(Object.entries(analysis).filter(([key]) => !wrong.has(key)))).data ??
    null
  );
}

/** Why no weight but 100 can be reached; null when others can. */
function wholeOnly({ blueGreen, splitter }: { blueGreen: boolean; splitter: string | null }): string | null {
  if (splitter !== 'serviceSelector') return null;
  return blueGreen
    ? 'a blue-green release without a traffic splitter moves all traffic at once'
    : 'a Service selector moves all traffic at once';
}

function trafficKind(kubernetes: unknown): string | null {
  const traffic = field(kubernetes, 'traffic');
  return Object.keys(MATCHES).find((kind) => field(traffic, kind) !== undefined) ?? null;
}

type MatchKind = 'header' | 'header-value' | 'cookie';

const MATCH_WORDS: Readonly<Record<MatchKind, string>> = {
  header: 'the name of a header alone',
  'header-value': 'a header and its value',
  cookie: 'a cookie',
};

function kindOf({ header, cookie }: NonNullable<StepSpec['match']>): MatchKind {
  if (cookie !== undefined) return 'cookie';
  return typeof header === 'string' ? 'header' : 'header-value';
}

/** What each splitter can tell requests by; src/traffic has the same in its abilities, and a test holds both equal. */
export const MATCHES: Readonly<Record<TrafficPlan['kind'], readonly MatchKind[]>> = {
  gatewayAPI: ['header-value'],
  nginx: ['header', 'header-value', 'cookie'],
  traefik: [],
  istio: ['header-value', 'cookie'],
  serviceSelector: [],
  replicas: [],
};

function checkMatches(
  steps: readonly PlacedStep[],
  target: TargetPlan['kind'],
  splitter: string | null,
): readonly Finding[] {
  const problems: Finding[] = [];
  let weights = 0;
  for (const { path, step } of steps) {
    if (step.weight !== undefined) weights += 1;
    if (step.match === undefined) continue;
    const at = { path: [...path, 'match'], on: 'key' as const };
    const kind = kindOf(step.match);
    if (target !== 'kubernetes') {
      problems.push({
        ...at,
        message: `match is only for a kubernetes target, and the target is ${target}. ${NO_MATCH}`,
      });
    } else if (weights > 0) {
      problems.push({ ...at, message: 'match stands after a weight. Allowed: before the first weight.' });
    } else if (splitter !== null && splitter in MATCHES) {
      const can = MATCHES[splitter as TrafficPlan['kind']];
      if (can.includes(kind)) continue;
      const allowed = can.length === 0 ? NO_MATCH : `Allowed: ${can.map((one) => MATCH_WORDS[one]).join(' or ')}.`;
      problems.push({ ...at, message: `${splitter} cannot tell requests by ${MATCH_WORDS[kind]}. ${allowed}` });
    }
  }
  return problems;
}

/** What Kubernetes allows a name: a Service's is a DNS label; a Deployment's has room for any suffix. */
const LONGEST = { service: 63, ingress: 253 } as const;

/** What a release makes beside an object is called like it with a suffix, which must fit, too. */
function checkNames(
  kubernetes: unknown,
  { blueGreen, splitter }: { readonly blueGreen: boolean; readonly splitter: string | null },
): readonly Finding[] {
  const at = ['spec', 'target', 'kubernetes'];
  const problems: Finding[] = [];
  const check = (
    kind: keyof typeof LONGEST,
    given: unknown,
    path: readonly (string | number)[],
    suffix: string,
  ): void => {
    const [most, longest] = [LONGEST[kind], LONGEST[kind] - suffix.length];
    // One that is too long by itself is told by its own form.
    if (typeof given !== 'string' || given.length <= longest || given.length > most) return;
    const made = kind === 'service' ? 'a Service' : 'an Ingress';
    problems.push({
      path,
      message: `the name has ${given.length} characters, and a release makes ${made} ${given}${suffix}, whose name Kubernetes takes up to ${most}. Allowed: a name of at most ${longest}.`,
    });
  };
  // Where pods are the share, the one Service finds both tracks.
  if (splitter !== 'replicas') {
    check('service', field(kubernetes, 'service'), [...at, 'service'], blueGreen ? '-green' : '-canary');
  }
  const ingress = field(field(field(kubernetes, 'traffic'), 'nginx'), 'ingress');
  const path = [...at, 'traffic', 'nginx', 'ingress'];
  if (Array.isArray(ingress)) ingress.forEach((one, index) => check('ingress', one, [...path, index], '-canary'));
  else check('ingress', ingress, path, '-canary');
  return problems;
}

/** A flag's percentage is a whole number, and nothing runs of which a smoke test could ask. */
function checkFlag(spec: unknown, steps: readonly PlacedStep[]): readonly Finding[] {
  const problems: Finding[] = [];
  for (const { path, step } of steps) {
    if (step.weight === undefined || Number.isInteger(step.weight)) continue;
    problems.push({
      path: [...path, 'weight'],
      message: `the weight is ${found(step.weight)}, and a flag's percentage is a whole number. Allowed: 1 to 100.`,
    });
  }
  if (field(spec, 'smokeTest') !== undefined) {
    problems.push({
      path: ['spec', 'smokeTest'],
      on: 'key',
      message: 'a flag has nothing of its own that a smoke test could ask. Allowed: a spec without smokeTest.',
    });
  }
  return problems;
}

const NO_MATCH = 'Allowed: steps without match.';

/** The steps when a spec names none; `atOnce` where traffic is not to be split. */
export function defaultSteps(atOnce: boolean): readonly StepSpec[] {
  const soak = milliseconds(DEFAULTS.soak);
  return (atOnce ? [100] : DEFAULTS.weights).map((weight) => ({ weight, soak }));
}

interface PlacedStep {
  readonly path: readonly (string | number)[];
  readonly step: StepSpec;
}

/** The steps that are well formed; null when there is no list of them. */
function readSteps(raw: unknown): readonly PlacedStep[] | null {
  if (!Array.isArray(raw)) return null;
  const placed: PlacedStep[] = [];
  for (const [index, value] of raw.entries()) {
    const path = ['spec', 'steps', index];
    const whole = stepSchema.safeParse(value);
    if (whole.success) {
      placed.push({ path, step: whole.data });
      continue;
    }
    // The weight still counts for the order when only another key of the step is wrong.
    const weight = stepSchema.shape.weight.safeParse(field(value, 'weight'));
    if (weight.success && weight.data !== undefined)
      placed.push({ path, step: { weight: weight.data, soak: Number.NaN } });
  }
  return placed;
}

function checkSteps(steps: readonly PlacedStep[], wholeOnly: string | null): Finding[] {
  const problems: Finding[] = [];
  let last: PlacedStep | null = null;
  let highest = 0;
  for (const placed of steps) {
    const { weight } = placed.step;
    if (weight === undefined) continue;
    if (wholeOnly !== null && weight !== 100) {
      problems.push({
        path: [...placed.path, 'weight'],
        message: `${weight} is not allowed here: ${wholeOnly}. Allowed: 100.`,
      });
    } else if (weight <= highest) {
      const allowed = highest < 100 ? `a weight from ${highest + 1} to 100` : 'no weight after 100';
      problems.push({
        path: [...placed.path, 'weight'],
        message: `${weight} does not rise: a step before has ${highest} already. Allowed: ${allowed}.`,
      });
    }
    highest = Math.max(highest, weight);
    last = placed;
  }
  if (last === null) {
    if (steps.length > 0)
      problems.push({ path: ['spec', 'steps'], message: 'there is no weight. Allowed: weights that rise to 100.' });
  } else if (highest < 100 && last.step.weight === highest && wholeOnly === null) {
    problems.push({
      path: [...last.path, 'weight'],
      message: `the last weight is ${found(last.step.weight)}. Allowed: 100, so that full load is seen before the promotion.`,
    });
  }
  return problems;
}

function soaksOf(steps: readonly PlacedStep[] | null, atOnce: boolean): readonly Soak[] {
  const placed = steps ?? defaultSteps(atOnce).map((step): PlacedStep => ({ path: ['spec'], step }));
  return placed
    .filter(({ step }) => step.weight !== undefined && !Number.isNaN(step.soak))
    .map(({ path, step }) => ({ path, ms: step.soak ?? milliseconds(DEFAULTS.soak), weight: step.weight ?? 100 }));
}

function serviceWarnings(raw: unknown, target: TargetPlan['kind']): Finding[] {
  if (target !== 'kubernetes') return [];
  const spec = field(raw, 'spec');
  const service = field(field(field(spec, 'target'), 'kubernetes'), 'service');
  const name = field(field(raw, 'metadata'), 'name');
  if (typeof service !== 'string' || typeof name !== 'string' || service === name) return [];
  if (field(field(spec, 'analysis'), 'metrics') !== undefined && field(field(spec, 'analysis'), 'preset') === undefined)
    return [];
  return [
    {
      path: ['spec', 'target', 'kubernetes', 'service'],
      message: `the Service is ${found(service)}, but {{service}} in queries stands for metadata.name, ${found(name)}.`,
    },
  ];
}

/** A weight that takes more pods than this is most likely above what it says; few services have so many. */
const USUAL_PODS = 10;

/** How many pods there are only the cluster knows; that small shares take many is known without it. */
function shareWarnings(steps: readonly PlacedStep[] | null): Finding[] {
  const placed = steps ?? defaultSteps(false).map((step): PlacedStep => ({ path: [], step }));
  const first = placed.find(({ step }) => step.weight !== undefined);
  const weight = first?.step.weight;
  if (first === undefined || weight === undefined || podsOf(weight) <= USUAL_PODS) return [];
  const given = { path: [...first.path, 'weight'] };
  const usual = { path: ['spec', 'target', 'kubernetes', 'traffic', 'replicas'], on: 'key' as const };
  const message = `with "replicas" a share is a whole number of pods, one at least: ${weight} % takes ${podsOf(weight)} pods of both tracks together, and with fewer it comes to more. \`sluice doctor\` says what the pods that there are make of each weight.`;
  return [{ ...(steps === null ? usual : given), message }];
}

/** Pods of both tracks together, of which one is nearest to the weight. */
function podsOf(weight: number): number {
  return Math.round(100 / weight);
}

function targetKind(target: unknown): TargetPlan['kind'] | null {
  const chosen = (['kubernetes', 'router', 'flag'] as const).filter((kind) => field(target, kind) !== undefined);
  return chosen.length === 1 ? (chosen[0] ?? null) : null;
}

/** An own property of a mapping; undefined of anything else. */
function field(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}
