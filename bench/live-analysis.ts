import { execFileSync } from 'node:child_process';
import { binomialUpperTail } from '../src/analysis/binomial';
import { wilsonInterval } from '../src/analysis/wilson';
import type { Plan } from '../src/spec/plan-types';
import { findPrometheusExecutable } from '../test/metrics/find-prometheus';
import { playLiveReleases, predictRequests } from './lib/live-releases';
import type { LiveOptions, LivePlayed } from './lib/live-releases';
import { atLeast, atMost, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { BENCH_ACTOR, eventually, startBenchStack } from './lib/stack';
import type { BenchStack } from './lib/stack';
import { percentile } from './lib/statistics';

const RELEASES = 200;
const FAULTS = 40;
/** As many as one machine carries beside what serves them. */
const AT_ONCE = 40;
const ALPHA = 0.01;

/** Releases of the in-app router's shop in shortened time, judged by a Prometheus that scrapes it: A/A, and with faults. */
export async function liveAnalysis(): Promise<BenchResult> {
  const prometheus = findPrometheusExecutable();
  if (prometheus === null) throw new Error('There is no Prometheus: install one, or let SLUICE_PROMETHEUS name it.');
  const stack = await startBenchStack();
  try {
    const usual = {
      release: (plan: Plan) => releaseBy(stack, plan),
      prometheus,
      soak: '6s',
      requestsPerSecond: 100,
      base: 0.02,
    };
    const same: LiveOptions = { ...usual, releases: AT_ONCE, weights: [5, 25, 50, 100], times: 1 };
    const healthy = [];
    for (let played = 0; played < RELEASES; played += AT_ONCE) healthy.push(...(await playLiveReleases(same)));
    const worse: LiveOptions = { ...usual, releases: FAULTS, weights: [25, 100], soak: '60s', times: 10 };
    const faults = await playLiveReleases(worse);
    const predicted = predictRequests(worse);
    const alarms = healthy.filter(({ outcome }) => outcome === 'failed').length;
    const found = faults.filter(({ outcome }) => outcome === 'failed');
    const inTime = found.filter(({ canaryRequests }) => canaryRequests <= predicted).length;
    return {
      bench: 'live-analysis',
      how: `${RELEASES} releases 5/25/50/100 without a change, ${AT_ONCE} at a time, soaks of 6 s at 100 requests/s with 2 % errors, a look every 2 s, ${version(prometheus)} scraping each second; then ${FAULTS} with ten times the errors at 25 %; requests are the canary's until its weight is 0, predicted by simulation.`,
      figures: [
        atMost('A/A releases rolled back by their verdict', alarms, mostAlarms(), ''),
        told('the same, upper Wilson bound', 100 * wilsonInterval(alarms, RELEASES).upper, '%'),
        atMost('A/A releases without a verdict', healthy.filter(({ outcome }) => outcome === 'other').length, 0, ''),
        atLeast('faults found', found.length, FAULTS, ''),
        atLeast('within the predicted requests', (100 * inTime) / FAULTS, 90, '%'),
        told(
          'canary requests until it was back, 95 %',
          percentile(
            found.map((each) => each.canaryRequests),
            95,
          ),
          '',
        ),
        told('predicted, 95 %', predicted, ''),
      ],
    };
  } finally {
    await stack.stop();
  }
}

async function releaseBy({ client }: BenchStack, plan: Plan): Promise<LivePlayed> {
  const ref = { service: plan.service, namespace: plan.namespace };
  await client.deploy(plan, { actor: BENCH_ACTOR });
  await eventually(`${plan.service} to end`, async () => (await client.status(ref)).outcome !== null, {
    everyMs: 1_000,
  });
  const { outcome, steps, message } = await client.status(ref);
  if (outcome === 'promoted') return { outcome, message };
  const isJudged = steps.some(({ state, verdict }) => state === 'failed' && verdict === 'fail');
  return { outcome: isJudged ? 'failed' : 'other', message };
}

/** More would have a chance below one in a thousand, if a healthy release fails in one of a hundred. */
function mostAlarms(): number {
  let most = 0;
  while (binomialUpperTail(most + 1, RELEASES, ALPHA) >= 0.001) most += 1;
  return most;
}

function version(prometheus: string): string {
  const text = execFileSync(prometheus, ['--version'], { encoding: 'utf8' });
  return `Prometheus ${/version (\d+\.\d+\.\d+)/.exec(text)?.[1] ?? 'of an unknown version'}`;
}
