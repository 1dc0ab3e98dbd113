import fc from 'fast-check';
import { compareFence, formatFence, type Fence, type StateDocument } from '../../src/router';
import { admin, call, fence, refusal, startRelease, testRouter } from './support';

const position = fc.integer({ min: 0, max: 3 });
const anyFence: fc.Arbitrary<Fence> = fc.record({
  release: fc.constantFrom('r1', 'r2'),
  epoch: position,
  step: position,
  attempt: position,
});

function tuple({ epoch, step, attempt }: Fence): number {
  return epoch * 100 + step * 10 + attempt;
}

describe('compareFence', () => {
  it('takes any fence when none is held', () => {
    expect(compareFence(null, fence(0))).toBe('newer');
  });

  it.each([
    ['a later step', fence(2, 1), fence(3, 0), 'newer'],
    ['a later attempt', fence(2, 1), fence(2, 2), 'newer'],
    ['the same', fence(2, 1), fence(2, 1), 'equal'],
    ['an earlier attempt', fence(2, 1), fence(2, 0), 'stale'],
    ['an earlier step', fence(2, 1), fence(1, 9), 'stale'],
    ['an earlier epoch', fence(2, 1, 'r2', 2), fence(9, 9, 'r1', 1), 'stale'],
    ['a later epoch of another release', fence(2, 1), fence(0, 0, 'r2', 2), 'newer'],
    ['another release in the same epoch', fence(2, 1), fence(9, 9, 'r2'), 'foreign'],
  ])('orders %s', (_what, held, given, order) => {
    expect(compareFence(held, given)).toBe(order);
  });

  it('never calls two fences newer than each other', () => {
    fc.assert(
      fc.property(anyFence, anyFence, (a, b) => {
        expect(compareFence(a, b) === 'newer' && compareFence(b, a) === 'newer').toBe(false);
      }),
    );
  });

  it('is shown with all its parts', () => {
    expect(formatFence(fence(3, 2))).toBe('release r1, epoch 1, step 3, attempt 2');
  });
});

type Write =
  | { kind: 'declare'; version: string; fence: Fence }
  | { kind: 'weight'; weight: number; fence: Fence }
  | { kind: 'promote'; version: string; fence: Fence }
  | { kind: 'remove'; fence: Fence }
  | { kind: 'rollback' };

const version = fc.constantFrom('2.0.0', '3.0.0');
const anyWrite: fc.Arbitrary<Write> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('declare' as const), version, fence: anyFence }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('weight' as const),
      weight: fc.constantFrom(0, 5, 25, 50, 100),
      fence: anyFence,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('promote' as const), version, fence: anyFence }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), fence: anyFence }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rollback' as const) }) },
);

function perform(router: ReturnType<typeof testRouter>['router'], write: Write): number {
  switch (write.kind) {
    case 'declare':
      return admin(router, 'PUT', '/canary/release', {
        version: write.version,
        salt: write.fence.release,
        fence: write.fence,
      }).status;
    case 'weight':
      return admin(router, 'PUT', '/canary/weight', { weight: write.weight, fence: write.fence }).status;
    case 'promote':
      return admin(router, 'POST', '/canary/promote', { version: write.version, fence: write.fence }).status;
    case 'remove':
      return admin(router, 'DELETE', '/canary/release', { fence: write.fence }).status;
    case 'rollback':
      return admin(router, 'POST', '/canary/rollback', { reason: 'by hand' }).status;
  }
}

