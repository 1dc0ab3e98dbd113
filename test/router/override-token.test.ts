import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { signOverride } from '../../src/router';
import { startRelease, testRouter, TOKEN } from './support';

const SECRET = 'a-secret-for-overrides';

function reach(token: string, options: { service?: string } = {}) {
  const { router, clock } = testRouter({ overrideSecret: SECRET, service: 'checkout', ...options });
  startRelease(router, 0);
  return { router, clock, assignment: router.begin({ override: token, userId: 'alice' }).assignment };
}

function inAnHour(): number {
  return Date.UTC(2026, 0, 1, 1);
}

describe('a signed override', () => {
  it('reaches the canary at weight 0', () => {
    const { router, assignment } = reach(signOverride(SECRET, { cohort: 'canary', expires: inAnHour() }));

    expect(assignment).toMatchObject({ cohort: 'canary', version: '2.0.0', reason: 'override', subject: 'override' });
    expect(router.metrics().overrides).toEqual({ accepted: 1, rejected: 0 });
  });

  it('may be bound to the salt and the service', () => {
    const token = signOverride(SECRET, {
      cohort: 'canary',
      expires: new Date(inAnHour()),
      salt: 'r1',
      service: 'checkout',
    });

    expect(reach(token).assignment.cohort).toBe('canary');
  });

  it('is signed with the admin token when there is no secret of its own', () => {
    const { router } = testRouter();
    startRelease(router, 0);

    const token = signOverride(TOKEN, { cohort: 'canary', expires: inAnHour() });

    expect(router.begin({ override: token }).assignment.cohort).toBe('canary');
    expect(router.state().config.overrideSecret).toEqual({ value: 'the admin token', origin: 'default' });
  });

  it('counts in no cohort, because testers are not users', () => {
    const { router } = reach('');
    const exchange = router.begin({ override: signOverride(SECRET, { cohort: 'canary', expires: inAnHour() }) });

    exchange.finish({ status: 500 });

    expect(router.metrics().cohorts.canary.total.requests).toBe(0);
    expect(router.prometheus()).not.toContain('cohort="canary"');
  });
});

describe('an override that is not valid', () => {
  const valid = signOverride(SECRET, { cohort: 'canary', expires: inAnHour() });
  const [, payload = '', signature = ''] = valid.split('.');
  const signed = (claims: unknown) => {
    const text = Buffer.from(JSON.stringify(claims) ?? 'no json').toString('base64url');
    const mac = createHmac('sha256', SECRET).update(`sluice-override:v1.${text}`).digest('base64url');
    return `v1.${text}.${mac}`;
  };
  const otherPayload = Buffer.from(JSON.stringify({ cohort: 'canary', exp: inAnHour() * 2 })).toString('base64url');

  it.each([
    ['empty', ''],
    ['the bare cohort', 'canary'],
    ['signed with another secret', signOverride('another', { cohort: 'canary', expires: inAnHour() })],
    ['expired', signOverride(SECRET, { cohort: 'canary', expires: Date.UTC(2025, 11, 31) })],
    ['of another salt', signOverride(SECRET, { cohort: 'canary', expires: inAnHour(), salt: 'r0' })],
    ['of another service', signOverride(SECRET, { cohort: 'canary', expires: inAnHour(), service: 'cart' })],
    ['given a longer life', `v1.${otherPayload}.${signature}`],
    ['cut off', valid.slice(0, -1)],
    ['without a signature', `v1.${payload}.`],
    ['with one part more', `${valid}.x`],
    ['of another format', valid.replace('v1', 'v2')],
    ['signed over no cohort', signed({ cohort: 'all', exp: inAnHour() })],
    ['signed without an expiry', signed({ cohort: 'canary' })],
    ['signed over null', signed(null)],
    ['signed over something else than JSON', signed(undefined)],
    ['very long', `v1.${'a'.repeat(2000)}.${signature}`],
  ])('(%s) is ignored and counted', (_why, token) => {
    const { router, assignment } = reach(token);

    expect(assignment).toMatchObject({ cohort: 'stable', reason: 'weight-0' });
    expect(router.metrics().overrides).toEqual({ accepted: 0, rejected: 1 });
    expect(router.prometheus()).toContain('canary_overrides_rejected_total 1');
  });

  it('ends with its last moment', () => {
    const { router, clock } = reach('');
    const token = signOverride(SECRET, { cohort: 'canary', expires: clock.now() + 1000 });

    clock.advance(1000);
    expect(router.begin({ override: token }).assignment.cohort).toBe('canary');
    clock.advance(1);
    expect(router.begin({ override: token }).assignment.cohort).toBe('stable');
  });

  it('never throws, whatever the header holds', () => {
    const { router } = reach('');
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `v1.${text}.${text}`),
        ),
        (token) => {
          expect(router.begin({ override: token }).assignment.cohort).toBe('stable');
        },
      ),
    );
  });

  it('is refused where no secret is known', () => {
    const { router } = testRouter({ adminToken: undefined as unknown as string });

    expect(router.begin({ override: valid }).assignment.cohort).toBe('stable');
    expect(router.metrics().overrides.rejected).toBe(1);
  });
});

describe('signOverride', () => {
  it('refuses an empty secret and a time that is none', () => {
    expect(() => signOverride('', { cohort: 'canary', expires: inAnHour() })).toThrow(RangeError);
    expect(() => signOverride(SECRET, { cohort: 'canary', expires: new Date('never') })).toThrow(RangeError);
  });
});
