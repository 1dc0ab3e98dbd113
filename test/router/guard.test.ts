import type { CohortRouterOptions, RouterEvent } from '../../src/router';
import { beginIn, call, fence, refusal, send, startRelease, testRouter } from './support';

function guarded(options: CohortRouterOptions = {}, weight = 50) {
  const test = testRouter(options);
  startRelease(test.router, weight);
  return test;
}

describe('the error rate rule', () => {
  it('trips at the first request that puts the rate above 1 % after 100 requests', () => {
    const { router } = guarded();
    send(router, 'canary', { count: 98 });
    send(router, 'canary', { status: 500 });
    expect(router.snapshot().weight).toBe(50);

    send(router, 'canary', { status: 500 });

    expect(router.snapshot()).toMatchObject({ weight: 0, active: false });
    expect(router.snapshot().tripped).toMatchObject({
      rule: 'error-rate',
      reason: '2 of 100 canary requests failed (2 %), more than 1 %',
      version: '2.0.0',
      release: 'r1',
      previousWeight: 50,
      evidence: { windowSeconds: 300, canary: { requests: 100, errors: 2, slow: 0 } },
    });
  });

  it('does not trip at exactly 1 %', () => {
    const { router } = guarded();
    send(router, 'canary', { status: 500 });
    send(router, 'canary', { count: 99 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('does not speak before 100 requests, were all of them errors', () => {
    const { router } = guarded();
    send(router, 'canary', { count: 99, status: 503 });

    expect(router.snapshot().weight).toBe(50);
    send(router, 'canary', { status: 503 });
    expect(router.snapshot().weight).toBe(0);
  });

  it('can be off', () => {
    const { router } = guarded({ guard: { maxErrorRate: false } });
    send(router, 'canary', { count: 200, status: 500 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('can be set otherwise', () => {
    const { router } = guarded({ guard: { maxErrorRate: 0.5, minRequests: 10 } });
    send(router, 'canary', { count: 5 });
    send(router, 'canary', { count: 5, status: 500 });
    expect(router.snapshot().weight).toBe(50);

    send(router, 'canary', { status: 500 });

    expect(router.snapshot().weight).toBe(0);
  });

  it('counts handlers that threw and connections closed before the answer', () => {
    const { router } = guarded();
    send(router, 'canary', { count: 98 });
    send(router, 'canary', { end: 'threw' });
    send(router, 'canary', { end: 'aborted' });

    expect(router.snapshot().tripped?.rule).toBe('error-rate');
    expect(router.metrics().cohorts.canary.window).toMatchObject({ requests: 100, errors: 2, aborted: 1 });
  });

  it('takes no notice of client errors', () => {
    const { router } = guarded();
    send(router, 'canary', { count: 150, status: 404 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('takes no notice of stable errors', () => {
    const { router } = guarded();
    send(router, 'stable', { count: 300, status: 500 });
    send(router, 'canary', { count: 150 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('forgets errors that left the window', () => {
    const { router, clock } = guarded();
    send(router, 'canary', { count: 50, status: 500 });

    clock.advance(300_000);
    send(router, 'canary', { count: 150 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('forgets them sooner with a shorter window', () => {
    const { router, clock } = guarded({ guard: { windowSeconds: 10 } });
    send(router, 'canary', { count: 50, status: 500 });

    clock.advance(10_000);
    send(router, 'canary', { count: 150 });

    expect(router.snapshot().weight).toBe(50);
  });
});

describe('the latency rule', () => {
  it('trips when more than one request in twenty takes longer than 2 s', () => {
    const { router, clock } = guarded({ guard: { windowSeconds: 300 } });
    send(router, 'canary', { count: 94 });
    send(router, 'canary', { count: 5, latencyMs: 2001, clock });
    send(router, 'canary');
    expect(router.snapshot().weight).toBe(50);

    send(router, 'canary', { latencyMs: 2001, clock });

    expect(router.snapshot()).toMatchObject({ weight: 0, tripped: { rule: 'latency' } });
    expect(router.snapshot().tripped?.reason).toContain('6 of 101 canary requests took longer than 2000 ms');
  });

  it('does not trip at exactly 2 s', () => {
    const { router, clock } = guarded();
    send(router, 'canary', { count: 80 });
    send(router, 'canary', { count: 40, latencyMs: 2000, clock });

    expect(router.snapshot().weight).toBe(50);
  });

  it('can be off', () => {
    const { router, clock } = guarded({ guard: { maxLatencyMs: false } });
    send(router, 'canary', { count: 120, latencyMs: 2500, clock });

    expect(router.snapshot().weight).toBe(50);
  });
});

describe('the ratio rule', () => {
  const onlyRatio = { guard: { maxErrorRate: false, maxLatencyMs: false } } as const;

  it('trips when the canary fails more than twice as often as stable', () => {
    const { router } = guarded(onlyRatio);
    send(router, 'stable', { count: 95 });
    send(router, 'stable', { count: 5, status: 500 });
    send(router, 'canary', { count: 100 });
    send(router, 'canary', { count: 11, status: 500 });
    expect(router.snapshot().weight).toBe(50);

    send(router, 'canary', { count: 1, status: 500 });

    expect(router.snapshot().tripped).toMatchObject({
      rule: 'error-ratio',
      reason: '12 of 112 canary requests failed (10.71 %), more than 2 times the stable 5 % (5 of 100)',
    });
  });

  it('waits for 10 canary errors, because fewer are chance', () => {
    const { router } = guarded(onlyRatio);
    send(router, 'stable', { count: 200 });
    send(router, 'canary', { count: 100 });
    send(router, 'canary', { count: 9, status: 500 });
    expect(router.snapshot().weight).toBe(50);

    send(router, 'canary', { status: 500 });

    expect(router.snapshot().tripped?.rule).toBe('error-ratio');
  });

  it('keeps still without enough stable requests to compare with', () => {
    const { router } = guarded(onlyRatio);
    send(router, 'stable', { count: 99 });
    send(router, 'canary', { count: 200, status: 500 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('keeps still when stable fails as much', () => {
    const { router } = guarded(onlyRatio);
    send(router, 'stable', { count: 100, status: 500 });
    send(router, 'canary', { count: 150, status: 500 });

    expect(router.snapshot().weight).toBe(50);
  });

  it('can be off', () => {
    const { router } = guarded({ guard: false });
    send(router, 'stable', { count: 200 });
    send(router, 'canary', { count: 200, status: 500 });

    expect(router.snapshot().weight).toBe(50);
  });
});

describe('a trip', () => {
  function tripped(options: CohortRouterOptions = {}) {
    const test = guarded(options);
    send(test.router, 'canary', { count: 100, status: 500 });
    return test;
  }

  it('is an event, a log line, a callback and a metric, once', () => {
    const heard: RouterEvent[] = [];
    const { router, logger } = tripped({ onEvent: (event) => heard.push(event) });

    const events = router.state().events.filter(({ type }) => type === 'guard-tripped');
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ origin: 'guard', data: { version: '2.0.0', release: 'r1', previousWeight: 50 } });
    expect(heard.filter(({ type }) => type === 'guard-tripped')).toEqual(events);
    expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({ message: expect.stringContaining('canary 2.0.0 taken from 50 to 0: 100 of 100') }),
    ]);
    expect(router.prometheus()).toContain('canary_guard_trips_total{rule="error-rate"} 1');
    expect(router.prometheus()).toContain('canary_active 0');
    expect(router.state().config.weight).toEqual({ value: 0, origin: 'guard' });
  });

  it('refuses the release more weight and the promotion, but not weight 0 and the removal', () => {
    const { router } = tripped();

    const problem = refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 5, fence: fence(2) });
    expect(problem.tripped?.rule).toBe('error-rate');
    refusal(router, [409, 'GUARD_TRIPPED'], 'POST', '/canary/promote', { version: '2.0.0', fence: fence(2) });

    call(router, 200, 'PUT', '/canary/weight', { weight: 0, fence: fence(3) });
    call(router, 200, 'DELETE', '/canary/release', { fence: fence(4) });
  });

  it('stays when the same release declares its canary again', () => {
    const { router } = tripped();

    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(2) });

    refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 5, fence: fence(3) });
  });

  it('does not concern the next release, which starts with counts of its own', () => {
    const { router } = tripped();
    const next = (step: number) => fence(step, 1, 'r2', 2);

    call(router, 200, 'PUT', '/canary/release', { version: '3.0.0', salt: 'r2', fence: next(0) });
    call(router, 200, 'PUT', '/canary/weight', { weight: 50, fence: next(1) });
    send(router, 'canary', { count: 150 });

    expect(router.snapshot()).toMatchObject({ weight: 50, tripped: null });
    expect(router.metrics().cohorts.canary.total).toMatchObject({ requests: 150, errors: 0 });
  });

  it('leaves requests in flight their cohort, and counts them', () => {
    const { router } = guarded();
    const inFlight = beginIn(router, 'canary');
    send(router, 'canary', { count: 100, status: 500 });

    expect(inFlight.assignment).toMatchObject({ cohort: 'canary', version: '2.0.0' });
    inFlight.finish({ status: 200 });
    expect(router.metrics().cohorts.canary.total.requests).toBe(101);
    expect(router.begin({ userId: 'anyone' }).assignment).toMatchObject({ cohort: 'stable', reason: 'tripped' });
  });

  it('happens though log and callback throw', () => {
    const broken = () => {
      throw new Error('broken');
    };
    const { router } = guarded({ logger: { info: broken, warn: broken, error: broken }, onEvent: broken });
    send(router, 'canary', { count: 100, status: 500 });

    expect(router.snapshot().weight).toBe(0);
  });

  it('guards a canary that no release declared', () => {
    const { router } = testRouter({ canaryVersion: '2.0.0', weight: 50 });
    send(router, 'canary', { count: 100, status: 500 });

    expect(router.snapshot()).toMatchObject({ weight: 0, tripped: { release: null } });
    refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 5 });
    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'again' });
    call(router, 200, 'PUT', '/canary/weight', { weight: 5 });
  });
});
