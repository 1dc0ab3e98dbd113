import fc from 'fast-check';
import { flagBucket } from '../../src/flags/bucket';
import { compileFlag, evaluateFlag, explainFlag } from '../../src/flags/evaluate';
import type { Evaluation } from '../../src/flags/evaluate';
import { CreateFlag, flagNameProblem, newFlag, UpdateFlag } from '../../src/flags/flag';
import { userSet } from '../../src/flags/user-set';

/** The 99.9 % quantile of chi-squared with 99 degrees of freedom. */
const CHI_SQUARED_99 = 148.23;

const user = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' });

function flagOf(given: Record<string, unknown>) {
  const created = newFlag(CreateFlag.parse({ name: 'f', enabled: true, ...given }), '2026-11-26T00:00:00.000Z');
  return compileFlag({ flag: created, revision: 1 });
}

function ask(given: Record<string, unknown>, userId: string | null = 'u', environment = 'production'): Evaluation {
  const evaluation = evaluateFlag(flagOf(given), { userId, environment });
  if (evaluation.rule === 'user-missing') throw new Error('no answer without a user');
  return evaluation;
}

describe('the bucket', () => {
  it.each([
    ['new-checkout', 'user-1', 83],
    ['new-checkout', 'user-2', 61],
    ['dark-mode', 'user-1', 20],
    ['dark-mode', 'alice@example.com', 29],
    ['фича', '用户', 62],
  ])('of %s and %s is %i', (flag, id, bucket) => {
    expect(flagBucket(flag, id)).toBe(bucket);
  });

  it('is uniform over users', () => {
    const counts = new Array<number>(100).fill(0);
    for (let i = 0; i < 100_000; i += 1) counts[flagBucket('new-checkout', `user-${i}`)]! += 1;

    const statistic = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);

    expect(statistic).toBeLessThan(CHI_SQUARED_99);
  });

  it('of one flag says nothing about that of another', () => {
    const users = Array.from({ length: 50_000 }, (_, i) => `user-${i}`);

    const both = users.filter((id) => flagBucket('first', id) < 10 && flagBucket('second', id) < 10).length;

    // 1 % of the users is 500, with a standard deviation of 22.
    expect(Math.abs(both - 500)).toBeLessThan(90);
  });
});

describe('a percentage', () => {
  it('that is raised never takes a user out', () => {
    fc.assert(
      fc.property(user, fc.nat(100), fc.nat(100), (id, a, b) => {
        fc.pre(/^[^\u0000-\u001f\u007f]+$/u.test(id));
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const before = ask({ rollout_percentage: low }, id).enabled;
        const after = ask({ rollout_percentage: high }, id).enabled;
        expect(before && !after).toBe(false);
      }),
    );
  });

  it('of 0 is nobody and of 100 everybody', () => {
    fc.assert(
      fc.property(user, (id) => {
        expect(ask({ rollout_percentage: 0 }, id).enabled).toBe(false);
        expect(ask({ rollout_percentage: 100 }, id).enabled).toBe(true);
      }),
    );
  });

  it.each([0.5, 101, -1, '10', NaN])('%p is refused', (percentage) => {
    expect(CreateFlag.safeParse({ name: 'f', rollout_percentage: percentage }).success).toBe(false);
  });
});

