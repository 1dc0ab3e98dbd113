import fc from 'fast-check';
import type { MetricsDocument, StateDocument } from '../../src/router';
import { admin, beginIn, call, fence, refusal, send, startRelease, testRouter, TOKEN } from './support';

const tokenEndpoints = [
  ['GET', '/canary/state'],
  ['PUT', '/canary/release'],
  ['DELETE', '/canary/release'],
  ['PUT', '/canary/weight'],
  ['POST', '/canary/promote'],
  ['POST', '/canary/rollback'],
  ['POST', '/canary/metrics/reset'],
] as const;

describe('the admin token', () => {
  it.each(tokenEndpoints)('is asked for by %s %s', (method, path) => {
    const { router } = testRouter();
    startRelease(router, 5);
    const before = router.snapshot();

    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: TOKEN },
      { authorization: `Basic ${TOKEN}` },
      { 'x-canary-token': `${TOKEN}x` },
      { 'x-canary-token': '' },
      { 'x-canary-token': 'x'.repeat(10_000) },
    ] as Record<string, string>[]) {
      const response = admin(router, method, path, { reason: 'x', weight: 0 }, headers);

      expect(response.status).toBe(401);
      expect(response.headers['www-authenticate']).toMatch(/^Bearer/);
      expect(JSON.parse(response.body)).toMatchObject({ code: 'UNAUTHORIZED' });
    }
    expect(router.snapshot()).toBe(before);
  });

  it.each([
    { authorization: `Bearer ${TOKEN}` },
    { authorization: `bearer  ${TOKEN} ` },
    { 'x-canary-token': TOKEN },
  ] as Record<string, string>[])('is taken from %j', (headers) => {
    expect(admin(testRouter().router, 'GET', '/canary/state', undefined, headers).status).toBe(200);
  });

  it.each(tokenEndpoints)(
    'closes %s %s when none is configured, and the answer says how to set one',
    (method, path) => {
      const { router } = testRouter({ adminToken: undefined as unknown as string });

      const response = admin(router, method, path, {});

      expect(response.status).toBe(403);
      expect(JSON.parse(response.body)).toMatchObject({
        code: 'ADMIN_DISABLED',
        detail: expect.stringContaining('CANARY_ADMIN_TOKEN'),
      });
    },
  );

  it('is not asked for by the metrics', () => {
    expect(admin(testRouter().router, 'GET', '/canary/metrics', undefined, {}).status).toBe(200);
  });
});

