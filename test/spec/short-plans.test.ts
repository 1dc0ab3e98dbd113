import { plan, planHash } from '../../src/spec/plan';
import type { Plan } from '../../src/spec/plan-types';
import { shortPlan } from '../../src/spec/short-plans';
import type { ShortWish } from '../../src/spec/short-plans';
import { DESIGN_EXAMPLE, routerDocument, validSpec } from './documents';

/** Soaks 60s at 5 and 25, an approval by oncall, 5m at 50, 60s at 100. */
const BASE = plan(validSpec(DESIGN_EXAMPLE), 'example.test/checkout:2');
const HOLD = 4 * 3_600_000;

/** Each step in a word, with what a wish decides of it. */
function steps({ steps: planned }: Plan): string[] {
  return planned.map((step) => {
    if (step.kind === 'weight') return `${step.weight} % for ${step.soakMs / 1000} s`;
    return step.kind === 'approve' ? `${step.name} by ${step.by.join(', ') || 'anyone'}` : step.name;
  });
}

describe('a short plan', () => {
  it.each<[string, ShortWish, string[]]>([
    [
      'traffic below the approval holds in its place, for whom the spec names',
      { kind: 'traffic', weight: 10, holdMs: HOLD },
      ['deploy', 'smoke test', '10 % for 60 s', 'promote or back by oncall', '100 % for 60 s', 'promote'],
    ],
    [
      'traffic beyond the approval asks for it first, and then holds for anyone',
      { kind: 'traffic', weight: 40, holdMs: HOLD },
      [
        'deploy',
        'smoke test',
        'approval by oncall',
        '40 % for 300 s',
        'promote or back by anyone',
        '100 % for 60 s',
        'promote',
      ],
    ],
    [
      'all of the traffic is not soaked twice',
      { kind: 'traffic', weight: 100, holdMs: HOLD },
      ['deploy', 'smoke test', 'approval by oncall', '100 % for 60 s', 'promote or back by anyone', 'promote'],
    ],
    [
      'a promotion keeps the approval',
      { kind: 'promote' },
      ['deploy', 'smoke test', 'approval by oncall', '100 % for 60 s', 'promote'],
    ],
    ['a clean-up has but one step', { kind: 'cleanup', track: 'canary' }, ['clean up canary']],
  ])('%s', (_, wish, expected) => {
    expect(steps(shortPlan(BASE, wish))).toEqual(expected);
  });

  it('waits at the hold for as long as was said, and then goes back', () => {
    const { steps: planned } = shortPlan(BASE, { kind: 'traffic', weight: 10, holdMs: HOLD });

    expect(planned.find((step) => step.kind === 'approve')).toMatchObject({ timeoutMs: HOLD, onExpiry: 'rollback' });
  });

  it('keeps all else of the spec, and has a hash of its own', () => {
    const short = shortPlan(BASE, { kind: 'promote' });

    expect(short).toMatchObject({
      service: BASE.service,
      version: BASE.version,
      target: BASE.target,
      short: 'promote',
    });
    expect(short.analysis).toEqual(BASE.analysis);
    expect(short.steps.at(-1)).toEqual(BASE.steps.at(-1));
    expect(short.hash).toBe(planHash(short));
    expect(short.hash).not.toBe(BASE.hash);
    expect(Object.isFrozen(short)).toBe(true);
  });

  it('names the colour that a switch is about', () => {
    const text = DESIGN_EXAMPLE.replace('service: checkout\n', 'service: checkout\n      strategy: blueGreen\n');
    const base = plan(validSpec(text), 'example.test/checkout:2');

    const half = shortPlan(base, { kind: 'switch', colour: 'green', weight: 50, holdMs: HOLD });

    expect(half.steps[0]).toMatchObject({ kind: 'deploy', onto: 'green' });
    expect(steps(half)).toEqual([
      'deploy',
      'smoke test',
      'approval by oncall',
      '50 % for 300 s',
      'promote or back by anyone',
      '100 % for 60 s',
      'promote',
    ]);
    expect(steps(shortPlan(base, { kind: 'cleanup', track: 'blue' }))).toEqual(['clean up blue']);
    expect(() => shortPlan(base, { kind: 'promote' })).toThrow(/has the colours blue and green/u);
  });

  it.each([0, 101, 2.5, Number.NaN])('of a weight of %p is refused', (weight) => {
    expect(() => shortPlan(BASE, { kind: 'traffic', weight, holdMs: HOLD })).toThrow(/whole percentage from 1 to 100/u);
  });

  it('of a router is refused, with the alternative', () => {
    const base = plan(validSpec(routerDocument()), 'v2');

    expect(() => shortPlan(base, { kind: 'promote' })).toThrow(
      expect.objectContaining({ code: 'unsupported', hint: expect.stringContaining('sluice deploy') }),
    );
  });
});
