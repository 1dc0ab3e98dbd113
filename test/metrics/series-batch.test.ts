import type { SeriesPair, SeriesValue } from '../../src/metrics/prometheus-answer';
import { countEvents, countHistogram } from '../../src/metrics/series-batch';

const number = (value: number | string | null): SeriesValue | null =>
  value === null ? null : { kind: 'number', text: String(value) };

function series(instance: string, from: number | string | null, to: number | string | null, le?: string): SeriesPair {
  return { labels: { job: 'app', instance, ...(le === undefined ? {} : { le }) }, from: number(from), to: number(to) };
}

/** Nothing can be said about how evenly bad events fell. */
const NONE = { chiSquared: 0, degrees: 0 };

describe('growth of counters of events', () => {
  it('is summed over all targets, bad and all by the same ones', () => {
    expect(countEvents([series('a', 100, 140), series('b', 0, 7)], [series('a', 3, 5)])).toEqual({
      kind: 'batch',
      counts: { bad: 2, total: 47, spreads: [{ chiSquared: expect.closeTo(0.36556, 4) as number, degrees: 1 }] },
      dropped: [],
      appeared: false,
    });
  });

  it('learns of clusters between processes alone, whatever else labels tell apart', () => {
    const of = (labels: Record<string, string>, grown: number): SeriesPair => ({
      labels: { job: 'app', ...labels },
      from: number(0),
      to: number(grown),
    });
    const total = [
      of({ instance: 'a', status: '200' }, 990),
      of({ instance: 'a', status: '500' }, 10),
      of({ instance: 'b', status: '200' }, 988),
      of({ instance: 'b', status: '500' }, 12),
    ];
    const bad = total.filter(({ labels }) => labels['status'] === '500');
    const byStatus = [of({ status: '200' }, 1978), of({ status: '500' }, 22)];

    // Of 10 and 12 bad ones of 1,000 each: (2 / 2)² / 11 twice, and the same of the good ones.
    const chiSquared = expect.closeTo(2 / 11 + 2 / 989, 9) as number;
    expect(countEvents(total, bad)).toMatchObject({
      counts: { bad: 22, total: 2000, spreads: [{ chiSquared, degrees: 1 }] },
    });
    expect(countEvents(byStatus, byStatus.slice(1))).toMatchObject({
      counts: { bad: 22, total: 2000, spreads: [NONE] },
    });
    const pods = total.map(({ labels, ...ends }): SeriesPair => ({
      ...ends,
      labels: { pod: labels['instance'] ?? '', ...labels },
    }));
    expect(
      countEvents(
        pods,
        pods.filter(({ labels }) => labels['status'] === '500'),
      ),
    ).toMatchObject({
      counts: { spreads: [{ chiSquared, degrees: 1 }] },
    });
  });

  it('counts a series of bad events from 0 that appears at a known target', () => {
    expect(countEvents([series('a', 10, 20)], [series('a', null, 4)])).toMatchObject({ counts: { bad: 4, total: 10 } });
  });

  it.each([
    ['of all events', series('a', 100, 30), series('a', 8, 2), { bad: 2, total: 30 }],
    ['of bad events alone', series('a', 20, 30), series('a', 8, 2), { bad: 2, total: 30 }],
    ['forgotten by a restart', series('a', 20, 30), series('a', 8, null), { bad: 0, total: 30 }],
  ])('begins anew after a reset: %s', (_name, total, bad, counts) => {
    expect(countEvents([total], [bad])).toEqual({
      kind: 'batch',
      counts: { ...counts, spreads: [NONE] },
      dropped: ['{instance="a",job="app"} has started anew'],
      appeared: false,
    });
  });

  it('leaves a target out that has only just appeared, and one that is gone', () => {
    expect(
      countEvents([series('a', 10, 20), series('new', null, 900), series('gone', 50, null)], [series('new', null, 90)]),
    ).toEqual({
      kind: 'batch',
      counts: { bad: 0, total: 10, spreads: [NONE] },
      dropped: ['{instance="new",job="app"} has only just appeared'],
      appeared: true,
    });
  });

  it('counts nothing of a sum over all targets that has fallen: one of them may be gone', () => {
    const sum = (from: number, to: number, le?: string): SeriesPair => ({
      labels: le === undefined ? {} : { le },
      from: number(from),
      to: number(to),
    });
    const nothing = {
      dropped: [
        'a series without labels has fallen: a restart, or a sum over targets of which one is gone (sum by (job, instance) tells them apart)',
      ],
      appeared: true,
    };

    // Of two with 1000 requests each, one is gone: the other has not had 1100 since.
    expect(countEvents([sum(2000, 1100)], [sum(10, 6)])).toMatchObject({ counts: { bad: 0, total: 0 }, ...nothing });
    expect(countEvents([sum(2000, 2100)], [sum(10, 6)])).toMatchObject({ counts: { bad: 0, total: 0 }, ...nothing });
    expect(countHistogram([sum(1900, 1000, '0.1'), sum(2000, 1100, '+Inf')])).toMatchObject({
      counts: { cumulative: [0, 0] },
      ...nothing,
    });
    expect(countEvents([sum(2000, 2100)], [sum(10, 11)])).toMatchObject({ counts: { bad: 1, total: 100 } });
  });

  it('leaves a target out that contradicts itself', () => {
    expect(countEvents([series('a', 10, 12), series('b', 0, 5)], [series('a', 0, 9)])).toEqual({
      kind: 'batch',
      counts: { bad: 0, total: 5, spreads: [NONE] },
      dropped: ['{instance="a",job="app"} counted 9 bad of 2 events'],
      appeared: false,
    });
  });

  it('is nothing, and not zero, without a series of all events', () => {
    expect(countEvents([], [])).toEqual({ kind: 'batch', counts: null, dropped: [], appeared: false });
  });

  it.each([
    ['NaN', 'answered NaN, which is no number'],
    ['+Inf', 'answered +Inf, which is no number'],
    ['-3', 'answered -3, which is less than nothing'],
    ['3.5', 'answered 3.5, which is no whole number: events are counted, not averaged'],
  ])('refuses %s', (text, message) => {
    expect(countEvents([series('a', 0, text)], [])).toEqual({
      kind: 'error',
      message: `{instance="a",job="app"} ${message}`,
    });
  });

  it('takes a sum of floats that misses a whole number by its rounding', () => {
    expect(countEvents([series('a', 0, '1000000.0000001')], [])).toMatchObject({ counts: { total: 1_000_000 } });
  });

  it('refuses two series where one was meant, bad events of a target without the others, and a native histogram', () => {
    expect(countEvents([series('a', 0, 1), series('a', 0, 2)], [])).toEqual({
      kind: 'error',
      message: '{instance="a",job="app"} has 2 series where one was meant',
    });
    expect(countEvents([series('a', 0, 1)], [series('b', 0, 1)])).toEqual({
      kind: 'error',
      message: '{instance="b",job="app"} counts bad events, but not all of them',
    });
    const native = { labels: {}, from: null, to: { kind: 'native', count: '3', buckets: [] } } as const;
    expect(countEvents([native], [])).toEqual({
      kind: 'error',
      message: 'the only series answered a native histogram where a counter was meant',
    });
  });
});