describe('writes in any order', () => {
  it('never lower the fence held, and stale ones change nothing', () => {
    fc.assert(
      fc.property(fc.array(anyWrite, { maxLength: 40 }), (writes) => {
        const { router } = testRouter();
        for (const write of writes) {
          const before = router.snapshot();
          const status = perform(router, write);
          const after = router.snapshot();

          if (before.fence !== null) expect(tuple(after.fence as Fence)).toBeGreaterThanOrEqual(tuple(before.fence));
          if (status !== 200) expect(after).toBe(before);
          if (write.kind !== 'rollback' && before.fence !== null && tuple(write.fence) < tuple(before.fence)) {
            expect(status).toBe(409);
          }
        }
      }),
    );
  });

  it('never give traffic to a canary whose release was rolled back', () => {
    fc.assert(
      fc.property(fc.array(anyWrite, { maxLength: 40 }), (writes) => {
        const { router } = testRouter();
        const trippedReleases = new Set<string>();
        for (const write of writes) {
          perform(router, write);
          const { tripped, holder, weight } = router.snapshot();

          if (typeof tripped?.release === 'string') trippedReleases.add(tripped.release);
          if (holder !== null && trippedReleases.has(holder)) expect(weight).toBe(0);
        }
      }),
    );
  });

  it('repeated late in any order do not undo what came after', () => {
    const sequence: Write[] = [
      { kind: 'declare', version: '2.0.0', fence: fence(0) },
      { kind: 'weight', weight: 5, fence: fence(1) },
      { kind: 'weight', weight: 25, fence: fence(2) },
      { kind: 'weight', weight: 0, fence: fence(3) },
      { kind: 'remove', fence: fence(4) },
    ];
    fc.assert(
      fc.property(fc.array(fc.nat({ max: sequence.length - 1 }), { maxLength: 20 }), (late) => {
        const { router } = testRouter();
        for (const write of sequence) perform(router, write);

        for (const index of late) perform(router, sequence[index] as Write);

        expect(router.snapshot()).toMatchObject({ canaryVersion: null, weight: 0, fence: fence(4) });
      }),
    );
  });
});

describe('a write with the fence held', () => {
  it('is a repeat when it says the same', () => {
    const { router } = testRouter();
    startRelease(router, 25);

    const answer = call(router, 200, 'PUT', '/canary/weight', { weight: 25, fence: fence(1) });

    expect(answer).toMatchObject({ weight: 25, previousWeight: 25, version: '2.0.0', fence: fence(1) });
    const changes = router.state().events.filter(({ type }) => type === 'weight-changed');
    expect(changes).toHaveLength(1);
  });

  it('is refused when it gives more traffic than it first said', () => {
    const { router } = testRouter();
    startRelease(router, 25);

    const problem = refusal(router, [409, 'STALE_FENCE'], 'PUT', '/canary/weight', { weight: 50, fence: fence(1) });

    expect(problem.held).toEqual(fence(1));
    expect(router.snapshot().weight).toBe(25);
  });

  it('may take traffic away, and then not give it back', () => {
    const { router } = testRouter();
    startRelease(router, 25);

    call(router, 200, 'PUT', '/canary/weight', { weight: 5, fence: fence(1) });

    expect(router.snapshot().weight).toBe(5);
    refusal(router, [409, 'STALE_FENCE'], 'PUT', '/canary/weight', { weight: 25, fence: fence(1) });
  });

  it('may be of another kind', () => {
    const { router } = testRouter();

    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 's', fence: fence(0) });
    call(router, 200, 'PUT', '/canary/weight', { weight: 5, fence: fence(0) });

    expect(router.snapshot().weight).toBe(5);
  });
});

describe('a stale write', () => {
  it.each([
    ['an older attempt', fence(1, 0)],
    ['an older step', fence(0, 5)],
    ['an older epoch', fence(9, 9, 'r0', 0)],
    ['another release of the same epoch', fence(9, 9, 'r2', 1)],
  ])('of %s is refused with the fence held', (_what, stale) => {
    const { router } = testRouter();
    startRelease(router, 5);

    const problem = refusal(router, [409, 'STALE_FENCE'], 'PUT', '/canary/weight', { weight: 50, fence: stale });

    expect(problem.held).toEqual(fence(1));
    expect(router.snapshot().weight).toBe(5);
    expect(router.state().refusedWrites).toBe(1);
  });
});

