import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { createActivities } from '../../src/activities/activities';
import { tellWait, tellWaited } from '../../src/activities/waits';
import { ReleaseError } from '../../src/errors';
import type { ReleaseErrorCode } from '../../src/errors';
import { SlackFailure } from '../../src/notify/slack-failure';
import type { SmokeTestStep } from '../../src/spec/plan-types';
import { createRouterTarget } from '../../src/targets/router/router-target';
import { TargetFailure } from '../../src/targets/target';
import type { TargetFailureKind } from '../../src/targets/target';
import { ACTIVITY_FAILURES, NON_RETRYABLE } from '../../src/workflows/activity-types';
import type { NotifySlackInput, ReleaseActivities } from '../../src/workflows/activity-types';
import { eventually, Instance, TOKEN } from '../targets/instance';
import { fence, measureInput, mockedContext, ref, world } from './fakes';
import type { World } from './fakes';

const test: SmokeTestStep = {
  kind: 'smokeTest',
  name: 'smoke test',
  path: '/healthz',
  expectStatus: 200,
  expectBody: null,
  attempts: 1,
  intervalMs: 1,
  timeoutMs: 1_000,
};

const promotion = { fence, stableVersion: 'v1', smokeTest: null, release: 'r1', timeoutMs: 1_000 } as const;

/** Every activity that works on a target, with an input. */
const ON_TARGET: [keyof ReleaseActivities, (activities: ReleaseActivities) => Promise<unknown>][] = [
  ['observe', (all) => all.observe(ref)],
  ['deploy', (all) => all.deploy({ ...ref, fence, timeoutMs: 1_000 })],
  ['smokeTest', (all) => all.smokeTest({ ...ref, release: 'r1', test })],
  ['setWeight', (all) => all.setWeight({ ...ref, fence, weight: 25, previousWeight: 5, match: [] })],
  ['measure', (all) => all.measure(measureInput())],
  ['promote', (all) => all.promote({ ...ref, ...promotion })],
  [
    'compensate',
    (all) => all.compensate({ ...ref, fence, compensation: { op: 'removeCanary' }, reason: 'the evidence' }),
  ],
];

async function failureOf({ env }: World, run: () => Promise<unknown>): Promise<ApplicationFailure> {
  const result = await env.run(run).then(
    () => null,
    (error: unknown) => error,
  );
  if (result instanceof ApplicationFailure) return result;
  throw new Error(`no failure of an activity but ${String(result)}`);
}

describe('failures at the border to Temporal', () => {
  it.each<[TargetFailureKind, string, boolean]>([
    ['fenceLost', 'FenceLost', true],
    ['guardTripped', 'GuardTripped', true],
    ['unknownVersion', 'UnknownVersion', true],
    ['deployFailed', 'DeployFailed', true],
    ['smokeTestFailed', 'SmokeTestFailed', true],
    ['invalidTarget', 'InvalidTarget', true],
    ['unsupported', 'Unsupported', true],
    ['notIdle', 'NotIdle', true],
    ['unreachable', 'Unreachable', false],
  ])('a target that says %s fails as %s (final: %s), in every activity', async (kind, type, final) => {
    for (const [, run] of ON_TARGET) {
      const all = world();
      all.target.behave = () => {
        throw new TargetFailure(kind, 'It is so.');
      };

      const failure = await failureOf(all, () => run(all.activities));

      expect(failure).toMatchObject({ type, message: 'It is so.', nonRetryable: final });
      expect(NON_RETRYABLE.includes(type)).toBe(final);
    }
  });

  it('a target that asks to be left alone is tried again when it says', async () => {
    const all = world();
    all.target.behave = () => {
      throw new TargetFailure('unreachable', 'It is overloaded.', { retryAfterMs: 21_000 });
    };

    const failure = await failureOf(all, () => all.activities.observe(ref));

    expect(failure).toMatchObject({ type: 'Unreachable', nonRetryable: false, nextRetryDelay: 21_000 });
  });

  it.each<[ReleaseErrorCode, string, boolean]>([
    ['usage', 'InvalidTarget', true],
    ['unsupported', 'Unsupported', true],
    ['unreachable', 'Unreachable', false],
    ['timeout', 'Unreachable', false],
  ])('settings that are wrong (%s) fail as %s with their way out', async (code, type, final) => {
    const all = world({
      deps: {
        target: () => {
          throw new ReleaseError(code, 'The setting is off.', { hint: 'Set it right.' });
        },
      },
    });

    const failure = await failureOf(all, () => all.activities.observe(ref));

    expect(failure).toMatchObject({ type, message: 'The setting is off. Set it right.', nonRetryable: final });
  });

  it('a defect keeps its name and stack, and is tried again', async () => {
    const all = world();
    all.target.behave = () => {
      throw new TypeError('undefined is not a function');
    };

    const failed = all.env.run(all.activities.observe, ref);

    await expect(failed).rejects.toThrow(TypeError);
  });

  it('has a name for every kind of failure of a target', () => {
    expect(Object.keys(ACTIVITY_FAILURES).sort()).toEqual([
      'deployFailed',
      'fenceLost',
      'guardTripped',
      'invalidTarget',
      'notIdle',
      'smokeTestFailed',
      'unknownVersion',
      'unreachable',
      'unsupported',
    ]);
  });
});

