import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CohortRouterOptions } from '../../src/router';
import type { RouterTargetPlan, SmokeTestStep } from '../../src/spec/plan-types';
import { createRouterTarget } from '../../src/targets/router/router-target';
import { TargetFailure } from '../../src/targets/target';
import type { Target, WriteFence } from '../../src/targets/target';
import { eventually, Instance, TOKEN, PLAIN } from './instance';
import type { Fate, SeenRequest } from './instance';

const SECRET = 'the-secret-of-overrides';
/** Only instances that hang are waited for this long; what answers on a busy machine does so before. */
const ADMIN_TIMEOUT_MS = 2_500;

let instances: Instance[] = [];
let targets: Target[] = [];
const running = (): AbortSignal => new AbortController().signal;

function fence(step: number, attempt = 2, release = 'r1', epoch = 1): WriteFence {
  return { release, epoch, step, attempt };
}

async function start(count: number, options: CohortRouterOptions = {}): Promise<Instance[]> {
  const started = await Promise.all(Array.from({ length: count }, () => new Instance(options).start()));
  instances.push(...started);
  return started;
}

function planOf(urls: readonly string[]): RouterTargetPlan {
  return { kind: 'router', instances: urls, tokenEnv: 'TOKEN', overrideSecretEnv: 'SECRET' };
}

function targetOf(urls: readonly string[], env: Record<string, string> = { TOKEN }): Target {
  const target = createRouterTarget(planOf(urls), env, { adminTimeoutMs: ADMIN_TIMEOUT_MS });
  targets.push(target);
  return target;
}

/** Instances and a target that has declared v2 on them with fence 1, at the weight that fence 2 set. */
async function released(count: number, weight: number, options: CohortRouterOptions = {}) {
  const started = await start(count, options);
  const target = targetOf(started.map((one) => one.url));
  await target.deploy({ ...PLAIN, version: 'v2', fence: fence(1), signal: running() });
  if (weight > 0) {
    await target.setWeight({ ...PLAIN, version: 'v2', fence: fence(2), weight, previousWeight: 0, signal: running() });
  }
  return { target, started };
}

function raise(target: Target, to: { weight: number; from: number; step?: number; attempt?: number }): Promise<string> {
  return target.setWeight({
    ...PLAIN,
    version: 'v2',
    fence: fence(to.step ?? 3, to.attempt ?? 2),
    weight: to.weight,
    previousWeight: to.from,
    signal: running(),
  });
}

/** The failure of a call that must not succeed; every message is a sentence without any secret. */
async function failureOf(call: Promise<unknown>): Promise<TargetFailure> {
  const result = await call.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (!(result instanceof TargetFailure)) throw new Error(`no failure of a target but ${String(result)}`);
  expect(result.message).toMatch(/^\S.*\.$/s);
  for (let cause: unknown = result; cause instanceof Error; cause = cause.cause) {
    expect(`${cause.message} ${cause.stack ?? ''}`).not.toContain(TOKEN);
    expect(`${cause.message} ${cause.stack ?? ''}`).not.toContain(SECRET);
  }
  return result;
}

const weights = (of: readonly Instance[] = instances): number[] => of.map((one) => one.router.snapshot().weight);
const stables = (of: readonly Instance[] = instances): string[] => of.map((one) => one.router.snapshot().stableVersion);

/** Gives the proxy's answer to the matching requests, in turn; the rest passes. */
function faults(instance: Instance, path: string, ...fates: Fate[]): void {
  instance.proxy = (request) => (request.path === path ? (fates.shift() ?? 'pass') : 'pass');
}

afterEach(async () => {
  for (const target of targets) target.close();
  for (const instance of instances) await instance.die();
  instances = [];
  targets = [];
});