describe('the rules', () => {
  const everything = {
    environments: ['production'],
    blacklist: ['both', 'black'],
    whitelist: ['both', 'white'],
    rollout_percentage: 0,
  };

  it.each([
    ['switched off', { ...everything, enabled: false }, 'white', 'production', false, 'disabled', 'DISABLED'],
    [
      'switched off and elsewhere',
      { ...everything, enabled: false },
      'white',
      'staging',
      false,
      'disabled',
      'DISABLED',
    ],
    ['blacklisted and elsewhere', everything, 'black', 'staging', false, 'environment', 'DISABLED'],
    ['another environment', everything, 'white', 'staging', false, 'environment', 'DISABLED'],
    ['on both lists', everything, 'both', 'production', false, 'blacklist', 'TARGETING_MATCH'],
    ['whitelisted', everything, 'white', 'production', true, 'whitelist', 'TARGETING_MATCH'],
    ['on no list', everything, 'other', 'production', false, 'percentage', 'SPLIT'],
    ['without a rule', {}, 'other', 'production', true, 'default', 'STATIC'],
    [
      'blacklisted at 100',
      { blacklist: ['u'], rollout_percentage: 100 },
      'u',
      'x',
      false,
      'blacklist',
      'TARGETING_MATCH',
    ],
  ])('%s', (_name, given, id, environment, enabled, rule, reason) => {
    const evaluation = ask(given, id, environment);

    expect(evaluation).toMatchObject({ enabled, rule, reason, variant: enabled ? 'on' : 'off', value: enabled });
  });

  it('give the bucket where the percentage decided', () => {
    expect(ask({ name: 'new-checkout', rollout_percentage: 84 }, 'user-1')).toMatchObject({
      enabled: true,
      bucket: 83,
    });
    expect(ask({ name: 'new-checkout', rollout_percentage: 83 }, 'user-1')).toMatchObject({
      enabled: false,
      bucket: 83,
    });
    expect(ask({ whitelist: ['u'] }).bucket).toBeNull();
  });

  it('answer without a user where none is needed', () => {
    expect(ask({}, null)).toMatchObject({ enabled: true, rule: 'default' });
    expect(ask({ enabled: false }, null)).toMatchObject({ enabled: false, rule: 'disabled' });
    expect(ask({ rollout_percentage: 100 }, null)).toMatchObject({ enabled: true, rule: 'percentage' });
    expect(ask({ rollout_percentage: 0, whitelist: ['u'] }, null)).toMatchObject({ enabled: false });
    const subject = { userId: null, environment: 'production' };
    expect(evaluateFlag(flagOf({ rollout_percentage: 50 }), subject)).toEqual({ rule: 'user-missing' });
  });

  it('beside a whitelist without a percentage, let in nobody but the listed, also when it is empty again', () => {
    const created = newFlag(CreateFlag.parse({ name: 'f', enabled: true, whitelist: ['u'] }), 'now');

    expect(created.rollout_percentage).toBe(0);
    const emptied = compileFlag({ flag: { ...created, whitelist: [] }, revision: 2 });
    expect(evaluateFlag(emptied, { userId: 'other', environment: 'x' })).toMatchObject({ enabled: false });
  });

  it('are explained up to the one that decided', () => {
    const flag = flagOf({ name: 'new-checkout', rollout_percentage: 25, blacklist: ['x'] });

    const rules = explainFlag(flag, { userId: 'user-1', environment: 'production' });

    expect(rules.map(({ rule, decided }) => [rule, decided])).toEqual([
      ['disabled', false],
      ['environment', false],
      ['blacklist', false],
      ['whitelist', false],
      ['percentage', true],
    ]);
    expect(rules.at(-1)?.because).toBe('Bucket 83 of "user-1" is not below the percentage 25.');
  });
});

describe('variants', () => {
  const variants = { values: { control: 5, treatment: 10 }, on: 'treatment', default: 'control' };

  it('are what is answered for on and off', () => {
    expect(ask({ variants, whitelist: ['u'] })).toMatchObject({ variant: 'treatment', value: 10, enabled: true });
    expect(ask({ variants, blacklist: ['u'] })).toMatchObject({ variant: 'control', value: 5, enabled: false });
    expect(ask({ variants, enabled: false })).toMatchObject({ variant: 'control', value: 5, reason: 'DISABLED' });
  });

  it.each([
    ['of two types', { ...variants, values: { control: 5, treatment: 'x' } }, /one type/],
    ['without the default', { ...variants, default: 'gone' }, /no variant "gone"; there are control, treatment/],
    ['named like a prototype', { ...variants, on: 'constructor' }, /no variant "constructor"/],
    ['of arrays', { ...variants, values: { control: [1], treatment: [2] } }, /./],
  ])('%s are refused', (_name, wrong, message) => {
    const parsed = CreateFlag.safeParse({ name: 'f', variants: wrong });

    expect(parsed.error?.issues.map((issue) => issue.message).join()).toMatch(message);
  });
});

describe('names', () => {
  it.each(['new-checkout', 'a', '0', 'a.b_c-d', 'x'.repeat(128)])('%s is one', (name) => {
    expect(flagNameProblem(name)).toBeNull();
  });

  it.each(
    [['', 'a:b', 'A', '-a', '.a', 'a b', 'a/b', '../x', 'a\n', 'фича', 'x'.repeat(129), '__proto__', 'all', 7]].flat(),
  )('%p is none, and one sentence says so', (name) => {
    expect(flagNameProblem(name)).toMatch(/^[^\n]+\.$/);
  });

  it('cannot be changed by an update with other fields that nobody knows', () => {
    expect(UpdateFlag.safeParse({ enabeld: true }).success).toBe(false);
  });
});

describe('a set of users', () => {
  it('has exactly its users', () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }), { maxLength: 200 });
    fc.assert(
      fc.property(ids, fc.string({ minLength: 1, unit: 'grapheme' }), (users, other) => {
        const set = userSet(users);
        expect(users.every((id) => set.has(id))).toBe(true);
        expect(set.has(other)).toBe(users.includes(other));
        expect(set.size).toBe(users.length);
      }),
    );
  });

  it('is not fooled by users that are parts of others', () => {
    const set = userSet(['ab', 'c', 'abc']);

    expect(['ab', 'c', 'abc'].map((id) => set.has(id))).toEqual([true, true, true]);
    expect(['a', 'b', 'bc', 'abcab', 'cabc'].some((id) => set.has(id))).toBe(false);
  });
});