describe('what Slack does not take', () => {
  const input = { channel: '#deploys', message: null, news: [], status: {} } as unknown as NotifySlackInput;
  const failing = (failure: SlackFailure): World => world({ slack: { notify: () => Promise.reject(failure) } });

  it('is tried again when Slack says, if it limits', async () => {
    const all = failing(new SlackFailure('Slack limits the rate.', { retryable: true, retryAfterMs: 7_000 }));

    const failure = await failureOf(all, () => all.activities.notifySlack(input));

    expect(failure).toMatchObject({ type: 'Unreachable', nonRetryable: false, nextRetryDelay: 7_000 });
  });

  it('is tried again by the policy where Slack is away', async () => {
    const all = failing(new SlackFailure('Slack cannot be reached.', { retryable: true }));

    const failure = await failureOf(all, () => all.activities.notifySlack(input));

    expect(failure).toMatchObject({ type: 'Unreachable', nonRetryable: false });
    expect(failure.nextRetryDelay).toBeUndefined();
  });

  it('is final, with the way out, where it is about the channel or the app', async () => {
    const all = failing(
      new SlackFailure('Slack refused the message: not_in_channel.', {
        retryable: false,
        slackError: 'not_in_channel',
        retryAfterMs: 7_000,
        hint: 'Invite the app to the channel.',
      }),
    );

    const failure = await failureOf(all, () => all.activities.notifySlack(input));

    expect(failure).toMatchObject({
      type: 'InvalidTarget',
      nonRetryable: true,
      message: 'Slack refused the message: not_in_channel. Invite the app to the channel.',
    });
    expect(failure.nextRetryDelay).toBeUndefined();
  });

  it('is nothing: the handle comes back', async () => {
    const all = world();

    await expect(all.env.run(all.activities.notifySlack, input)).resolves.toEqual({ channel: '#deploys', ts: '1.1' });
  });
});

it('the look at the target knows what the steps will ask for, also where a workflow of before does not say', async () => {
  const { env, activities, target } = world();
  const match = [{ kind: 'header', name: 'x-canary', value: 'true' }] as const;

  await env.run(() => activities.observe({ ...ref, match, weights: [5, 100] }));
  await env.run(() => activities.observe(ref));

  expect(target.calls.map(({ write }) => write)).toEqual([
    { version: ref.version, match, weights: [5, 100] },
    { version: ref.version, match: [], weights: [] },
  ]);
});

