import fc from 'fast-check';
import { bucketOf, decide, type DecisionSnapshot, type Subject } from '../../src/router';

const canary: DecisionSnapshot = {
  enabled: true,
  active: true,
  stableVersion: '1.0.0',
  canaryVersion: '2.0.0',
  weight: 25,
  salt: 'r1',
};
const user = (key: string): Subject => ({ kind: 'user', key });
const key = fc.string({ unit: 'grapheme', maxLength: 60 });
const weight = fc.double({ min: 0, max: 100, noNaN: true });

describe('bucketOf', () => {
  // By Python: int.from_bytes(hashlib.sha256(f"release:{salt}:{key}".encode()).digest()[:6], "big") * 100 / 2**48
  it.each([
    ['r1', 'alice', 25.79020596056054],
    ['r1', 'bob', 68.35934457839343],
    ['r2', 'alice', 94.14381982236293],
    ['checkout-7', '203.0.113.7', 65.04554460941065],
    ['sel', 'Zoë 😀', 62.05440106147435],
    ['r1', '', 33.000571384136634],
  ])('under the salt %j gives %j its bucket', (salt, subject, expected) => {
    expect(bucketOf(salt, subject)).toBe(expected);
  });

  it('stays within [0, 100)', () => {
    fc.assert(
      fc.property(key, key, (salt, subject) => {
        const bucket = bucketOf(salt, subject);
        expect(bucket).toBeGreaterThanOrEqual(0);
        expect(bucket).toBeLessThan(100);
      }),
    );
  });

  it('is spread evenly over 100 classes (chi-squared, 99 degrees of freedom)', () => {
    const classes = new Array<number>(100).fill(0);
    const subjects = 100_000;
    for (let i = 0; i < subjects; i++) {
      const index = Math.floor(bucketOf('uniformity', `user-${i}`));
      classes[index] = (classes[index] ?? 0) + 1;
    }

    const expected = subjects / classes.length;
    const chiSquared = classes.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);

    // 148.2 is the 99.9th percentile: the subjects are fixed, so this either always holds or never.
    expect(chiSquared).toBeLessThan(148.2);
  });

  it('resolves shares far below one percent', () => {
    const subjects = 200_000;
    let below = 0;
    for (let i = 0; i < subjects; i++) if (bucketOf('fine', `user-${i}`) < 0.05) below += 1;

    // 100 expected; five standard deviations either side.
    expect(below).toBeGreaterThan(50);
    expect(below).toBeLessThan(150);
  });

  it('puts subjects into independent buckets under two salts (chi-squared, 1 degree of freedom)', () => {
    const subjects = 50_000;
    const table = { both: 0, first: 0, second: 0, neither: 0 };
    for (let i = 0; i < subjects; i++) {
      const first = bucketOf('release-a', `user-${i}`) < 20;
      const second = bucketOf('release-b', `user-${i}`) < 20;
      table[first ? (second ? 'both' : 'first') : second ? 'second' : 'neither'] += 1;
    }
    const { both, first, second, neither } = table;

    const chiSquared =
      (subjects * (both * neither - first * second) ** 2) /
      ((both + first) * (second + neither) * (both + second) * (first + neither));

    // 10.83 is the 99.9th percentile.
    expect(chiSquared).toBeLessThan(10.83);
  });
});

describe('decide', () => {
  it('keeps a canary subject in the canary while the weight grows', () => {
    fc.assert(
      fc.property(key, key, weight, weight, (salt, subject, a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const before = decide({ ...canary, salt, weight: low }, user(subject));
        const after = decide({ ...canary, salt, weight: high }, user(subject));

        expect(before.cohort === 'canary' && after.cohort === 'stable').toBe(false);
      }),
    );
  });

  it('gives everyone the canary at 100 and no one at 0', () => {
    fc.assert(
      fc.property(key, key, (salt, subject) => {
        expect(decide({ ...canary, salt, weight: 100 }, user(subject)).cohort).toBe('canary');
        expect(decide({ ...canary, salt, weight: 0 }, user(subject)).cohort).toBe('stable');
      }),
    );
  });

  it('meets fractional weights within chance', () => {
    const subjects = 100_000;
    let chosen = 0;
    for (let i = 0; i < subjects; i++) {
      if (decide({ ...canary, weight: 0.5 }, user(`user-${i}`)).cohort === 'canary') chosen += 1;
    }

    // 500 expected, standard deviation 22.3.
    expect(Math.abs(chosen - 500)).toBeLessThan(112);
  });

  it('compares the bucket with the weight, strictly', () => {
    const bucket = bucketOf('r1', 'alice');

    expect(decide({ ...canary, weight: bucket }, user('alice')).cohort).toBe('stable');
    expect(decide({ ...canary, weight: bucket + 1e-9 }, user('alice'))).toEqual({
      cohort: 'canary',
      version: '2.0.0',
      bucket,
      reason: 'bucket',
    });
  });

  it.each([
    ['switched off', { enabled: false, active: false }, 'disabled'],
    ['without a canary', { canaryVersion: null, active: false }, 'no-canary'],
    ['after a trip', { active: false }, 'tripped'],
    ['at weight 0', { weight: 0 }, 'weight-0'],
  ])('sends users to stable when %s', (_when, change, reason) => {
    const decision = decide({ ...canary, weight: 100, ...change }, user('alice'));

    expect(decision).toEqual({ cohort: 'stable', version: '1.0.0', bucket: null, reason });
  });

  it('sends clients that nothing identifies to stable, also at 100', () => {
    expect(decide({ ...canary, weight: 100 }, { kind: 'none' })).toMatchObject({
      cohort: 'stable',
      reason: 'no-subject',
    });
  });

  it.each([
    ['at weight 0', { weight: 0 }],
    ['after a trip', { weight: 0, active: false }],
  ])('lets an override reach the canary %s', (_when, change) => {
    expect(decide({ ...canary, ...change }, { kind: 'override', cohort: 'canary' })).toMatchObject({
      cohort: 'canary',
      version: '2.0.0',
      reason: 'override',
    });
  });

  it('lets an override reach stable at weight 100', () => {
    expect(decide({ ...canary, weight: 100 }, { kind: 'override', cohort: 'stable' })).toMatchObject({
      cohort: 'stable',
      reason: 'override',
    });
  });

  it('ignores an override when there is no canary or routing is off', () => {
    const override: Subject = { kind: 'override', cohort: 'canary' };

    expect(decide({ ...canary, canaryVersion: null, active: false }, override).cohort).toBe('stable');
    expect(decide({ ...canary, enabled: false, active: false }, override).cohort).toBe('stable');
  });
});