describe('a raise', () => {
  it('reaches every instance', async () => {
    const { target } = await released(3, 5);

    const sentence = await raise(target, { weight: 25, from: 5 });

    expect(sentence).toBe('All 3 instances are at 25 %.');
    expect(weights()).toEqual([25, 25, 25]);
  });

  it('is kept by none when one instance is dead', async () => {
    const { target, started } = await released(3, 5);
    await started[1]?.die();

    const failure = await failureOf(raise(target, { weight: 25, from: 5 }));

    expect(failure.kind).toBe('unreachable');
    expect(failure.message).toContain(`${started[1]?.url} refused the connection.`);
    expect(failure.message).toContain('the others are at 5 %');
    expect(weights([started[0]!, started[2]!])).toEqual([5, 5]);
    // Not even for a moment: an instance that cannot be looked at is found before the others are raised.
    expect(started[0]?.writes().filter((write) => JSON.stringify(write.body).includes('"weight":25'))).toEqual([]);
  });

  it.each<[string, Fate, RegExp]>([
    ['dies in the moment of the write', 'refuse', /broke the connection before the answer was complete/],
    ['hangs', 'hang', /timed out after 2500 ms/],
    ['is answered for by a proxy with 500', 500, /answered 500 where the cohort router's admin endpoints should be/],
    ['does it, but its answer is lost', 'lost', /broke the connection before the answer was complete/],
  ])('is kept by none when one instance %s', async (_, fate, message) => {
    const { target, started } = await released(3, 5);
    // A kept connection that breaks is asked once more on a new one, so the fault comes twice.
    faults(started[1]!, '/canary/weight', fate, ...(fate === 'refuse' || fate === 'lost' ? [fate] : []));

    const failure = await failureOf(raise(target, { weight: 25, from: 5 }));

    expect(failure.kind).toBe('unreachable');
    expect(failure.message).toMatch(message);
    expect(failure.message).toContain(started[1]!.url);
    expect(failure.message).toContain('Not every instance reached 25 %: all are at 5 %.');
    expect(weights()).toEqual([5, 5, 5]);
  });

  it('is taken back with the next attempt of its fence, so that a repeat of it cannot land any more', async () => {
    const { target, started } = await released(2, 5);
    faults(started[1]!, '/canary/weight', 500);
    await failureOf(raise(target, { weight: 25, from: 5 }));

    const repeated = await started[0]!.router.handleAdmin({
      method: 'PUT',
      path: '/canary/weight',
      headers: { authorization: `Bearer ${TOKEN}` },
      query: new URLSearchParams(),
      body: { weight: 25, fence: fence(3, 2) },
    });

    expect(started[0]!.router.snapshot().fence).toEqual(fence(3, 3));
    expect(repeated.status).toBe(409);
    expect(weights()).toEqual([5, 5]);
  });

  it('of a superseded attempt that arrives late does not land', async () => {
    const { target, started } = await released(2, 5);
    let deliver = (): void => undefined;
    let arrived = 0;
    const held = new Promise<void>((resolve) => (deliver = resolve));
    started[1]!.proxy = async (request): Promise<Fate> => {
      const isRaise = request.path === '/canary/weight' && JSON.stringify(request.body).includes('"weight":25');
      if (!isRaise || arrived > 0) return 'pass';
      arrived += 1;
      await held;
      return 'pass';
    };
    await failureOf(raise(target, { weight: 25, from: 5 }));
    expect(arrived).toBe(1);

    deliver();
    await eventually(() => started[1]!.router.state().refusedWrites === 1, 'the late write was refused');

    expect(weights()).toEqual([5, 5]);
    await raise(target, { weight: 25, from: 5, attempt: 4 });
    expect(weights()).toEqual([25, 25]);
  });

  it('says which instance keeps it when it cannot be taken back, and takes it back with the next attempt', async () => {
    const { target, started } = await released(2, 5);
    faults(started[1]!, '/canary/weight', 500);
    let calls = 0;
    started[0]!.proxy = (request) => (request.path === '/canary/weight' && ++calls === 2 ? 500 : 'pass');

    const failure = await failureOf(raise(target, { weight: 25, from: 5 }));

    expect(failure.message).toContain(
      `Not every instance reached 25 %: ${started[0]!.url} could not be taken back to 5 % yet; the others are at 5 %.`,
    );
    expect(weights()).toEqual([25, 5]);

    // The next attempt finds the other one gone: it raises nobody, and takes back what the first one left.
    await started[1]!.die();
    await failureOf(raise(target, { weight: 25, from: 5, attempt: 4 }));
    expect(weights([started[0]!])).toEqual([5]);
  });

  it('says that it is not known whether an instance took it when neither write was answered', async () => {
    const { target, started } = await released(2, 5);
    faults(started[1]!, '/canary/weight', 'hang', 'hang');

    const failure = await failureOf(raise(target, { weight: 25, from: 5 }));

    expect(failure.message).toContain(`whether ${started[1]!.url} took it is not known; the others are at 5 %.`);
  });

  it('declares the release again on an instance that was started again, and raises it with the others', async () => {
    const { target, started } = await released(2, 5);
    await started[1]!.die();
    await started[1]!.start();

    await raise(target, { weight: 25, from: 5 });

    expect(started[1]!.router.snapshot()).toMatchObject({ canaryVersion: 'v2', weight: 25, holder: 'r1', salt: 'r1' });
    expect(weights()).toEqual([25, 25]);
  });

  it('counts an instance that forgets the release in the middle as taken back: it is at 0', async () => {
    const { target, started } = await released(2, 5);
    faults(started[1]!, '/canary/weight', 500);
    let calls = 0;
    started[0]!.proxy = async (request): Promise<Fate> => {
      if (request.path !== '/canary/weight' || ++calls !== 2) return 'pass';
      await started[0]!.die();
      await started[0]!.start();
      return 'refuse';
    };

    const failure = await failureOf(raise(target, { weight: 25, from: 5 }));

    expect(failure.message).not.toContain('could not be taken back');
    expect(weights()).toEqual([0, 5]);
  });

  it('takes nothing back once it was cancelled: whoever did so says what comes next', async () => {
    const { target, started } = await released(2, 5);
    const cancel = new AbortController();
    started[1]!.proxy = (request) => {
      if (request.path === '/canary/weight') cancel.abort();
      return request.path === '/canary/weight' ? 'hang' : 'pass';
    };

    const failure = await failureOf(
      target.setWeight({
        ...PLAIN,
        version: 'v2',
        fence: fence(3),
        weight: 25,
        previousWeight: 5,
        signal: cancel.signal,
      }),
    );

    expect(failure.message).toContain('was cancelled');
    expect(started.flatMap((one) => one.writes()).filter((write) => isAttempt(write, 3))).toEqual([]);
  });

  it('is repeated without harm', async () => {
    const { target, started } = await released(2, 5);
    await raise(target, { weight: 25, from: 5 });

    await raise(target, { weight: 25, from: 5, attempt: 4 });

    expect(started.map((one) => one.events().filter((event) => event.type === 'weight-changed').length)).toEqual([
      2, 2,
    ]);
    expect(weights()).toEqual([25, 25]);
  });

  it('is not believed when something else than a router says yes', async () => {
    const { target, started } = await released(2, 5);
    const impostor = createServer((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}');
    });
    await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(impostor.address() as AddressInfo).port}`;
      const mixed = targetOf([started[0]!.url, url]);

      const raised = await failureOf(raise(mixed, { weight: 25, from: 5 }));
      const lowered = await failureOf(raise(mixed, { weight: 0, from: 5, step: 4 }));

      expect(raised.kind).toBe('invalidTarget');
      expect(lowered.message).toBe(`${url} does not answer like a cohort router at ${url}/canary.`);
      expect(weights([started[0]!])).toEqual([0]);
    } finally {
      impostor.closeAllConnections();
      impostor.close();
    }
    void target;
  });
});

describe('a lowering', () => {
  it('is kept wherever it arrives, and fails until it arrived everywhere', async () => {
    const { target, started } = await released(3, 25);
    await started[1]!.die();

    const failure = await failureOf(raise(target, { weight: 0, from: 25 }));

    expect(failure).toMatchObject({ kind: 'unreachable' });
    expect(failure.message).toBe(`${started[1]!.url} refused the connection.`);
    expect(weights([started[0]!, started[2]!])).toEqual([0, 0]);

    await started[1]!.start();
    await raise(target, { weight: 0, from: 25, attempt: 4 });
    expect(weights()).toEqual([0, 0, 0]);
  });

  it('names every instance that it did not reach', async () => {
    const { target, started } = await released(3, 25);
    await started[0]!.die();
    await started[2]!.die();

    const failure = await failureOf(raise(target, { weight: 0, from: 25 }));

    expect(failure.message).toContain(`${started[0]!.url} refused`);
    expect(failure.message).toContain(`${started[2]!.url} refused`);
  });

  it('is not over because a later release holds one instance while another did not answer', async () => {
    const { target, started } = await released(3, 25);
    await takenBy(started[0]!, { release: 'r2', epoch: 2 });
    started[2]!.proxy = () => 500;

    const failure = await failureOf(raise(target, { weight: 0, from: 25 }));

    expect(failure.kind).toBe('unreachable');
    started[2]!.proxy = () => 'pass';
    expect((await failureOf(raise(target, { weight: 0, from: 25, attempt: 4 }))).kind).toBe('fenceLost');
    expect(weights([started[1]!, started[2]!])).toEqual([0, 0]);
  });

  it('is not refused by a guard that has tripped', async () => {
    const { target, started } = await released(1, 25);
    started[0]!.router.rollback('by hand');

    await raise(target, { weight: 0, from: 25 });

    expect(weights()).toEqual([0]);
  });
});

describe('a deploy', () => {
  it('declares the version at weight 0, and says so', async () => {
    const started = await start(2);
    const target = targetOf(started.map((one) => one.url));

    const sentence = await target.deploy({ ...PLAIN, version: 'v2', fence: fence(1), signal: running() });

    expect(sentence).toBe('v2 is declared as the canary on all 2 instances, at weight 0.');
    expect(started.map((one) => one.router.snapshot())).toEqual([
      expect.objectContaining({ canaryVersion: 'v2', weight: 0, holder: 'r1' }),
      expect.objectContaining({ canaryVersion: 'v2', weight: 0, holder: 'r1' }),
    ]);
  });

  it('takes a canary over that a terminated older release left, and takes its traffic away in the same write', async () => {
    const { started } = await released(2, 50);
    const later = targetOf(started.map((one) => one.url));

    await later.deploy({ ...PLAIN, version: 'v3', fence: fence(1, 2, 'r2', 2), signal: running() });

    expect(started.map((one) => one.router.snapshot())).toEqual([
      expect.objectContaining({ canaryVersion: 'v3', weight: 0, holder: 'r2' }),
      expect.objectContaining({ canaryVersion: 'v3', weight: 0, holder: 'r2' }),
    ]);
  });

  it('changes nothing when it is repeated', async () => {
    const { target, started } = await released(2, 0);

    await target.deploy({ ...PLAIN, version: 'v2', fence: fence(1, 4), signal: running() });

    expect(started.map((one) => one.events().length)).toEqual([1, 1]);
  });

  it('refuses a version the app cannot serve, with those it has', async () => {
    const started = await start(1);
    const target = targetOf([started[0]!.url]);

    const failure = await failureOf(target.deploy({ ...PLAIN, version: 'v9', fence: fence(1), signal: running() }));

    expect(failure.kind).toBe('unknownVersion');
    expect(failure.message).toBe(`${started[0]!.url}: This app cannot serve version "v9"; it has v1, v2, v3.`);
  });

  it('is refused where routing is switched off', async () => {
    const [instance] = await start(1, { enabled: false });
    const target = targetOf([instance!.url]);

    const failure = await failureOf(target.deploy({ ...PLAIN, version: 'v2', fence: fence(1), signal: running() }));

    expect(failure.kind).toBe('invalidTarget');
    expect(failure.message).toContain('Routing is switched off');
  });
});

describe('what is no usable target', () => {
  it('is said when the environment lacks the token', () => {
    const create = (): Target => createRouterTarget(planOf(['http://127.0.0.1:1']), { TOKEN: '  ' });

    expect(create).toThrow(
      expect.objectContaining({
        kind: 'invalidTarget',
        message:
          "The environment variable TOKEN, which should hold the routers' admin token, is not set where the worker runs.",
      }),
    );
  });

  it('is said when the token is wrong', async () => {
    const [instance] = await start(1);
    const target = targetOf([instance!.url], { TOKEN: `${TOKEN}-of-another-app` });

    const failure = await failureOf(target.observe({ version: 'v2', signal: running() }));

    expect(failure.kind).toBe('invalidTarget');
    expect(failure.message).toMatch(/^http:\/\/127\.0\.0\.1:\d+: The admin token is wrong;/);
  });

  it.each<[string, (url: string) => [number, Record<string, string>, string], string]>([
    ['an HTML 404', () => [404, { 'content-type': 'text/html' }, '<h1>no</h1>'], 'answered 404 where the cohort'],
    ['a page for everything', () => [200, { 'content-type': 'text/html' }, '<html>'], 'something that is not JSON'],
    ['other JSON', () => [200, { 'content-type': 'application/json' }, '{"up":true}'], 'does not answer like a cohort'],
    ['a redirect', (url) => [302, { location: `${url}/login` }, ''], 'answered with a redirect (302), which is not'],
  ])('is said when the address answers with %s', async (what, answer, message) => {
    let asked = 0;
    const server = createServer((request, response) => {
      asked += 1;
      const [status, headers, body] = answer(`http://${request.headers.host ?? ''}`);
      response.writeHead(status, headers).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

      const failure = await failureOf(targetOf([url]).observe({ version: 'v2', signal: running() }));

      // A maintenance page may be gone with the next try; the others are settings.
      expect(failure.kind).toBe(what === 'a page for everything' ? 'unreachable' : 'invalidTarget');
      expect(failure.message).toContain(url);
      expect(failure.message).toContain(message);
      expect(asked).toBe(1);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('is said when the instances disagree about the stable version', async () => {
    const [one] = await start(1);
    const [other] = await start(1, { stableVersion: 'v3' });

    const failure = await failureOf(targetOf([one!.url, other!.url]).observe({ version: 'v2', signal: running() }));

    expect(failure).toMatchObject({ kind: 'invalidTarget' });
    expect(failure.message).toBe(
      `The instances disagree about the stable version: v1 on ${one!.url}, v3 on ${other!.url}. Start them with the same one before a release.`,
    );
  });
});

describe('a look', () => {
  it('answers versions and the highest weight, and changes nothing', async () => {
    const { target, started } = await released(2, 5);
    const before = started.map((one) => one.writes().length);

    const view = await target.observe({ version: 'v2', signal: running() });

    expect(view).toEqual({ stableVersion: 'v1', canaryVersion: 'v2', weight: 5, artifact: null });
    expect(started.map((one) => one.writes().length)).toEqual(before);
  });
});

describe('the fence of a later release', () => {
  it.each<[string, (target: Target) => Promise<unknown>]>([
    ['setWeight', (target) => raise(target, { weight: 25, from: 5 })],
    ['promote', (target) => target.promote({ ...PLAIN, version: 'v2', fence: fence(3), signal: running() })],
    [
      'reassert',
      (target) => target.reassert({ ...PLAIN, version: 'v2', fence: fence(3), weight: 5, signal: running() }),
    ],
    ['removeCanary', (target) => target.removeCanary({ ...PLAIN, version: 'v2', fence: fence(3), signal: running() })],
    [
      'restoreStable',
      (target) =>
        target.restoreStable({ ...PLAIN, version: 'v2', fence: fence(3), stableVersion: 'v1', signal: running() }),
    ],
  ])('ends %s with fenceLost, and nothing of the later one is touched', async (_, act) => {
    const { target, started } = await released(1, 5);
    await takenBy(started[0]!, { release: 'r2', epoch: 2, weight: 50 });

    const failure = await failureOf(act(target));

    expect(failure.kind).toBe('fenceLost');
    expect(failure.message).toContain('r2');
    expect(started[0]!.router.snapshot()).toMatchObject({ canaryVersion: 'v3', weight: 50, holder: 'r2' });
  });
});

describe('a guard that tripped', () => {
  it.each<[string, (instance: Instance) => void, string]>([
    ["the router's own guard", (instance) => tripGuard(instance), 'took v2 back by itself from 50 %: .+'],
    [
      'POST /canary/rollback',
      (instance) => void post(instance, '/canary/rollback', { reason: 'a person saw it' }),
      'was told by hand to take v2 back from 50 %: a person saw it',
    ],
  ])('by %s is told by the next look and refuses every raise and promotion', async (_, trip, told) => {
    const { target, started } = await released(2, 50, { guard: { maxErrorRate: 0.01, minRequests: 20 } });
    trip(started[1]!);
    expect(weights()).toEqual([50, 0]);

    const look = await target.reassert({ ...PLAIN, version: 'v2', fence: fence(3), weight: 50, signal: running() });

    expect(look.guardTripped).toMatch(new RegExp(`^${started[1]!.url} ${told}\\.$`));
    expect(look.foreignEdits).toEqual([]);
    const raised = await failureOf(raise(target, { weight: 100, from: 50, step: 4 }));
    expect(raised.kind).toBe('guardTripped');
    const promoted = await failureOf(target.promote({ ...PLAIN, version: 'v2', fence: fence(5), signal: running() }));
    expect(promoted.kind).toBe('guardTripped');
    expect(weights([started[1]!])).toEqual([0]);
  });
});

describe('the smoke test', () => {
  const test = (more: Partial<SmokeTestStep> = {}): SmokeTestStep => ({
    kind: 'smokeTest',
    name: 'smoke test',
    path: '/healthz',
    expectStatus: 200,
    expectBody: null,
    attempts: 1,
    intervalMs: 1,
    timeoutMs: 1_000,
    ...more,
  });
  const run = (target: Target, more: Partial<SmokeTestStep> = {}): Promise<string> =>
    target.smokeTest({ test: test(more), release: 'r1', version: 'v2', signal: running() });

  it('reaches the canary on every instance while users do not', async () => {
    const { target, started } = await released(2, 0);
    const served: string[] = [];
    for (const one of started) one.app = (version) => (served.push(version), { status: 200, body: 'fine' });

    const sentence = await run(target, { expectBody: 'fine' });

    expect(sentence).toBe('v2 answered /healthz with 200 on all 2 instances.');
    expect(served).toEqual(['v2', 'v2']);
    expect((await (await fetch(`${started[0]!.url}/?user=ada`)).text()) && served.at(-1)).toBe('v1');
  });

  it('says when another version answered, before it says how', async () => {
    const started = await start(1, { overrideSecret: SECRET });
    const target = targetOf([started[0]!.url]);
    await target.deploy({ ...PLAIN, version: 'v2', fence: fence(1), signal: running() });
    started[0]!.app = () => ({ status: 404, body: '' });

    const failure = await failureOf(run(target));

    expect(failure.kind).toBe('smokeTestFailed');
    expect(failure.message).toBe(
      `The smoke test of v2 failed: ${started[0]!.url}/healthz was answered by v1 instead of v2: the router did not accept the signed override.`,
    );
  });

  it('signs with a secret of its own where there is one', async () => {
    const started = await start(1, { overrideSecret: SECRET });
    const target = targetOf([started[0]!.url], { TOKEN, SECRET });
    await target.deploy({ ...PLAIN, version: 'v2', fence: fence(1), signal: running() });

    await expect(run(target)).resolves.toContain('v2 answered /healthz');
  });

  it.each<[string, Partial<SmokeTestStep>, string]>([
    ['a wrong status', {}, '/healthz answered 503 instead of 200'],
    ['a missing text', { expectStatus: 503, expectBody: 'ready' }, '/healthz answered without the text "ready"'],
  ])('fails on %s, naming the instance', async (_, more, message) => {
    const { target, started } = await released(2, 0);
    started[1]!.app = () => ({ status: 503, body: 'warming up' });
    started[0]!.app = () => ({ status: more.expectStatus ?? 200, body: 'ready' });

    const failure = await failureOf(run(target, { attempts: 2, ...more }));

    expect(failure.kind).toBe('smokeTestFailed');
    expect(failure.message).toBe(`The smoke test of v2 failed 2 times: ${started[1]!.url}${message}.`);
  });

  it('takes a redirect for the answer it is, and follows none', async () => {
    const { target, started } = await released(1, 0);
    const asked: string[] = [];
    started[0]!.app = (_, path) => (asked.push(path), { status: 302, body: '' });

    const sentence = await run(target, { expectStatus: 302 });
    const failure = await failureOf(run(target));

    expect(sentence).toBe(`v2 answered /healthz with 302 on ${started[0]!.url}.`);
    expect(failure.message).toBe(
      `The smoke test of v2 failed: ${started[0]!.url}/healthz answered with a redirect (302), which is not followed, instead of 200.`,
    );
    expect(asked).toEqual(['/healthz', '/healthz']);
  });

  it('tries as often as it is told, and passes when one try does', async () => {
    const { target, started } = await released(1, 0);
    let asked = 0;
    started[0]!.app = () => ({ status: ++asked < 3 ? 503 : 200, body: '' });

    await run(target, { attempts: 3 });

    expect(asked).toBe(3);
  });

  it('fails when nothing answers', async () => {
    const { target, started } = await released(1, 0);
    await started[0]!.die();

    const failure = await failureOf(run(target));

    expect(failure.kind).toBe('smokeTestFailed');
    expect(failure.message).toContain(`${started[0]!.url}/healthz refused the connection`);
  });

  it('fails where requests do not pass the router', async () => {
    const { target, started } = await released(1, 0);
    started[0]!.proxy = (request) => (request.path === '/healthz' ? 200 : 'pass');

    const failure = await failureOf(run(target));

    expect(failure.message).toContain('was answered by an unnamed version instead of v2');
  });

  it('ends at once when it is cancelled', async () => {
    const { target, started } = await released(1, 0);
    const cancel = new AbortController();
    started[0]!.proxy = (request) => {
      if (request.path === '/healthz') setImmediate(() => cancel.abort());
      return request.path === '/healthz' ? 503 : 'pass';
    };
    const hours = { attempts: 100, intervalMs: 3_600_000 };

    const failed = target.smokeTest({ test: test(hours), release: 'r1', version: 'v2', signal: cancel.signal });

    await expect(failed).rejects.toThrow();
    expect(cancel.signal.aborted).toBe(true);
  });
});

describe('the look that puts right', () => {
  const look = (target: Target, weight: number, step = 9) =>
    target.reassert({ ...PLAIN, version: 'v2', fence: fence(step), weight, signal: running() });

  it('finds nothing where nothing was changed', async () => {
    const { target, started } = await released(2, 25);
    const before = started.map((one) => one.writes().length);

    await expect(look(target, 25)).resolves.toEqual({ foreignEdits: [], guardTripped: null, unreachable: [] });

    expect(started.map((one) => one.writes().length)).toEqual(before);
  });

  it('puts a weight back that was changed by hand, and says so', async () => {
    const { target, started } = await released(2, 25);
    await put(started[1]!, '/canary/weight', { weight: 90, fence: fence(3) });

    const { foreignEdits } = await look(target, 25);

    expect(foreignEdits).toEqual([`${started[1]!.url} was at 90 %, set by release; put back to 25 %.`]);
    expect(weights()).toEqual([25, 25]);
  });

  it('declares the release again on an instance that was started again, and says so', async () => {
    const { target, started } = await released(2, 25);
    await started[0]!.die();
    await started[0]!.start();

    const { foreignEdits } = await look(target, 25);

    expect(foreignEdits).toHaveLength(1);
    expect(foreignEdits[0]).toContain(`${started[0]!.url} knew of no canary (it has been up since `);
    expect(foreignEdits[0]).toContain('; v2 was declared again at 25 %.');
    expect(weights()).toEqual([25, 25]);
  });

  it('puts the right version back over a canary somebody declared', async () => {
    const { target, started } = await released(1, 25);
    await started[0]!.die();
    await started[0]!.start();
    await put(started[0]!, '/canary/release', { version: 'v3', salt: 'mine' });
    await put(started[0]!, '/canary/weight', { weight: 80 });

    const { foreignEdits } = await look(target, 25);

    expect(foreignEdits[0]).toContain('had v3 as its canary');
    expect(started[0]!.router.snapshot()).toMatchObject({ canaryVersion: 'v2', weight: 25, holder: 'r1' });
  });

  it('goes on where an instance does not answer, and names it', async () => {
    const { target, started } = await released(2, 25);
    await started[1]!.die();
    await put(started[0]!, '/canary/weight', { weight: 90, fence: fence(3) });

    const found = await look(target, 25);

    expect(found.unreachable).toEqual([`${started[1]!.url} refused the connection.`]);
    expect(weights([started[0]!])).toEqual([25]);
  });
});

describe('a promotion', () => {
  const promote = (target: Target, attempt = 2, step = 3): Promise<string> =>
    target.promote({ ...PLAIN, version: 'v2', fence: fence(step, attempt), signal: running() });
  const restore = (target: Target, attempt = 2): Promise<string> =>
    target.restoreStable({ ...PLAIN, version: 'v2', fence: fence(4, attempt), stableVersion: 'v1', signal: running() });

  it('makes the version the stable one everywhere, and only once', async () => {
    const { target, started } = await released(2, 100);

    await promote(target);
    await promote(target, 4);

    expect(stables()).toEqual(['v2', 'v2']);
    expect(started.map((one) => one.events().filter((event) => event.type === 'promoted').length)).toEqual([1, 1]);
  });

  it('declares the release again on an instance that was started again, and promotes it there, too', async () => {
    const { target, started } = await released(2, 100);
    await started[1]!.die();
    await started[1]!.start();

    await promote(target);

    expect(stables()).toEqual(['v2', 'v2']);
  });

  it('that is half done is finished by its next attempt', async () => {
    const { target, started } = await released(2, 100);
    faults(started[1]!, '/canary/promote', 500);

    const failure = await failureOf(promote(target));
    expect(failure).toMatchObject({ kind: 'unreachable' });
    expect(stables()).toEqual(['v2', 'v1']);
    await promote(target, 4);

    expect(stables()).toEqual(['v2', 'v2']);
  });

  it('that is half done is taken back on all: all old again', async () => {
    const { target, started } = await released(3, 100);
    faults(started[1]!, '/canary/promote', 500);
    faults(started[2]!, '/canary/promote', 'lost', 'lost');
    await failureOf(promote(target));
    expect(stables()).toEqual(['v2', 'v1', 'v2']);

    await restore(target);
    await target.removeCanary({ ...PLAIN, version: 'v2', fence: fence(5), signal: running() });

    expect(started.map((one) => one.router.snapshot())).toEqual(
      started.map(() => expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 })),
    );
  });

  it('is taken back also where an instance was started again in between', async () => {
    const { target, started } = await released(2, 100);
    await promote(target);
    await started[0]!.die();
    await started[0]!.start();

    await restore(target);

    expect(stables()).toEqual(['v1', 'v1']);
  });

  it('is taken back when the guard had tripped on one of them', async () => {
    const { target, started } = await released(2, 100);
    started[1]!.router.rollback('a person saw it');
    await failureOf(promote(target));

    await restore(target);
    await target.removeCanary({ ...PLAIN, version: 'v2', fence: fence(5), signal: running() });

    expect(stables()).toEqual(['v1', 'v1']);
    expect(weights()).toEqual([0, 0]);
  });

  it('that arrives late, after the way back has looked, does not land', async () => {
    const { target, started } = await released(1, 100);
    let deliver = (): void => undefined;
    const held = new Promise<void>((resolve) => (deliver = resolve));
    started[0]!.proxy = async (request): Promise<Fate> => {
      if (request.path === '/canary/promote') await held;
      return 'pass';
    };
    await failureOf(promote(target));

    await restore(target);
    deliver();
    await eventually(() => started[0]!.router.state().refusedWrites > 0, 'the late promotion was refused');

    expect(stables()).toEqual(['v1']);
  });

  it('is restored again by a repeat after a lost answer', async () => {
    const { target, started } = await released(1, 100);
    await promote(target);
    faults(started[0]!, '/canary/promote', 500);

    await failureOf(restore(target));
    await restore(target, 4);

    expect(stables()).toEqual(['v1']);
    expect(started[0]!.router.snapshot()).toMatchObject({ canaryVersion: null, weight: 0 });
  });
});