describe('GET /canary/metrics', () => {
  it('counts both cohorts over the window and in total', () => {
    const { router, clock } = testRouter({ service: 'checkout' });
    startRelease(router, 50);
    send(router, 'stable', { count: 3 });
    send(router, 'canary', { count: 2, latencyMs: 40, clock });
    clock.advance(30_000);
    send(router, 'canary', { status: 500, latencyMs: 40, clock });

    const document = call<MetricsDocument>(router, 200, 'GET', '/canary/metrics?window=10');

    expect(document).toMatchObject({
      service: 'checkout',
      instance: router.instance,
      startedAt: '2026-01-01T00:00:00.000Z',
      now: '2026-01-01T00:00:30.120Z',
      active: true,
      weight: 50,
      salt: 'r1',
      versions: { stable: '1.0.0', canary: '2.0.0' },
      fence: fence(1),
      tripped: null,
      windowSeconds: 10,
    });
    expect(document.cohorts.canary).toMatchObject({
      version: '2.0.0',
      window: { requests: 1, errors: 1, errorRate: 1 },
      total: { requests: 3, errors: 1 },
    });
    expect(document.cohorts.stable.window.requests).toBe(0);
    expect(document.cohorts.stable.total).toMatchObject({ requests: 3, errors: 0, errorRate: 0 });
    const { latencyMs, histogram } = document.cohorts.canary.total;
    expect(latencyMs.mean).toBeCloseTo(40);
    expect(latencyMs.p95).toBeGreaterThan(25);
    expect(latencyMs.p95).toBeLessThanOrEqual(50);
    expect(histogram.cumulative).toHaveLength(histogram.boundsMs.length + 1);
    expect(histogram.cumulative.at(-1)).toBe(3);
  });

  it('covers five minutes by default', () => {
    const { router, clock } = testRouter();
    send(router, 'stable');
    clock.advance(299_000);

    expect(call<MetricsDocument>(router, 200, 'GET', '/canary/metrics')).toMatchObject({
      windowSeconds: 300,
      cohorts: { stable: { window: { requests: 1 } } },
    });
    clock.advance(1000);
    expect(call<MetricsDocument>(router, 200, 'GET', '/canary/metrics')).toMatchObject({
      cohorts: { stable: { window: { requests: 0 }, total: { requests: 1 } } },
    });
  });

  it('says when the weight last changed', () => {
    const { router, clock } = testRouter();
    startRelease(router, 5);
    clock.advance(60_000);
    call(router, 200, 'PUT', '/canary/weight', { weight: 25, fence: fence(2) });
    clock.advance(5000);
    call(router, 200, 'PUT', '/canary/weight', { weight: 25, fence: fence(2) });

    expect(router.metrics().weightChangedAt).toBe('2026-01-01T00:01:00.000Z');
  });

  it.each(['0', '301', '-5', '1.5', '30s', '', '1&window=2', 'NaN'])('refuses window=%s', (window) => {
    const problem = refusal(testRouter().router, [422, 'INVALID_INPUT'], 'GET', `/canary/metrics?window=${window}`);

    expect(problem.errors?.[0]).toMatchObject({ where: '?window', allowed: 'one integer from 1 to 300 (seconds)' });
  });

  it('refuses parameters it does not know', () => {
    const problem = refusal(testRouter().router, [422, 'INVALID_INPUT'], 'GET', '/canary/metrics?windw=5');

    expect(problem.errors).toEqual([{ where: '?windw', found: '"5"', allowed: 'only window' }]);
  });
});

describe('POST /canary/metrics/reset', () => {
  it('starts window and totals anew, but not the Prometheus counters', () => {
    const { router, clock } = testRouter();
    send(router, 'stable', { count: 5 });
    clock.advance(1000);

    const answer = call(router, 200, 'POST', '/canary/metrics/reset');

    expect(answer).toEqual({ instance: router.instance, resetAt: '2026-01-01T00:00:01.000Z' });
    const { resetAt, cohorts } = router.metrics();
    expect(resetAt).toBe(answer.resetAt);
    expect(cohorts.stable).toMatchObject({ since: resetAt, window: { requests: 0 }, total: { requests: 0 } });
    expect(router.prometheus()).toContain('canary_requests_total{cohort="stable",version="1.0.0"} 5');
  });

  it('refuses fields', () => {
    refusal(testRouter().router, [422, 'INVALID_INPUT'], 'POST', '/canary/metrics/reset', { all: true });
  });
});

describe('PUT /canary/release', () => {
  it('declares a canary at weight 0', () => {
    const { router } = testRouter();

    const answer = call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 's', fence: fence(0) });

    expect(answer).toEqual({
      instance: router.instance,
      stableVersion: '1.0.0',
      canaryVersion: '2.0.0',
      weight: 0,
      salt: 's',
      fence: fence(0),
    });
    expect(router.snapshot()).toMatchObject({ active: true, holder: 'r1' });
  });

  it('keeps the weight and the counts when the same release repeats itself', () => {
    const { router } = testRouter();
    startRelease(router, 25);
    send(router, 'canary', { count: 3 });

    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(2) });

    expect(router.snapshot().weight).toBe(25);
    expect(router.metrics().cohorts.canary.total.requests).toBe(3);
  });

  it('refuses a version the app does not have, with those it has', () => {
    const { router } = testRouter({ versions: ['1.0.0', '2.0.0'] });

    const body = { version: '9.9.9', salt: 's', fence: fence(0) };
    const problem = refusal(router, [422, 'UNKNOWN_VERSION'], 'PUT', '/canary/release', body);

    expect(problem.versions).toEqual(['1.0.0', '2.0.0']);
    expect(problem.detail).toContain('"9.9.9"');
    expect(router.snapshot()).toMatchObject({ canaryVersion: null, fence: null });
  });

  it('is refused while routing is switched off', () => {
    const { router } = testRouter({ environment: { CANARY_ENABLED: 'false' } });

    const body = { version: '2.0.0', salt: 's', fence: fence(0) };
    const problem = refusal(router, [409, 'ROUTER_DISABLED'], 'PUT', '/canary/release', body);

    expect(problem.detail).toContain('CANARY_ENABLED=false');
  });
});

