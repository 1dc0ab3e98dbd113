import { activityInfo } from '@temporalio/activity';
import { observedShare } from '../analysis/observed-share';
import type { Sample } from '../analysis/sample';
import { judge } from '../analysis/threshold-judge';
import type { MetricSource, SampleRequest } from '../metrics/metric-source';
import type { Reassertion } from '../targets/target';
import type { MeasureInput, MeasureResult } from '../workflows/activity-types';
import type { RoutingReport } from '../workflows/api';
import { askedMoment, nothingSeen } from './asked-moment';
import type { Clock } from './asked-moment';
import { askKayenta } from './ask-kayenta';
import { lookAtRouting } from './check-routing';
import type { Looking } from './check-routing';
import { countEvidence } from './count-evidence';
import { fitMeasurement } from './fit-measurement';
import { inTime, limitedTo } from './in-time';
import { settingProblem } from './setting-problem';

/** No source has news about less. */
const SHORTEST_WINDOW_MS = 1_000;

/** What is kept of the activity's time to tell the result. */
const MARGIN_MS = 2_000;

/** The guard has decided: the numbers are for the record, and not waited for. */
const AFTER_A_TRIP_MS = 2_000;

/**
 * One look at the evidence, after the weight was re-asserted. A source that fails or never answers makes a measurement
 * with verdict `error`, in time: so that what the target itself said (a guard that tripped, a foreign edit) is told.
 */
export async function measure(
  source: () => MetricSource,
  input: MeasureInput,
  { reassertion, startedAt, signal }: { reassertion: Reassertion; startedAt: number; signal: AbortSignal },
): Promise<MeasureResult> {
  const { analysis, at, step, weight } = input;
  const { foreignEdits, standing = [], guardTripped, unreachable } = reassertion;
  const { startToCloseTimeoutMs, currentAttemptScheduledTimestampMs } = activityInfo();
  const passed = Date.now() - startedAt;
  const left = startToCloseTimeoutMs - passed - MARGIN_MS;
  // By Temporal's clock, as all moments of a release; behind it by as much as this try waited for a worker.
  const present = currentAttemptScheduledTimestampMs + passed;
  const clocks: number[] = [];
  const clock: Clock = { present, onClock: (ms) => void clocks.push(ms) };
  const budgetMs = Math.max(0, guardTripped === null ? left : Math.min(left, AFTER_A_TRIP_MS));
  const { tracks, dealing } = reassertion;
  const [taken, routing, evidence] = await Promise.all([
    takeSample(source, input, { budgetMs, signal, tracks, clock }),
    routingOf(source, input, { budgetMs, signal, tracks, dealing, clock }),
    countEvidence(source, input, { budgetMs, signal, tracks, clock }),
  ]);
  signal.throwIfAborted();
  const sample = comparable(taken, input);
  const { metrics, ...judgement } = judge(analysis, input.judge, sample, evidence?.findings ?? []);
  const away =
    unreachable.length === 0 ? '' : ` The weight could not be looked at everywhere: ${unreachable.join(' ')}`;
  return {
    measurement: fitMeasurement({
      at,
      step,
      weight,
      observedShare: observedShare(taken),
      verdict: judgement.verdict,
      sentence: `${judgement.sentence}${away}`,
      metrics,
      ...(routing === null ? {} : { routing }),
      ...askKayenta(input, metrics),
      ...(sample.simulated === true ? { simulated: true } : {}),
    }),
    judgement,
    ...(evidence === null ? {} : { evidence: evidence.state }),
    ...(clocks.length === 0 ? {} : { sourceClock: Math.max(...clocks) }),
    foreignEdits,
    ...(standing.length === 0 ? {} : { standing }),
    guardTripped,
  };
}

/** Within the same time as the sample, and broken off with it. */
async function routingOf(
  source: () => MetricSource,
  input: MeasureInput,
  { budgetMs, signal, ...how }: Looking & { readonly budgetMs: number },
): Promise<RoutingReport | null> {
  const limited = limitedTo(budgetMs, signal);
  if (limited.aborted) return null;
  return inTime(lookAtRouting(source, input, { ...how, signal: limited }), limited);
}

/** Whatever a query finds beside the first version of a service: it is no stable track, and nothing to be held against. */
function comparable(sample: Sample, { stableVersion, subject }: MeasureInput): Sample {
  if (stableVersion !== null || subject === 'stable') return sample;
  return { ...sample, metrics: sample.metrics.map((metric) => ({ ...metric, stable: null })) };
}

async function takeSample(
  source: () => MetricSource,
  input: MeasureInput,
  {
    budgetMs,
    signal,
    tracks,
    clock,
  }: { budgetMs: number; signal: AbortSignal; tracks: Reassertion['tracks']; clock: Clock },
): Promise<Sample> {
  const { analysis, version, stableVersion } = input;
  const { lagMs = 0 } = analysis;
  const at = askedMoment(input);
  // Warm-up is fixed beforehand and left out; what came before the last weight change is another experiment.
  const warm = input.since + analysis.initialDelayMs;
  // A request is in one value alone, although looks come a little early or late.
  const lookedAt = input.kayenta?.lookedAt ?? null;
  const begin = lookedAt === null ? warm : Math.max(warm, lookedAt - lagMs);
  const windowMs = Math.min(analysis.windowMs, at - begin);
  if (windowMs < SHORTEST_WINDOW_MS) {
    return without(input, { kind: 'no-data', message: nothingSeen(input) });
  }
  const request: SampleRequest = {
    service: input.service,
    namespace: input.namespace,
    versions: { canary: version, stable: stableVersion ?? '' },
    ...(tracks === undefined ? {} : { tracks }),
    metrics: analysis.metrics,
    at,
    ...clock,
    ...(lagMs > 0 ? { lagMs } : {}),
    windowMs,
    weight: input.weight,
    subject: input.subject,
  };
  const limited = limitedTo(budgetMs, signal);
  const sample = await inTime(sampleOf(source, { ...request, signal: limited }, input), limited);
  if (sample !== null) return sample;
  const seconds = Math.round(budgetMs / 100) / 10;
  return without(input, { kind: 'error', message: `the metric source did not answer within ${seconds} s` });
}

async function sampleOf(source: () => MetricSource, request: SampleRequest, input: MeasureInput): Promise<Sample> {
  try {
    return await source().sample(request);
  } catch (error) {
    return without(input, { kind: 'error', message: settingProblem(error) });
  }
}

/** A sample in which no metric has a value, for one reason. */
function without(
  { at, analysis }: MeasureInput,
  problem: { readonly kind: 'error' | 'no-data'; readonly message: string },
): Sample {
  return {
    at,
    windowMs: 0,
    metrics: analysis.metrics.map(({ name }) => ({ name, canary: { query: '', value: null, problem }, stable: null })),
  };
}