describe('growth of histograms', () => {
  const classic = (instance: string, from: readonly number[] | null, to: readonly number[]): SeriesPair[] =>
    ['0.1', '1', '+Inf'].map((le, index) => series(instance, from?.[index] ?? null, to[index] ?? null, le));

  it('is summed boundary by boundary, in their order whatever that of the series', () => {
    const buckets = [...classic('a', [1, 2, 3], [5, 8, 10]), ...classic('b', [0, 0, 0], [1, 1, 4])].reverse();

    expect(countHistogram(buckets)).toEqual({
      kind: 'batch',
      counts: {
        boundaries: [0.1, 1],
        cumulative: [5, 7, 11],
        // Slower than 100 ms were 3 of 7 at one and 3 of 4 at the other; slower than 1 s, 1 of 7 and 3 of 4.
        spreads: [
          { chiSquared: expect.closeTo((11 * 9 ** 2) / (7 * 4 * 6 * 5), 9) as number, degrees: 1 },
          { chiSquared: expect.closeTo((11 * 17 ** 2) / (7 * 4 * 4 * 7), 9) as number, degrees: 1 },
        ],
      },
      dropped: [],
      appeared: false,
    });
  });

  it('begins anew after a reset, and leaves out what has only just appeared', () => {
    expect(countHistogram([...classic('a', [9, 9, 9], [1, 2, 3]), ...classic('b', null, [50, 60, 70])])).toEqual({
      kind: 'batch',
      counts: { boundaries: [0.1, 1], cumulative: [1, 2, 3], spreads: [NONE, NONE] },
      dropped: ['{instance="a",job="app"} has started anew', '{instance="b",job="app"} has only just appeared'],
      appeared: true,
    });
  });

  it('leaves a target out whose buckets were not read at one moment', () => {
    expect(countHistogram(classic('a', [0, 0, 0], [5, 4, 6]))).toMatchObject({
      counts: { cumulative: [0, 0, 0] },
      dropped: ['{instance="a",job="app"} counted more requests below a boundary than below a higher one'],
    });
  });

  it.each([
    [
      'others at another target',
      [...classic('a', [0, 0, 0], [1, 1, 1]), series('b', 0, 1, '0.5'), series('b', 0, 1, '+Inf')],
      'the boundaries of {instance="b",job="app"} are others than those of the other targets',
    ],
    [
      'changed',
      [series('a', 0, 1, '0.5'), series('a', null, 1, '1'), series('a', 0, 1, '+Inf')],
      'the boundaries of {instance="a",job="app"} have changed',
    ],
    ['without an end', [series('a', 0, 1, '0.5')], '{instance="a",job="app"} has no bucket le="+Inf"'],
    ['without le', [series('a', 0, 1)], 'a series of {instance="a",job="app"} has no label le'],
    [
      'twice the same',
      [series('a', 0, 1, '+Inf'), series('a', 0, 1, '+Inf')],
      '{instance="a",job="app"} has several series with the same boundary',
    ],
  ])('refuses boundaries that are %s', (_name, buckets, message) => {
    expect(countHistogram(buckets)).toEqual({ kind: 'error', message });
  });

  it.each([
    // Of schema -1 each end is a power of four; with buckets of its own they are anything.
    ['coarser ones', '0.25', '1', 'a bucket from 0.25 to 1 s, which hides how many are slower than 0.5 s'],
    ['other ones', '0.1', '0.3', 'a bucket from 0.1 to 0.3 s, which hides how many are slower than 0.125 s'],
    ['an open one', '10', '+Inf', 'a bucket from 10 to Infinity s, which hides how many are slower than 16 s'],
  ])('refuses native histograms with %s', (_name, above, le, clause) => {
    const native: SeriesValue = { kind: 'native', count: '4', buckets: [{ above, le, count: '4' }] };

    expect(countHistogram([{ labels: { job: 'app' }, from: native, to: native }])).toEqual({
      kind: 'error',
      message: `{job="app"} has ${clause}: native histograms are counted at powers of two, which takes schema 0 or a finer one`,
    });
  });

  it('reads native histograms at powers of two', () => {
    const native = (count: number, fast: number, slow: number): SeriesValue => ({
      kind: 'native',
      count: String(count),
      // Of schema 1, where each second end is a power of two: (0.177, 0.25] and (1, 1.414].
      buckets: [
        { above: '0.17677669529663687', le: '0.25', count: String(fast) },
        { above: '1', le: '1.414213562373095', count: String(slow) },
      ],
    });

    const batch = countHistogram([{ labels: {}, from: native(3, 2, 1), to: native(10, 6, 4) }]);

    expect(batch.kind === 'batch' && batch.counts).toEqual({
      boundaries: Array.from({ length: 16 }, (_, index) => 2 ** (index - 10)),
      // 4 of 7 at most 0.25 s, all at most 2 s.
      cumulative: [0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7, 7, 7],
      spreads: Array.from({ length: 16 }, () => NONE),
    });
  });
});