describe('PUT /canary/weight', () => {
  it('answers with the weight before', () => {
    const { router } = testRouter();
    startRelease(router, 5);

    const answer = call(router, 200, 'PUT', '/canary/weight', { weight: 12.5, fence: fence(2) });

    expect(answer).toEqual({
      instance: router.instance,
      weight: 12.5,
      previousWeight: 5,
      version: '2.0.0',
      fence: fence(2),
    });
  });

  it('is refused without a canary, as after a restart', () => {
    const { router } = testRouter();

    refusal(router, [409, 'NO_CANARY'], 'PUT', '/canary/weight', { weight: 5, fence: fence(1) });
    refusal(router, [409, 'NO_CANARY'], 'PUT', '/canary/weight', { weight: 5 });
    call(router, 200, 'PUT', '/canary/weight', { weight: 0, fence: fence(1) });
  });
});

describe('POST /canary/promote', () => {
  it('makes the canary stable, with counts of its own', () => {
    const { router } = testRouter();
    startRelease(router, 100);
    const late = beginIn(router, 'canary');
    send(router, 'canary', { count: 3 });

    call(router, 200, 'POST', '/canary/promote', { version: '2.0.0', fence: fence(2) });

    expect(router.snapshot()).toMatchObject({
      stableVersion: '2.0.0',
      canaryVersion: null,
      weight: 0,
      holder: null,
      active: false,
    });
    late.finish({ status: 200 });
    const { cohorts } = router.metrics();
    expect(cohorts.stable).toMatchObject({ version: '2.0.0', total: { requests: 0 } });
    expect(cohorts.canary).toMatchObject({ version: null, total: { requests: 0 } });
    expect(router.prometheus()).toContain('canary_requests_total{cohort="canary",version="2.0.0"} 4');
  });

  it('may be repeated, also by a later attempt', () => {
    const { router } = testRouter();
    startRelease(router, 100);

    for (const attempt of [1, 1, 2]) {
      const body = { version: '2.0.0', fence: fence(2, attempt) };
      expect(call(router, 200, 'POST', '/canary/promote', body)).toMatchObject({ stableVersion: '2.0.0', weight: 0 });
    }
    expect(router.state().events.filter(({ type }) => type === 'promoted')).toHaveLength(1);
  });

  it('is refused for another version than the canary, and without one', () => {
    const { router } = testRouter();
    refusal(router, [409, 'NO_CANARY'], 'POST', '/canary/promote', { version: '2.0.0', fence: fence(0) });
    startRelease(router, 100);

    refusal(router, [409, 'VERSION_MISMATCH'], 'POST', '/canary/promote', { version: '3.0.0', fence: fence(2) });
  });
});

describe('POST /canary/rollback', () => {
  it('takes the canary to 0 at once, without a fence, and holds it there', () => {
    const { router, logger } = testRouter();
    startRelease(router, 25);

    const answer = call(router, 200, 'POST', '/canary/rollback', { reason: 'checkout is broken', actor: 'zoe' });

    expect(answer).toMatchObject({
      weight: 0,
      previousWeight: 25,
      version: '2.0.0',
      fence: fence(1),
      tripped: { rule: 'manual', reason: 'checkout is broken', release: 'r1', evidence: null },
    });
    expect(router.state().events.at(-1)).toMatchObject({
      type: 'rolled-back',
      origin: 'admin',
      data: { actor: 'zoe' },
    });
    expect(logger.lines.at(-1)).toMatchObject({ level: 'error' });
    refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 50, fence: fence(2) });
  });

  it('may be repeated: the first reason stands', () => {
    const { router } = testRouter();
    startRelease(router, 25);
    call(router, 200, 'POST', '/canary/rollback', { reason: 'first' });

    const answer = call(router, 200, 'POST', '/canary/rollback', { reason: 'second' });

    expect(answer).toMatchObject({ previousWeight: 0, tripped: { reason: 'first' } });
  });

  it('has nothing to hold without a canary', () => {
    const answer = call(testRouter().router, 200, 'POST', '/canary/rollback', { reason: 'just in case' });

    expect(answer).toMatchObject({ weight: 0, version: null, tripped: null });
  });

  it.each([{}, { reason: '' }, { reason: '  ' }, { reason: 5 }, { reason: 'x'.repeat(501) }])(
    'asks for a reason: not %.60j',
    (body) => {
      const { router } = testRouter();
      startRelease(router, 25);

      const problem = refusal(router, [422, 'INVALID_INPUT'], 'POST', '/canary/rollback', body);

      expect(problem.errors?.[0]?.where).toBe('/reason');
      expect(router.snapshot().weight).toBe(25);
    },
  );
});