describe('a repeat', () => {
  it.each(ON_TARGET.filter(([name]) => name !== 'observe' && name !== 'smokeTest'))(
    'of %s carries a higher place than the attempt before and its taking back',
    async (_, run) => {
      const first = world({ attempt: 1 });
      const second = world({ attempt: 2 });

      await first.env.run(() => run(first.activities));
      await second.env.run(() => run(second.activities));

      expect(first.target.fences()).toEqual([{ ...fence, attempt: 2 }]);
      expect(second.target.fences()).toEqual([{ ...fence, attempt: 4 }]);
    },
  );

  it('on real instances leaves one effect', async () => {
    const instance = await new Instance().start();
    const target = createRouterTarget(
      { kind: 'router', instances: [instance.url], tokenEnv: 'TOKEN', overrideSecretEnv: 'SECRET' },
      { TOKEN },
    );
    try {
      for (const attempt of [1, 2, 3]) {
        const { env } = world({ attempt });
        const activities = createActivities(depsOf(target));
        await env.run(async () => {
          expect(activityInfo().attempt).toBe(attempt);
          await activities.deploy({ ...ref, fence: { ...fence, step: 1 }, timeoutMs: 1_000 });
        });
      }
      for (const attempt of [1, 2]) {
        const { env } = world({ attempt });
        const activities = createActivities(depsOf(target));
        await env.run(() =>
          activities.setWeight({ ...ref, fence: { ...fence, step: 2 }, weight: 25, previousWeight: 0, match: [] }),
        );
      }

      expect(instance.events().map((event) => event.type)).toEqual(['release-declared', 'weight-changed']);
    } finally {
      target.close();
      await instance.die();
    }
  });
});

it.each<[string, boolean, (activities: ReleaseActivities) => Promise<unknown>]>([
  ['on the way forward', false, (all) => all.setWeight({ ...ref, fence, weight: 0, previousWeight: 50, match: [] })],
  [
    'of a clean-up',
    true,
    (all) => all.setWeight({ ...ref, fence, weight: 0, previousWeight: 50, match: [], back: true }),
  ],
  [
    'of a roll back',
    true,
    (all) => all.compensate({ ...ref, fence, compensation: { op: 'restoreWeight', weight: 0 }, reason: 'it fails' }),
  ],
])('a weight of 0 %s is a way back for the target: %s', async (_, back, run) => {
  const all = world();

  await all.env.run(() => run(all.activities));

  expect(all.target.calls).toMatchObject([{ name: 'setWeight', write: { weight: 0, back } }]);
});

function depsOf(target: ReturnType<typeof createRouterTarget>): Parameters<typeof createActivities>[0] {
  return {
    target: () => target,
    source: () => {
      throw new Error('no source is asked here');
    },
    slack: () => {
      throw new Error('no Slack is asked here');
    },
  };
}

describe('a compensation', () => {
  it.each([
    [{ op: 'restoreWeight', weight: 0 } as const, 'setWeight', { weight: 0, previousWeight: 100 }],
    [{ op: 'restoreStable', version: 'v1' } as const, 'restoreStable', { stableVersion: 'v1' }],
    [{ op: 'removeCanary' } as const, 'removeCanary', { version: 'v2' }],
  ])('%j is the inverse of what it takes back', async (compensation, name, write) => {
    const { env, activities, target } = world();

    const answer = await env.run(activities.compensate, { ...ref, fence, compensation, reason: 'the evidence' });

    expect(target.calls).toEqual([{ name, write: expect.objectContaining(write) }]);
    expect(answer).toEqual({ sentence: `${name} is done.` });
  });
});

