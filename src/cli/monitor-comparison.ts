import type { CountCursor, Counted } from '../analysis/counts';
import { formatValue } from '../analysis/format';
import { countedOf, cursorsOf, gatherEvidence } from '../analysis/gather-evidence';
import type { EvidenceFinding, EvidenceReport, EvidenceState, GatheringLook } from '../analysis/gather-evidence';
import { messageOf, ReleaseError } from '../errors';
import type { MetricSource } from '../metrics/metric-source';
import { BOUNDS } from '../spec/defaults';
import { gatheringPolicy, isCounted, isCountedAt } from '../spec/gathering-policy';
import type { MetricPlan, Plan } from '../spec/plan-types';
import { askInstances } from './router-admin';
import { isPair, trackNames } from './track-names';

/** What the default judge says of one metric, of all that was counted so far. */
export interface ComparedMetric {
  readonly name: string;
  readonly outcome: EvidenceFinding['outcome']['kind'];
  /** Why it failed, or why there is no verdict, as a clause; null where nothing speaks against the canary. */
  readonly why: string | null;
  /** Shown, and never acted on. */
  readonly dryRun: boolean;
  readonly evidence: EvidenceReport;
}

/** The canary beside stable, look by look. */
export interface Comparison {
  /** Empty where nothing is compared at this moment, since the canary gets no traffic. Never throws for a backend's fault. */
  look(now: number, signal: AbortSignal): Promise<readonly ComparedMetric[]>;
}

interface ComparisonOptions {
  readonly plan: Plan;
  readonly source: MetricSource;
  readonly versions: { readonly canary: string; readonly stable: string };
  readonly minRequests: number;
  readonly startedAt: number;
  /** As many looks as there will be: over them the moment may be spread at which the canary turns bad. */
  readonly plannedLooks: number;
}

/** Why a canary that is watched is not compared with stable, as a clause; null where it is. */
export function whyNotCompared(plan: Plan): string | null {
  const { analysis } = plan;
  switch (analysis.source.kind) {
    case 'simulated':
      return 'the numbers come from a script';
    case 'http':
      return 'its source counts no events';
    case 'prometheus':
    case 'router':
    case 'flag':
      break;
    default:
      return analysis.source satisfies never;
  }
  if ((analysis.evidence ?? null) === null) return 'the spec has switched the comparison off (compare: false)';
  const counted = analysis.metrics.filter(isCounted);
  if (counted.length === 0) return 'no metric of the spec counts events';
  if (isPair(plan)) return 'which of the colours is stable a release alone knows';
  if (plan.target.kind !== 'router' && namesVersion(counted)) {
    return 'its queries name a version, and which one is stable a release alone knows';
  }
  return null;
}

/** Whether a query asks for one version: without a release both tracks would be asked for the same. */
export function namesVersion(metrics: readonly MetricPlan[]): boolean {
  return metrics.some(({ query, counters }) => JSON.stringify([query, counters]).includes('{{version}}'));
}

const NOT_ARRIVED = 'the samples of what came since the watching began, or the weight changed, are late';

/**
 * The default judge beside the thresholds, with the policy of the plan. Of an in-app router it counts from the last
 * weight change on, and begins anew with each; of a Prometheus from the start of the watching on.
 */