describe('a release that supersedes another', () => {
  it('starts its own canary at 0 and shuts the other out', () => {
    const { router } = testRouter();
    startRelease(router, 50);

    call(router, 200, 'PUT', '/canary/release', { version: '3.0.0', salt: 'r2', fence: fence(0, 1, 'r2', 2) });

    expect(router.snapshot()).toMatchObject({ canaryVersion: '3.0.0', weight: 0, salt: 'r2', holder: 'r2' });
    refusal(router, [409, 'STALE_FENCE'], 'PUT', '/canary/weight', { weight: 100, fence: fence(7) });
  });

  it('may take traffic away before it declares its canary, but not give any', () => {
    const { router } = testRouter();
    startRelease(router, 50);

    refusal(router, [409, 'NO_CANARY'], 'PUT', '/canary/weight', { weight: 60, fence: fence(0, 1, 'r2', 2) });
    call(router, 200, 'PUT', '/canary/weight', { weight: 0, fence: fence(0, 1, 'r2', 2) });

    expect(router.snapshot()).toMatchObject({ canaryVersion: '2.0.0', weight: 0 });
  });
});

describe('a person without a fence', () => {
  it('runs a canary of their own when no release holds the router', () => {
    const { router } = testRouter();

    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'by-hand' });
    call(router, 200, 'PUT', '/canary/weight', { weight: 10 });

    const state = call<StateDocument>(router, 200, 'GET', '/canary/state');
    expect(state.config.weight).toEqual({ value: 10, origin: 'admin' });
    expect(state.config.canaryVersion).toEqual({ value: '2.0.0', origin: 'admin' });
    call(router, 200, 'POST', '/canary/promote', { version: '2.0.0' });
    expect(router.snapshot()).toMatchObject({ stableVersion: '2.0.0', canaryVersion: null, weight: 0 });
  });

  it.each([
    ['PUT', '/canary/weight', { weight: 0 }],
    ['PUT', '/canary/release', { version: '3.0.0', salt: 'by-hand' }],
    ['POST', '/canary/promote', { version: '2.0.0' }],
    ['DELETE', '/canary/release', {}],
  ])('is refused %s %s while a release holds the router', (method, path, body) => {
    const { router } = testRouter();
    startRelease(router, 5);

    const problem = refusal(router, [409, 'RELEASE_HOLDS'], method, path, body);

    expect(problem.detail).toContain('Release r1 holds this router');
    expect(router.snapshot().weight).toBe(5);
  });

  it('may clear the canary away after a roll back, and the release cannot bring it back', () => {
    const { router } = testRouter();
    startRelease(router, 5);
    call(router, 200, 'POST', '/canary/rollback', { reason: 'checkout is broken' });

    call(router, 200, 'DELETE', '/canary/release');

    expect(router.snapshot()).toMatchObject({ canaryVersion: null, holder: null });
    refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 5, fence: fence(2) });
    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(2) });
    refusal(router, [409, 'GUARD_TRIPPED'], 'PUT', '/canary/weight', { weight: 5, fence: fence(3) });
    refusal(router, [409, 'GUARD_TRIPPED'], 'POST', '/canary/promote', { version: '2.0.0', fence: fence(4) });
  });

  it('cannot be undone by a late repeat of the release before', () => {
    const { router } = testRouter();
    startRelease(router, 5);
    call(router, 200, 'DELETE', '/canary/release', { fence: fence(2) });
    call(router, 200, 'PUT', '/canary/release', { version: '3.0.0', salt: 'by-hand' });

    refusal(router, [409, 'STALE_FENCE'], 'DELETE', '/canary/release', { fence: fence(2) });

    expect(router.snapshot().canaryVersion).toBe('3.0.0');
  });
});

describe('a release with rearm', () => {
  it('lifts its trip, as a recorded decision', () => {
    const { router } = testRouter();
    startRelease(router, 5);
    call(router, 200, 'POST', '/canary/rollback', { reason: 'a mistake' });

    call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(2), rearm: true });
    call(router, 200, 'PUT', '/canary/weight', { weight: 5, fence: fence(3) });

    expect(router.snapshot()).toMatchObject({ active: true, weight: 5, tripped: null });
    expect(router.state().events.map(({ message }) => message)).toContain('release r1 lifted the trip of 2.0.0');
  });
});
