import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createActivities } from '../../src/activities/activities';
import { createDeps } from '../../src/worker/create-deps';
import type { ReleaseActivities, TargetRef } from '../../src/workflows/activity-types';
import { Instance, TOKEN } from '../targets/instance';
import { FakeWorld } from './fake-world';

/**
 * What the workflow's tests let a fake do, a real target does as well: the same table over the fake world and over the
 * worker's own activities with a real router.
 */
interface Subject {
  readonly activities: ReleaseActivities;
  readonly ref: TargetRef;
  close(): Promise<void>;
}

function refOf(instance: string): TargetRef {
  return {
    service: 'shop',
    namespace: 'default',
    version: 'v2',
    artifact: null,
    target: {
      kind: 'router',
      instances: [instance],
      tokenEnv: 'SLUICE_ROUTER_TOKEN',
      overrideSecretEnv: 'SLUICE_ROUTER_OVERRIDE_SECRET',
    },
  };
}

const SUBJECTS: Readonly<Record<string, () => Promise<Subject>>> = {
  'the fake world': () => {
    const world = new FakeWorld();
    return Promise.resolve({
      activities: world.activities,
      ref: refOf('http://127.0.0.1:1'),
      close: () => {
        expect(world.violations).toEqual([]);
        return Promise.resolve();
      },
    });
  },
  'a real router': async () => {
    const instance = await new Instance().start();
    const deps = createDeps({ SLUICE_ROUTER_TOKEN: TOKEN });
    return {
      activities: createActivities(deps),
      ref: refOf(instance.url),
      close: async () => {
        deps.close();
        await instance.die();
      },
    };
  },
};

/** One call of an activity: what is asked for, by which step's which attempt, and of which release. */
interface Write {
  readonly ask:
    | 'deploy'
    | 'promote'
    | 'restoreStable'
    | 'removeCanary'
    | { readonly weight: number; readonly from: number }
    | { readonly back: number };
  readonly step: number;
  readonly attempt?: number;
  readonly release?: 'r1' | 'r2';
}

function carryOut({ activities, ref }: Subject, { ask, step, attempt = 1, release = 'r1' }: Write): Promise<unknown> {
  const env = new MockActivityEnvironment({ attempt }, { logger: new DefaultLogger('ERROR') });
  const to = { ...ref, fence: { release, epoch: release === 'r1' ? 1 : 2, step } };
  return env.run((): Promise<unknown> => {
    if (ask === 'deploy') return activities.deploy({ ...to, timeoutMs: 10_000 });
    if (ask === 'promote') {
      return activities.promote({ ...to, release, stableVersion: 'v1', smokeTest: null, timeoutMs: 10_000 });
    }
    const back = (compensation: Parameters<ReleaseActivities['compensate']>[0]['compensation']): Promise<unknown> =>
      activities.compensate({ ...to, compensation, reason: 'a test' });
    if (ask === 'restoreStable') return back({ op: 'restoreStable', version: 'v1' });
    if (ask === 'removeCanary') return back({ op: 'removeCanary' });
    if ('back' in ask) return back({ op: 'restoreWeight', weight: ask.back });
    return activities.setWeight({ ...to, weight: ask.weight, previousWeight: ask.from, match: [] });
  });
}

const DEPLOYED: Write = { ask: 'deploy', step: 1 };
const AT_25: readonly Write[] = [DEPLOYED, { ask: { weight: 25, from: 0 }, step: 2 }];
const AT_100: readonly Write[] = [DEPLOYED, { ask: { weight: 100, from: 0 }, step: 2 }];
const PROMOTED: readonly Write[] = [...AT_100, { ask: 'promote', step: 3 }];

/** What was done before, what is asked then, whether it is refused as too old, and what there is after it. */
const TABLE: [
  string,
  readonly Write[],
  Write,
  'done' | 'FenceLost',
  [stable: string, canary: string | null, weight: number],
][] = [
  ['a deployment', [], DEPLOYED, 'done', ['v1', 'v2', 0]],
  ['a deployment again', [DEPLOYED], { ...DEPLOYED, attempt: 2 }, 'done', ['v1', 'v2', 0]],
  ['a raise', AT_25, { ask: { weight: 50, from: 25 }, step: 3 }, 'done', ['v1', 'v2', 50]],
  ['a raise again', AT_25, { ask: { weight: 25, from: 0 }, step: 2, attempt: 2 }, 'done', ['v1', 'v2', 25]],
  ['a lowering', AT_25, { ask: { weight: 5, from: 25 }, step: 3 }, 'done', ['v1', 'v2', 5]],
  ['the way back to no traffic', AT_25, { ask: { back: 0 }, step: 3 }, 'done', ['v1', 'v2', 0]],
  ['a promotion', AT_100, { ask: 'promote', step: 3 }, 'done', ['v2', null, 0]],
  ['a promotion again', PROMOTED, { ask: 'promote', step: 3, attempt: 2 }, 'done', ['v2', null, 0]],
  ['the way back from a promotion', PROMOTED, { ask: 'restoreStable', step: 4 }, 'done', ['v1', null, 0]],
  ['a removal', [DEPLOYED], { ask: 'removeCanary', step: 2 }, 'done', ['v1', null, 0]],
  [
    'a removal again',
    [DEPLOYED, { ask: 'removeCanary', step: 2 }],
    { ask: 'removeCanary', step: 2, attempt: 2 },
    'done',
    ['v1', null, 0],
  ],
  [
    'a raise of a step that is over',
    [...AT_25, { ask: { back: 0 }, step: 4 }],
    { ask: { weight: 50, from: 25 }, step: 3 },
    'FenceLost',
    ['v1', 'v2', 0],
  ],
  [
    'a raise after the removal',
    [DEPLOYED, { ask: 'removeCanary', step: 3 }],
    { ask: { weight: 25, from: 0 }, step: 2 },
    'FenceLost',
    ['v1', null, 0],
  ],
  [
    'the late write of an attempt that was given up',
    [DEPLOYED, { ask: { weight: 25, from: 0 }, step: 2, attempt: 2 }],
    { ask: { weight: 25, from: 0 }, step: 2, attempt: 1 },
    'FenceLost',
    ['v1', 'v2', 25],
  ],
  [
    'a promotion that comes after its way back',
    [...AT_100, { ask: { back: 0 }, step: 4 }],
    { ask: 'promote', step: 3 },
    'FenceLost',
    ['v1', 'v2', 0],
  ],
  [
    'a late write of the release before',
    [...AT_25, { ask: 'deploy', step: 1, release: 'r2' }],
    { ask: { weight: 50, from: 25 }, step: 9 },
    'FenceLost',
    ['v1', 'v2', 0],
  ],
];

describe.each(Object.entries(SUBJECTS))('%s', (_, make) => {
  let subject: Subject;
  beforeEach(async () => {
    subject = await make();
  });
  afterEach(() => subject.close());

  it.each(TABLE)('answers %s', async (_name, before, write, answer, [stableVersion, canaryVersion, weight]) => {
    for (const one of before) await carryOut(subject, one);

    const outcome = await carryOut(subject, write).then(
      () => 'done',
      (error: unknown) => (error as { type?: string }).type ?? String(error),
    );

    expect(outcome).toBe(answer);
    const env = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    expect(await env.run(subject.activities.observe, subject.ref)).toMatchObject({
      stableVersion,
      canaryVersion,
      weight,
    });
  });
});