describe('GET /canary/state', () => {
  it('tells what is in effect, by whom, and what happened', () => {
    const { router } = testRouter();
    startRelease(router, 25);
    send(router, 'canary', { count: 4, status: 500 });

    const state = call<StateDocument>(router, 200, 'GET', '/canary/state');

    expect(state).toMatchObject({ active: true, fence: fence(1), holder: 'r1', refusedWrites: 0 });
    expect(state.config).toMatchObject({
      stableVersion: { value: '1.0.0', origin: 'code' },
      canaryVersion: { value: '2.0.0', origin: 'release' },
      weight: { value: 25, origin: 'release' },
      salt: { value: 'r1', origin: 'release' },
    });
    expect(state.guard).toMatchObject({ tripped: null, window: { canary: { requests: 4, errors: 4 } } });
    expect(state.events.map(({ seq, type, origin }) => [seq, type, origin])).toEqual([
      [1, 'started', 'default'],
      [2, 'release-declared', 'release'],
      [3, 'weight-changed', 'release'],
    ]);
  });

  it('keeps the latest hundred events', () => {
    const { router } = testRouter();
    for (let i = 0; i < 150; i++) call(router, 200, 'POST', '/canary/metrics/reset');

    const { events } = router.state();

    expect(events).toHaveLength(100);
    expect(events.at(-1)?.seq).toBe(151);
  });
});

