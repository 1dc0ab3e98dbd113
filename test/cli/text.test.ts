import { displayWidth, padEnd, safeText, truncate, wrap } from '../../src/cli/display-width';
import { Screen } from '../../src/cli/screen';
import { decideLook, paint, toAscii } from '../../src/cli/style';
import {
  formatClock,
  formatCount,
  formatDuration,
  formatPercent,
  formatSeconds,
  formatTime,
  parseDurationArgument,
  parsePercentArgument,
  parsePort,
  parseWeightArgument,
} from '../../src/cli/units';
import { whoAmI } from '../../src/cli/actor';

describe('text on a terminal', () => {
  it.each([
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['日本', 4],
    ['👩‍👩‍👧', 2],
    ['✔', 1],
    ['\u001b[31mred\u001b[39m', 3],
  ])('%j takes %i columns', (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });

  it('is cut at characters and padded by columns', () => {
    expect(truncate('日本語', 5)).toBe('日本…');
    expect(truncate('abc', 3)).toBe('abc');
    expect(padEnd('日', 4)).toBe('日  ');
    expect(wrap('one two  three', 8)).toEqual(['one two', 'three']);
    expect(safeText('a\u001b[2J\nb')).toBe('a b');
  });

  it('is ASCII on request, colours untouched', () => {
    expect(toAscii('\u001b[31m“5 % → 25 %”…\u001b[39m', { ascii: true })).toBe('\u001b[31m"5 % -> 25 %"...\u001b[39m');
  });
});

describe('how it looks', () => {
  const color = (env: NodeJS.ProcessEnv, isTTY = true, flag?: 'always' | 'never'): boolean =>
    decideLook({ env, isTTY, ...(flag === undefined ? {} : { color: flag }) }).color;

  it('is coloured on a terminal only, unless somebody says otherwise', () => {
    expect(color({})).toBe(true);
    expect(color({}, false)).toBe(false);
    expect(color({ NO_COLOR: '1' })).toBe(false);
    expect(color({ NO_COLOR: '' })).toBe(true);
    expect(color({ TERM: 'dumb' })).toBe(false);
    expect(color({ FORCE_COLOR: '1' }, false)).toBe(true);
    expect(color({ FORCE_COLOR: '0' })).toBe(false);
    expect(color({ NO_COLOR: '1', FORCE_COLOR: '1' })).toBe(false);
    expect(color({ NO_COLOR: '1' }, false, 'always')).toBe(true);
    expect(color({ FORCE_COLOR: '1' }, true, 'never')).toBe(false);
  });

  it('is ASCII in a locale that is not UTF-8', () => {
    const ascii = (env: NodeJS.ProcessEnv): boolean => decideLook({ env, isTTY: false }).ascii;

    expect([
      ascii({}),
      ascii({ LANG: 'de_DE.UTF-8' }),
      ascii({ LANG: 'C' }),
      ascii({ LC_ALL: 'C.UTF-8', LANG: 'C' }),
    ]).toEqual([false, false, true, false]);
    expect(paint('x', 'bad', { color: true })).toContain('\u001b[31m');
  });
});

describe('the screen', () => {
  it('draws over the last frame, skips equal ones and leaves the last', () => {
    let written = '';
    const screen = new Screen({ write: (text) => (written += text), columns: 20, rows: 10 });

    screen.draw(['one', 'two']);
    const first = written;
    screen.draw(['one', 'two']);
    expect(written).toBe(first);
    screen.draw(['one']);
    screen.finish();

    expect(first).toBe('\u001b[?25lone\u001b[K\ntwo\u001b[K\n\u001b[J');
    expect(written.slice(first.length)).toBe('\u001b[2A\rone\u001b[K\n\u001b[J\u001b[?25h');
  });

  it('counts the rows that a narrower terminal broke the last frame into', () => {
    let written = '';
    const stream = { write: (text: string) => (written += text), columns: 20, rows: 10 };
    const screen = new Screen(stream);

    screen.draw(['0123456789']);
    stream.columns = 5;
    written = '';
    screen.draw(['x']);

    expect(written.startsWith('\u001b[2A\r')).toBe(true);
  });

  it('never draws more lines than the terminal has', () => {
    let written = '';
    const screen = new Screen({ write: (text) => (written += text), columns: 20, rows: 4 });

    screen.draw(['title', 'a', 'b', 'c', 'd']);

    expect(written.match(/\n/gu)).toHaveLength(3);
    expect(written).toContain('title');
    expect(written).toContain('d');
    // But for the last frame: nothing is drawn over it any more.
    screen.finish(['title', 'a', 'b', 'c', 'd']);
    expect(written.match(/\n/gu)).toHaveLength(3 + 5);
  });
});

describe('numbers', () => {
  it.each([
    [250, '250ms'],
    [9_900, '9.9s'],
    [59_999, '59s'],
    [300_000, '5m00s'],
    [3_900_000, '1h05m'],
    [200_000_000, '2d07h'],
  ])('%i ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('are short and exact enough', () => {
    expect([formatClock(130_000), formatClock(3_730_000)]).toEqual(['02:10', '1:02:10']);
    expect(formatTime(Date.UTC(2026, 10, 21, 14, 3, 7))).toBe('14:03:07Z');
    expect([formatPercent(0.0021), formatPercent(0.246), formatPercent(0), formatPercent(1)]).toEqual([
      '0.21 %',
      '24.6 %',
      '0 %',
      '100 %',
    ]);
    expect([formatSeconds(0.0237), formatSeconds(2.5)]).toEqual(['23.7 ms', '2.5 s']);
    expect([formatCount(950), formatCount(18_200), formatCount(3_100_000)]).toEqual(['950', '18.2k', '3.1M']);
  });

  it('are read strictly', () => {
    expect(parseDurationArgument('1h30m', '--timeout')).toBe(5_400_000);
    expect(parsePercentArgument('0.5%', '--max-error-rate')).toBe(0.005);
    expect([parseWeightArgument('25'), parseWeightArgument('25%')]).toEqual([25, 25]);
    for (const bad of ['60', '60 parsecs', '', '-5s']) {
      expect(() => parseDurationArgument(bad, '--timeout')).toThrow('--timeout is');
    }
    for (const bad of ['101', '12.5', 'half', '-1'])
      expect(() => parseWeightArgument(bad)).toThrow('no whole percentage');
    for (const bad of ['65536', 'x', '-1']) expect(() => parsePort(bad, '--port')).toThrow('no port');
  });
});

describe('who acts', () => {
  it('is who was named, then the CI, then the system', () => {
    expect(whoAmI({ SLUICE_ACTOR: 'env' }, 'flag')).toEqual({ name: 'flag', via: 'cli' });
    expect(whoAmI({ SLUICE_ACTOR: 'env', SLUICE_GROUPS: 'oncall, leads' })).toEqual({
      name: 'env',
      via: 'cli',
      groups: ['oncall', 'leads'],
    });
    expect(whoAmI({ CI: 'true', GITHUB_ACTOR: 'octo' })).toEqual({ name: 'octo', via: 'ci' });
    expect(whoAmI({ GITLAB_CI: 'true', GITLAB_USER_LOGIN: 'lab' })).toEqual({ name: 'lab', via: 'ci' });
    expect(whoAmI({ GITHUB_ACTOR: 'octo' }).name).not.toBe('octo');
  });
});
