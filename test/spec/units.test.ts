import fc from 'fast-check';
import { formatDuration, formatPercent, parseDuration, parsePercent } from '../../src/spec/units';

describe('parseDuration', () => {
  it.each([
    ['0s', 0],
    ['500ms', 500],
    ['60s', 60_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    ['1d1h1m1s1ms', 90_061_001],
    ['90m', 5_400_000],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toEqual({ ok: true, value: ms });
  });

  it.each([
    ['', 'is empty'],
    ['60', 'has no unit'],
    ['1.5', 'has no unit'],
    ['-5s', 'is negative'],
    ['1.5h', 'has a decimal point: write whole numbers, 1h30m for one and a half hours'],
    ['5 m', 'has a space in it'],
    ['60 parsecs', 'has the unknown unit "parsecs"'],
    ['60sec', 'has the unknown unit "sec"'],
    ['5M', 'has the unknown unit "M"'],
    ['5s5m', 'must name each unit once, the largest first'],
    ['5m5m', 'must name each unit once, the largest first'],
    ['soon', 'is not a duration'],
    ['999999999d999999999d', 'must name each unit once, the largest first'],
    ['999999999d', 'is too long to count'],
    ['1000000000s', 'has a number of more than nine digits'],
  ])('refuses %j, which %s', (text, reason) => {
    expect(parseDuration(text)).toEqual({ ok: false, reason });
  });

  it('reads back whatever formatDuration writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 * 86_400_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toEqual({ ok: true, value: ms });
      }),
    );
  });

  it('never throws, and reads only what its unit says', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789dhms. -') }), (text) => {
        const parsed = parseDuration(text);
        if (parsed.ok) expect(text).toMatch(/^(\d+(ms|[dhms]))+$/);
      }),
    );
  });
});

describe('parsePercent', () => {
  it.each([
    ['0%', 0],
    ['5%', 0.05],
    ['0.25%', 0.0025],
    ['99.9999%', 0.999999],
    ['100%', 1],
  ])('reads %s', (text, fraction) => {
    expect(parsePercent(text)).toEqual({ ok: true, value: fraction });
  });

  it.each([
    ['5', 'has no percent sign'],
    ['0.05', 'has no percent sign'],
    ['5 %', 'has a space before the percent sign'],
    ['-5%', 'is negative'],
    ['100.1%', 'is above 100%'],
    ['1000%', 'is above 100%'],
    ['0.00001%', 'has more than four decimals'],
    ['five%', 'is not a percentage'],
  ])('refuses %j, which %s', (text, reason) => {
    expect(parsePercent(text)).toEqual({ ok: false, reason });
  });

  it('reads back whatever formatPercent writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (millionths) => {
        const fraction = millionths / 1_000_000;
        expect(parsePercent(formatPercent(fraction))).toEqual({ ok: true, value: fraction });
      }),
    );
  });
});
