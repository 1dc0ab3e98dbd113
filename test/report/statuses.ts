import type { EvidenceReport } from '../../src/analysis/gather-evidence';
import type { MetricVerdict } from '../../src/analysis/verdict';
import type { Measurement, ReleaseStatus } from '../../src/workflows/api';
import { anEvent, aStatus, aStep, START } from '../cli/statuses';

/** With what the evidence judge adds to a metric. */
export function withEvidence(metric: MetricVerdict, logEvidence: number): MetricVerdict {
  const canary = { bad: Math.round((metric.canary ?? 0) * 1_500), total: 1_500 };
  const evidence: EvidenceReport = {
    ...{ logEvidence, limit: 5.3, canary, stable: { bad: 145, total: 28_500 } },
    ...{
      boundary: null,
      batches: 50,
      clusters: 2,
      dropped: [],
      sentence: 'All of it.',
      query: 'sum by (job, instance) (errors)',
    },
  };
  return { ...metric, evidence };
}

/** A release that was rolled back at 25 %, with five minutes of measurements. */
export function aLongStatus(options: { readonly evidence: boolean } = { evidence: true }): ReleaseStatus {
  const measurements = Array.from({ length: 50 }, (_, index): Measurement => {
    const at = START + 10_000 + index * 5_000;
    const weight = index < 24 ? 5 : 25;
    const bad = index > 34 ? 0.005 + 0.002 * (index - 34) : 0.005 + 0.001 * Math.sin(index);
    const last = index === 49;
    const errors: MetricVerdict = {
      name: 'error-rate',
      unit: 'ratio',
      verdict: last ? 'fail' : 'pass',
      canary: bad,
      stable: 0.005 + 0.0006 * Math.cos(index),
      canaryRequests: 60 * weight,
      stableRequests: 60 * (100 - weight),
      limit: 'max 5 %',
      sentence: last
        ? '53 of 198 errors came from the canary, which had 5 % of the requests.'
        : `${Math.round(bad * 1_500)} of 1500 canary requests failed, within the limits.`,
      query: 'sum(increase(http_requests_total{track="canary",status=~"5.."}[60s]))',
    };
    const latency: MetricVerdict = {
      ...errors,
      name: 'p95-latency',
      unit: 'seconds',
      verdict: index % 13 === 5 ? 'insufficient-data' : 'pass',
      canary: index % 13 === 5 ? null : 0.13 + 0.01 * Math.cos(index),
      stable: 0.12 + 0.005 * Math.sin(index),
      limit: 'max 1 s',
      sentence: 'p95-latency 130 ms over 1500 canary requests, within the limits.',
      query: 'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[60s])))',
    };
    const logEvidence = index > 34 ? -1 + 0.45 * (index - 34) : -1 * Math.min(1, index / 10);
    return {
      at,
      step: index < 24 ? 2 : 3,
      weight,
      observedShare: index === 10 ? null : weight / 100 + 0.004 * Math.sin(index),
      verdict: last ? 'fail' : 'pass',
      sentence: errors.sentence,
      metrics: [options.evidence ? withEvidence(errors, logEvidence) : errors, latency],
    };
  });
  const failed = measurements.at(-1);
  const deciding = measurements[23];
  if (failed === undefined || deciding === undefined) throw new Error('there are no measurements');
  const end = START + 262_000;
  return aStatus({
    phase: 'rolledBack',
    outcome: 'rolledBack',
    message: 'Rolled back to 1.41.0: 53 of 198 errors came from the canary, which had 5 % of the requests.',
    weight: 0,
    soak: null,
    endedAt: end,
    measurements,
    steps: [
      aStep('deploy', { kind: 'deploy', state: 'passed', startedAt: START, endedAt: START + 1_200, sentence: 'Up.' }),
      aStep('weight 5 %', {
        state: 'passed',
        startedAt: START + 5_000,
        endedAt: START + 125_000,
        sentence: '24 of 24 measurements passed, at least 3 had to.',
        verdict: 'pass',
        measurements: 24,
        evidence: deciding,
      }),
      aStep('weight 25 %', {
        state: 'failed',
        startedAt: START + 125_000,
        endedAt: START + 256_000,
        sentence: `1 measurement failed: ${failed.sentence}`,
        verdict: 'fail',
        measurements: 26,
        evidence: failed,
      }),
      aStep('promote', { kind: 'promote' }),
    ],
    events: [
      anEvent(1, { at: START, message: 'alice started the release.', actor: { name: 'alice', via: 'ci' } }),
      anEvent(2, { at: START + 5_000, type: 'weightChanged', message: 'Weight 0 % → 5 %.', weight: 5 }),
      anEvent(3, {
        at: START + 60_000,
        type: 'paused',
        message: 'bob paused it.',
        weight: 5,
        actor: { name: 'bob', via: 'cli' },
      }),
      anEvent(4, {
        at: START + 80_000,
        type: 'resumed',
        message: 'bob resumed it.',
        weight: 5,
        actor: { name: 'bob', via: 'cli' },
      }),
      anEvent(5, { at: START + 125_000, type: 'weightChanged', message: 'Weight 5 % → 25 %.', weight: 25 }),
      anEvent(6, { at: START + 256_000, type: 'stepFailed', message: failed.sentence, weight: 25, evidence: failed }),
      anEvent(7, { at: START + 256_100, type: 'rollbackStarted', message: 'It is taken back.', weight: 25 }),
      anEvent(8, { at: START + 257_000, type: 'compensated', message: 'All are at 0 %.', weight: 0 }),
      anEvent(9, { at: end, type: 'rolledBack', message: 'Rolled back to 1.41.0.', weight: 0 }),
    ],
  });
}
