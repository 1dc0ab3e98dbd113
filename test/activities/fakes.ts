import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { ActivityDeps } from '../../src/activities/deps';
import { createActivities } from '../../src/activities/activities';
import type { Counted } from '../../src/analysis/counts';
import type { Sample } from '../../src/analysis/sample';
import type { CountRequest, MetricSource, Routed, RoutedRequest, SampleRequest } from '../../src/metrics/metric-source';
import type { SlackNotifier } from '../../src/notify/slack';
import type { AnalysisPlan, TargetPlan } from '../../src/spec/plan-types';
import type { Reassertion, Target, TargetWrite, WriteFence } from '../../src/targets/target';
import type { MeasureInput, MeasureResult, ReleaseActivities } from '../../src/workflows/activity-types';

export const routerPlan: TargetPlan = {
  kind: 'router',
  instances: ['http://127.0.0.1:1'],
  tokenEnv: 'TOKEN',
  overrideSecretEnv: 'SECRET',
};

export const ref = {
  service: 'checkout',
  namespace: 'shop',
  version: 'v2',
  artifact: null,
  target: routerPlan,
} as const;
export const fence = { release: 'r1', epoch: 1, step: 3 } as const;

/** A target in memory that keeps what it was told; `behave` may throw or wait. */
export class FakeTarget implements Target {
  readonly calls: { name: keyof Target; write: unknown }[] = [];
  behave: (name: keyof Target, signal: AbortSignal) => void | Promise<void> = () => undefined;
  found: Reassertion = { foreignEdits: [], guardTripped: null, unreachable: [] };

  fences(): WriteFence[] {
    return this.calls.flatMap(({ write }) => (write as Partial<TargetWrite>).fence ?? []);
  }

  observe = async ({ signal, ...look }: Parameters<Target['observe']>[0]) => {
    await this.told('observe', look, signal);
    return { stableVersion: 'v1', canaryVersion: null, weight: 0, artifact: null };
  };
  deploy = (write: TargetWrite) => this.told('deploy', write, write.signal);
  smokeTest = (request: Parameters<Target['smokeTest']>[0]) => this.told('smokeTest', request, request.signal);
  setWeight = (write: Parameters<Target['setWeight']>[0]) => this.told('setWeight', write, write.signal);
  reassert = async (write: Parameters<Target['reassert']>[0]) => {
    await this.told('reassert', write, write.signal);
    return this.found;
  };
  promote = (write: TargetWrite) => this.told('promote', write, write.signal);
  restoreStable = (write: Parameters<Target['restoreStable']>[0]) => this.told('restoreStable', write, write.signal);
  removeCanary = (write: TargetWrite) => this.told('removeCanary', write, write.signal);
  close = () => undefined;

  private async told(name: keyof Target, write: object, signal: AbortSignal): Promise<string> {
    this.calls.push({ name, write });
    await this.behave(name, signal);
    return `${name} is done.`;
  }
}

/** A source that answers what the test says and keeps what it was asked. */
export class FakeSource implements MetricSource {
  readonly asked: SampleRequest[] = [];
  answer: (request: SampleRequest) => Sample | Promise<Sample> = (request) => sampleOf(request, { bad: 0, total: 100 });

  readonly askedRouted: RoutedRequest[] = [];
  route: (request: RoutedRequest) => Routed | Promise<Routed> = () => ({
    kind: 'no-data',
    query: 'r',
    message: 'nothing is counted here',
  });

  readonly askedCounts: CountRequest[] = [];
  tally: (request: CountRequest) => readonly Counted[] | Promise<readonly Counted[]> = (request) =>
    request.metrics.map(({ name }) => ({
      name,
      query: 'c',
      kind: 'batch',
      canary: { bad: 0, total: 100 },
      stable: { bad: 0, total: 300 },
      dropped: [],
      cursor: { kind: 'time', at: request.at },
    }));

  async count(request: CountRequest): Promise<readonly Counted[]> {
    this.askedCounts.push(request);
    return this.tally(request);
  }

  async routed(request: RoutedRequest): Promise<Routed> {
    this.askedRouted.push(request);
    return this.route(request);
  }

  async sample(request: SampleRequest): Promise<Sample> {
    this.asked.push(request);
    return this.answer(request);
  }
}

export function sampleOf(request: SampleRequest, events: { bad: number; total: number }): Sample {
  return {
    at: request.at,
    windowMs: request.windowMs,
    metrics: [
      {
        name: 'error-rate',
        canary: { query: 'q', value: events.bad / events.total, events },
        stable: { query: 'q', value: 0, events: { bad: 0, total: 300 } },
      },
    ],
  };
}

export const analysis: AnalysisPlan = {
  source: { kind: 'router' },
  intervalMs: 5_000,
  initialDelayMs: 0,
  windowMs: 60_000,
  minMeasurements: 1,
  minRequests: 20,
  failureLimit: 0,
  consecutiveErrorLimit: 4,
  onNoData: { extendMs: 0, then: 'pause' },
  metrics: [
    {
      name: 'error-rate',
      unit: 'ratio',
      max: 0.05,
      min: null,
      maxRatio: null,
      query: { kind: 'builtin', metric: 'error-rate' },
    },
  ],
  compare: null,
};

export function measureInput(
  more: Partial<MeasureInput> & { readonly plan?: Partial<AnalysisPlan> } = {},
): MeasureInput {
  const { plan, ...rest } = more;
  return {
    ...ref,
    fence,
    match: [],
    subject: 'canary',
    stableVersion: 'v1',
    weight: 25,
    at: 1_000_000,
    since: 900_000,
    step: 2,
    analysis: { ...analysis, ...plan },
    judge: null,
    ...rest,
  };
}

export interface World {
  readonly target: FakeTarget;
  readonly source: FakeSource;
  readonly activities: ReleaseActivities;
  readonly env: MockActivityEnvironment;
}

/** A context that logs nothing: most tests here are of failures. */
export function mockedContext(
  info: { attempt?: number; startToCloseTimeoutMs?: number; currentAttemptScheduledTimestampMs?: number } = {},
): MockActivityEnvironment {
  return new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR', () => undefined) });
}

/** One measurement in the mocked context. */
export async function measured({ env, activities }: World, input: MeasureInput): Promise<MeasureResult> {
  let result: MeasureResult | null = null;
  await env.run(async () => {
    result = await activities.measure(input);
  });
  if (result === null) throw new Error('a measurement without a result');
  return result;
}

/** The activities over fakes, in a mocked context. */
export function world(
  more: {
    deps?: Partial<ActivityDeps>;
    attempt?: number;
    startToCloseTimeoutMs?: number;
    /** By Temporal's clock, of this attempt. */
    scheduledAt?: number;
    slack?: SlackNotifier;
  } = {},
): World {
  const target = new FakeTarget();
  const source = new FakeSource();
  const activities = createActivities({
    target: () => target,
    source: () => source,
    slack: () => more.slack ?? { notify: async ({ channel }) => ({ channel, ts: '1.1' }) },
    ...more.deps,
  });
  const env = mockedContext({
    attempt: more.attempt ?? 1,
    startToCloseTimeoutMs: more.startToCloseTimeoutMs ?? 30_000,
    ...(more.scheduledAt === undefined ? {} : { currentAttemptScheduledTimestampMs: more.scheduledAt }),
  });
  return { target, source, activities, env };
}
