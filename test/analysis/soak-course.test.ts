import fc from 'fast-check';
import { beginSoakClock, decideSoak, lastLookAhead } from '../../src/analysis/soak-course';
import type { SoakClock, SoakLook } from '../../src/analysis/soak-course';

const TIMES = { soak: 60, delay: 6, interval: 10, extension: 30 };
const PASSING: SoakLook = { decision: 'continue', stepVerdict: 'pass', enough: false, held: false };
const LACKING: SoakLook = { ...PASSING, stepVerdict: 'insufficient-data' };

/** The moments of the looks of a soak that is never decided before its end, and how it ended. */
function course(times: typeof TIMES, look: (at: number) => SoakLook, takes = 0): { looks: number[]; end: string } {
  const looks: number[] = [];
  let clock: SoakClock = beginSoakClock(0, times);
  for (;;) {
    const now = clock.nextAt + takes;
    looks.push(clock.nextAt);
    const decision = decideSoak(clock, now, look(now), times);
    if (decision.kind !== 'goesOn') return { looks, end: decision.kind };
    expect(decision.clock.nextAt).toBeGreaterThan(now - takes);
    clock = decision.clock;
  }
}

describe('the course of a soak', () => {
  it('looks each interval after its delay, and last at its end', () => {
    expect(course(TIMES, () => PASSING)).toEqual({ looks: [16, 26, 36, 46, 60], end: 'passed' });
  });

  it('looks at its end at the latest, however long the delay is', () => {
    expect(course({ ...TIMES, delay: 300 }, () => PASSING)).toEqual({ looks: [60], end: 'passed' });
  });

  it('leaves out the looks whose time passed while one took long', () => {
    expect(course(TIMES, () => PASSING, 17)).toEqual({ looks: [16, 36, 60], end: 'passed' });
  });

  it('is made longer once, and then ends with the first look that passes', () => {
    expect(course(TIMES, (at) => (at < 75 ? LACKING : PASSING))).toEqual({
      looks: [16, 26, 36, 46, 60, 70, 80],
      end: 'passed',
    });
    expect(course(TIMES, () => LACKING)).toEqual({ looks: [16, 26, 36, 46, 60, 70, 80, 90], end: 'undecided' });
    expect(course({ ...TIMES, extension: 0 }, () => LACKING).looks.at(-1)).toBe(60);
  });

  it('ends at once by a failure, by an error, by what holds it, and by enough evidence', () => {
    const once = (look: Partial<SoakLook>): unknown =>
      decideSoak(beginSoakClock(0, TIMES), 16, { ...PASSING, ...look }, TIMES);

    expect(once({ decision: 'fail', held: true })).toEqual({ kind: 'failed' });
    expect(once({ decision: 'error', stepVerdict: 'fail' })).toEqual({ kind: 'undecided', verdict: 'error' });
    expect(once({ held: true })).toEqual({ kind: 'held' });
    expect(once({ enough: true })).toEqual({ kind: 'passed', early: true });
    expect(once({ enough: true, stepVerdict: 'insufficient-data' })).toMatchObject({ kind: 'goesOn' });
    // Of the step as a whole, which is not over yet.
    expect(once({ stepVerdict: 'fail' })).toMatchObject({ kind: 'goesOn', extendedNow: false });
    expect(course(TIMES, () => ({ ...PASSING, stepVerdict: 'fail' })).end).toBe('failed');
  });

  it('without a pass never passes, and always ends', () => {
    const looks = fc.constantFrom<SoakLook>(
      LACKING,
      { ...LACKING, stepVerdict: 'error' },
      { ...LACKING, enough: true },
    );
    const times = fc.record({
      soak: fc.integer({ min: 1, max: 500 }),
      delay: fc.integer({ min: 0, max: 100 }),
      interval: fc.integer({ min: 1, max: 60 }),
      extension: fc.integer({ min: 0, max: 200 }),
    });
    fc.assert(
      fc.property(times, fc.array(looks, { minLength: 1 }), fc.integer({ min: 0, max: 90 }), (each, some, takes) => {
        let count = 0;
        const { end } = course(each, () => some[(count += 1) % some.length] ?? LACKING, takes);
        expect(end).toBe('undecided');
      }),
    );
  });
});

describe('how far ahead of its time the last look of a soak is begun', () => {
  it('is what looks took lately, so that one that was slow or fast does not count', () => {
    expect(lastLookAhead([], 10)).toBe(0);
    expect(lastLookAhead([3], 10)).toBe(3);
    expect(lastLookAhead([2, 1_000, 3, 1, 2], 10)).toBe(2);
  });

  it('is never more than half of what lies between two looks', () => {
    expect(lastLookAhead([40, 60, 50], 10)).toBe(5);
  });
});