export function beginComparison(options: ComparisonOptions): Comparison {
  const { plan, source, versions, startedAt } = options;
  const planned = gatheringPolicy(plan.analysis);
  if (planned === null) throw new TypeError('A plan without an evidence judge compares nothing.');
  const plannedBatches = Math.min(BOUNDS.plannedBatches[1], Math.max(1, options.plannedLooks));
  const policy = { ...planned, plannedBatches, minRequests: options.minRequests };
  const { lagMs = 0 } = plan.analysis;
  const names = trackNames(plan);
  // The start of the watching is no weight change: what came right after it counts.
  const begin: Record<string, CountCursor> = {};
  if (plan.analysis.source.kind === 'prometheus') {
    for (const { name } of plan.analysis.metrics) begin[name] = { kind: 'time', at: startedAt, begins: true };
  }
  let state: EvidenceState | null = null;
  let weight: number | null = null;
  let since = startedAt;

  return {
    async look(now, signal) {
      const told = await weightOf(plan);
      if (told.kind === 'idle') return [];
      if (told.kind === 'weight') {
        if (weight !== null && weight !== told.weight) since = now;
        weight = told.weight;
      }
      const at = now - lagMs;
      const look: GatheringLook = { subject: 'canary', since, alone: weight !== null && weight >= 100 };
      const metrics = plan.analysis.metrics.filter((metric) => isCountedAt(metric, look));
      let counted: readonly Counted[];
      try {
        if (told.kind === 'unknown') throw new Error(told.problem);
        counted =
          metrics.length === 0 || at <= since
            ? without(metrics, 'no-data', lagMs > 0 ? NOT_ARRIVED : 'the weight has only just changed')
            : await source.count({
                ...{ service: plan.service, namespace: plan.namespace, versions, metrics, at, since, signal },
                ...(names === null ? {} : { tracks: names }),
                ...(weight === null ? {} : { weight }),
                alone: look.alone,
                cursors: { ...(since === startedAt ? begin : {}), ...cursorsOf(state, look) },
                counted: countedOf(state),
              });
      } catch (error) {
        if (error instanceof ReleaseError) throw error;
        counted = without(metrics, 'error', messageOf(error));
      }
      const gathered = gatherEvidence(policy, state, look, counted);
      state = gathered.state;
      return gathered.findings.map((finding) => comparedMetric(finding, plan));
    },
  };
}

/** What was proven against the canary, a clause each; a metric of a dry run has no say. */
export function provenOf(compared: readonly ComparedMetric[]): string[] {
  return compared.flatMap(({ name, outcome, why, dryRun }) =>
    outcome === 'proven' && !dryRun ? [`${name} ${why ?? ''}`] : [],
  );
}

/** `error-rate: 7 of 9 errors came from the canary, … (ln E 2.1, fails at 5.3)`, and why there is no verdict yet. */
export function comparedSentence({ name, outcome, why, dryRun, evidence }: ComparedMetric): string {
  const told = evidence.batches === 0 ? `${name}: nothing was compared` : evidence.sentence.replace(/\.$/u, '');
  const open = outcome === 'kept' || outcome === 'proven' || why === null ? '' : `; no verdict: ${why}`;
  return `${told} (${odds(evidence)})${open}${dryRun ? '; a dry run, which decides nothing' : ''}.`;
}

/** Of the metric that is nearest to its limit, of those that are acted on: `ln E 2.1 of 5.3`; null without one. */
export function nearest(compared: readonly ComparedMetric[]): string | null {
  const acted = compared.filter(({ dryRun, evidence }) => !dryRun && evidence.batches > 0);
  const [first] = acted.toSorted((a, b) => left(a) - left(b));
  return first === undefined ? null : `ln E ${round(first.evidence.logEvidence)} of ${round(first.evidence.limit)}`;
}

function left({ evidence }: ComparedMetric): number {
  return evidence.limit - evidence.logEvidence;
}

function odds({ logEvidence, limit }: EvidenceReport): string {
  return `ln E ${round(logEvidence)}, fails at ${round(limit)}`;
}

function round(value: number): string {
  return formatValue(Number(value.toFixed(2)), 'count');
}

function comparedMetric({ name, outcome, report }: EvidenceFinding, { analysis }: Plan): ComparedMetric {
  const why = outcome.kind === 'proven' ? outcome.clause : outcome.kind === 'kept' ? null : outcome.why;
  const dryRun = analysis.metrics.find((metric) => metric.name === name)?.dryRun ?? false;
  return { name, outcome: outcome.kind, why, dryRun, evidence: report };
}

type Weight =
  | { readonly kind: 'weight'; readonly weight: number }
  | { readonly kind: 'idle' }
  /** Nobody tells it of a target other than the router. */
  | { readonly kind: 'not-told' }
  | { readonly kind: 'unknown'; readonly problem: string };

/** Asked at each look: a release may go on meanwhile. */
async function weightOf({ target }: Plan): Promise<Weight> {
  if (target.kind !== 'router') return { kind: 'not-told' };
  const answers = await askInstances(target);
  const first = answers.find((answer) => answer.ok);
  if (first === undefined) return { kind: 'unknown', problem: 'no instance of the router answers' };
  const { active, weight } = first.metrics;
  return active && weight > 0 ? { kind: 'weight', weight } : { kind: 'idle' };
}

function without(metrics: readonly MetricPlan[], kind: 'error' | 'no-data', message: string): readonly Counted[] {
  return metrics.map(({ name }) => ({ name, query: '', kind: 'problem', problem: { kind, message } }));
}