describe('removing the canary', () => {
  it('takes it away everywhere, and may be repeated', async () => {
    const { target, started } = await released(2, 25);

    await target.removeCanary({ ...PLAIN, version: 'v2', fence: fence(3), signal: running() });
    const sentence = await target.removeCanary({ ...PLAIN, version: 'v2', fence: fence(3, 4), signal: running() });

    expect(sentence).toBe('v2 is no longer the canary on all 2 instances.');
    expect(started.map((one) => one.router.snapshot().canaryVersion)).toEqual([null, null]);
  });
});

function isAttempt(request: SeenRequest, attempt: number): boolean {
  return JSON.stringify(request.body).includes(`"attempt":${attempt}`);
}

async function send(instance: Instance, method: string, path: string, body: unknown): Promise<void> {
  const response = await fetch(`${instance.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect([response.status, await response.text()]).toEqual([200, expect.anything()]);
}

const put = (instance: Instance, path: string, body: unknown): Promise<void> => send(instance, 'PUT', path, body);

function post(instance: Instance, path: string, body: unknown): void {
  const answer = instance.router.handleAdmin({
    method: 'POST',
    path,
    headers: { authorization: `Bearer ${TOKEN}` },
    query: new URLSearchParams(),
    body,
  });
  expect(answer.status).toBe(200);
}

/** Another release declares v3 there. */
async function takenBy(instance: Instance, by: { release: string; epoch: number; weight?: number }): Promise<void> {
  const { release, epoch, weight = 0 } = by;
  await put(instance, '/canary/release', { version: 'v3', salt: release, fence: fence(1, 2, release, epoch) });
  await put(instance, '/canary/weight', { weight, fence: fence(2, 2, release, epoch) });
}

/** Enough failed canary requests for the guard's error rate. */
function tripGuard(instance: Instance): void {
  for (let user = 0; instance.router.snapshot().tripped === null; user += 1) {
    if (user > 10_000) throw new Error('the guard never tripped');
    const exchange = instance.router.begin({ userId: `user-${user}` });
    exchange.finish({ status: exchange.assignment.cohort === 'canary' ? 500 : 200 });
  }
}