describe('heartbeats', () => {
  afterEach(() => jest.useRealTimers());

  it('are sent while an activity runs, and not after', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    const { env, activities, target } = world();
    let beats = 0;
    env.on('heartbeat', () => (beats += 1));
    let finish = (): void => undefined;
    target.behave = () => new Promise((resolve) => (finish = resolve));

    const running = env.run(activities.promote, { ...ref, ...promotion });
    await jest.advanceTimersByTimeAsync(9_000);
    const during = beats;
    finish();
    await running;
    await jest.advanceTimersByTimeAsync(60_000);

    // The heartbeat timeout is 4 s (activity-proxies.ts), so that a beat a second leaves room for two that are late.
    expect(during).toBe(9);
    expect(beats).toBe(during);
  });
});

describe('a wait', () => {
  afterEach(() => jest.useRealTimers());

  it('is what the heartbeats of its attempt say, and no other activity’s', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    const [one, other] = [world(), world()];
    const beats: unknown[] = [];
    const others: unknown[] = [];
    one.env.on('heartbeat', (details: unknown) => beats.push(details));
    other.env.on('heartbeat', (details: unknown) => others.push(details));
    const ends: (() => void)[] = [];
    const held = (): Promise<void> => new Promise((resolve) => void ends.push(resolve));
    one.target.behave = async () => {
      await Promise.resolve();
      tellWait('Waiting for pods.');
      await held();
      tellWaited();
      return held();
    };
    other.target.behave = held;

    const running = [one, other].map(({ env, activities }) => env.run(activities.promote, { ...ref, ...promotion }));
    await jest.advanceTimersByTimeAsync(1_000);
    for (const end of ends.splice(0)) end();
    await jest.advanceTimersByTimeAsync(1_000);
    for (const end of ends.splice(0)) end();
    await Promise.all(running);
    tellWait('Nobody hears this.');

    expect(beats).toEqual([{ attempt: 1, waits: 'Waiting for pods.' }, undefined]);
    expect(others).toEqual([undefined]);
  });
});

describe('a cancellation', () => {
  it('breaks off what the activity is doing, and is what it ends with', async () => {
    for (const [, run] of ON_TARGET) {
      const { env, activities, target } = world();
      let begun = (): void => undefined;
      const started = new Promise<void>((resolve) => (begun = resolve));
      target.behave = (_, signal) =>
        new Promise((_resolve, reject) => {
          begun();
          signal.addEventListener('abort', () => reject(new TargetFailure('unreachable', 'It was cancelled.')));
        });

      const running = env.run(() => run(activities));
      await started;
      env.cancel('CANCELLED');

      await expect(running).rejects.toBeInstanceOf(CancelledFailure);
    }
  });

  it('reaches the HTTP request', async () => {
    const instance = await new Instance().start();
    const target = createRouterTarget(
      { kind: 'router', instances: [instance.url], tokenEnv: 'TOKEN', overrideSecretEnv: 'SECRET' },
      { TOKEN },
    );
    const env = mockedContext();
    try {
      instance.proxy = () => 'hang';
      const running = env.run(createActivities(depsOf(target)).observe, ref);
      await eventually(() => instance.seen.length === 1, 'the request arrived');
      env.cancel('CANCELLED');

      await expect(running).rejects.toBeInstanceOf(CancelledFailure);
    } finally {
      target.close();
      await instance.die();
    }
  });

  it('ends a smoke test in its pause between two tries', async () => {
    const instance = await new Instance().start();
    const target = createRouterTarget(
      { kind: 'router', instances: [instance.url], tokenEnv: 'TOKEN', overrideSecretEnv: 'SECRET' },
      { TOKEN },
    );
    const env = mockedContext();
    try {
      const patient = { ...test, attempts: 10, intervalMs: 3_600_000 };
      const running = env.run(createActivities(depsOf(target)).smokeTest, { ...ref, release: 'r1', test: patient });
      await eventually(() => instance.seen.length === 1, 'the first try was made');
      env.cancel('WORKER_SHUTDOWN');

      await expect(running).rejects.toBeInstanceOf(CancelledFailure);
      expect(instance.seen).toHaveLength(1);
    } finally {
      target.close();
      await instance.die();
    }
  });
});