describe('bad input', () => {
  it.each(['{', '[]', 'null', '5', '"weight"', 'weight=5'])('that is no JSON object (%s) is a 400', (body) => {
    refusal(testRouter().router, [400, 'INVALID_JSON'], 'PUT', '/canary/weight', body);
  });

  it.each<[string, string, unknown, string, string]>([
    ['PUT', '/canary/weight', {}, '/weight', 'nothing'],
    ['PUT', '/canary/weight', { weight: '5' }, '/weight', '"5"'],
    ['PUT', '/canary/weight', { weight: '5%' }, '/weight', '"5%"'],
    ['PUT', '/canary/weight', { weight: -1 }, '/weight', '-1'],
    ['PUT', '/canary/weight', { weight: 100.1 }, '/weight', '100.1'],
    ['PUT', '/canary/weight', { weight: null }, '/weight', 'null'],
    ['PUT', '/canary/weight', { wieght: 5, weight: 5 }, '/wieght', 'an unknown field'],
    ['PUT', '/canary/weight', { weight: 5, fence: 'x' }, '/fence', '"x"'],
    ['PUT', '/canary/weight', { weight: 5, fence: null }, '/fence', 'null'],
    ['PUT', '/canary/weight', { weight: 5, fence: { ...fence(1), epoch: -1 } }, '/fence/epoch', '-1'],
    ['PUT', '/canary/weight', { weight: 5, fence: { ...fence(1), step: 1.5 } }, '/fence/step', '1.5'],
    ['PUT', '/canary/weight', { weight: 5, fence: { ...fence(1), attempt: '1' } }, '/fence/attempt', '"1"'],
    ['PUT', '/canary/weight', { weight: 5, fence: { ...fence(1), release: '' } }, '/fence/release', '""'],
    ['PUT', '/canary/weight', { weight: 5, fence: { ...fence(1), extra: 1 } }, '/fence/extra', 'an unknown field'],
    ['PUT', '/canary/release', { salt: 's' }, '/version', 'nothing'],
    ['PUT', '/canary/release', { version: 'a b', salt: 's' }, '/version', '"a b"'],
    ['PUT', '/canary/release', { version: 'a\r\nX-Evil: 1', salt: 's' }, '/version', '"a\\r\\nX-Evil: 1"'],
    ['PUT', '/canary/release', { version: '2', salt: 'x'.repeat(201) }, '/salt', `"${'x'.repeat(78)}…`],
    ['PUT', '/canary/release', { version: '2', salt: 's', rearm: 1 }, '/rearm', '1'],
    ['POST', '/canary/promote', { fence: fence(1) }, '/version', 'nothing'],
    ['DELETE', '/canary/release', { version: '2' }, '/version', 'an unknown field'],
  ])('%s %s %j says where (%4$s) and what was found', (method, path, body, where, found) => {
    const { router } = testRouter();
    const before = router.snapshot();

    const problem = refusal(router, [422, 'INVALID_INPUT'], method, path, body);

    expect(problem.errors).toEqual([{ where, found, allowed: expect.any(String) }]);
    expect(problem.detail).toContain(where);
    expect(router.snapshot()).toBe(before);
  });

  it('is reported all at once', () => {
    const body = { version: 5, fence: { release: 'r1' }, colour: 'red' };
    const problem = refusal(testRouter().router, [422, 'INVALID_INPUT'], 'PUT', '/canary/release', body);

    expect(problem.errors?.map(({ where }) => where)).toEqual([
      '/colour',
      '/version',
      '/salt',
      '/fence/epoch',
      '/fence/step',
      '/fence/attempt',
    ]);
  });

  it('cannot reach object prototypes', () => {
    const body = '{"weight": 5, "__proto__": {"fence": 1}, "constructor": {}}';

    const problem = refusal(testRouter().router, [422, 'INVALID_INPUT'], 'PUT', '/canary/weight', body);

    expect(problem.errors?.map(({ where }) => where)).toEqual(['/__proto__', '/constructor']);
  });

  it('over the size limit is a 413', () => {
    const response = testRouter().router.handleAdmin({
      method: 'PUT',
      path: '/canary/weight',
      headers: { 'x-canary-token': TOKEN },
      query: new URLSearchParams(),
      bodyTooLarge: true,
    });

    expect(response.status).toBe(413);
    expect(JSON.parse(response.body)).toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  it('at another path or by another method says what there is', () => {
    const { router } = testRouter();

    expect(refusal(router, [404, 'NOT_FOUND'], 'GET', '/canary/nothing').detail).toContain('/canary/metrics');
    expect(admin(router, 'POST', '/canary/weight').headers.allow).toBe('PUT');
    expect(admin(router, 'GET', '/canary/release').headers.allow).toBe('PUT, DELETE');
    refusal(router, [405, 'METHOD_NOT_ALLOWED'], 'GET', '/canary/rollback');
  });

  it('of any kind is answered by a problem and never by an exception', () => {
    const path = fc.constantFrom('/canary/weight', '/canary/release', '/canary/promote', '/canary/rollback', '/x');
    const method = fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'PATCH');
    const body = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.record({ weight: fc.jsonValue(), version: fc.jsonValue(), fence: fc.jsonValue() }, { requiredKeys: [] }),
    );
    const { router } = testRouter();
    fc.assert(
      fc.property(method, path, body, (how, where, what) => {
        const response = admin(router, how, where, what);

        expect(response.status).toBeLessThan(500);
        expect(() => JSON.parse(response.body) as unknown).not.toThrow();
      }),
    );
  });
});

describe('paths', () => {
  it('can be moved', () => {
    const { router } = testRouter({ adminPath: '/internal/rollout', prometheusPath: '/metrics' });

    expect(router.isAdminPath('/canary/metrics')).toBe(false);
    expect(router.isAdminPath('/internal/rollout/metrics')).toBe(true);
    expect(router.isAdminPath('/internal/rollout/metrics/')).toBe(true);
    expect(router.isAdminPath('/internal/rollout/other')).toBe(false);
    expect(admin(router, 'GET', '/metrics', undefined, {}).headers['content-type']).toContain('version=0.0.4');
  });
});
