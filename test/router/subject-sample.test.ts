import { bucketOf } from '../../src/router/decide';
import { SubjectSample } from '../../src/router/subject-sample';
import type { RoutedUnder } from '../../src/router/subject-sample';

const under = (more: Partial<RoutedUnder> = {}): RoutedUnder => ({
  weight: 25,
  weightChangedAtMs: 1,
  salt: 's',
  ...more,
});

function note(sample: SubjectSample, key: string, now = under()): void {
  const bucket = bucketOf(now.salt ?? '', key);
  sample.note(now, { bucket, cohort: bucket < now.weight ? 'canary' : 'stable' });
}

describe('the subjects a weight decided about', () => {
  it('count once each, however often they come', () => {
    const sample = new SubjectSample();
    for (let request = 0; request < 50; request += 1) note(sample, 'ada');

    const { stable, canary } = sample.counts(under());

    expect(stable + canary).toBe(1);
  });

  it('are counted in the share of the weight, and almost none is taken for another', () => {
    const sample = new SubjectSample();
    for (let user = 0; user < 4_000; user += 1) note(sample, `user-${user}`);

    const { weight, stable, canary } = sample.counts(under());

    expect(weight).toBe(25);
    // 4,000 of 65,536 bits: some 120 share one.
    expect(stable + canary).toBeGreaterThan(3_800);
    expect(stable + canary).toBeLessThanOrEqual(4_000);
    expect(canary / (stable + canary)).toBeGreaterThan(0.22);
    expect(canary / (stable + canary)).toBeLessThan(0.28);
  });

  it('keep that share until every bit is taken', () => {
    const sample = new SubjectSample();
    for (let user = 0; user < 200_000; user += 1) note(sample, `user-${user}`);

    const { stable, canary } = sample.counts(under());

    expect(stable + canary).toBeLessThanOrEqual(65_536);
    expect(canary / (stable + canary)).toBeCloseTo(0.25, 2);
  });

  it.each<[string, Partial<RoutedUnder>]>([
    ['another weight', { weight: 50 }],
    ['the same weight set anew', { weightChangedAtMs: 2 }],
    ['another release', { salt: 't' }],
  ])('begin anew with %s', (_, more) => {
    const sample = new SubjectSample();
    note(sample, 'ada');

    expect(sample.counts(under(more))).toMatchObject({ stable: 0, canary: 0 });
    note(sample, 'ada', under(more));
    const { stable, canary } = sample.counts(under(more));
    expect(stable + canary).toBe(1);
  });

  it('are only those that the weight decided about', () => {
    const sample = new SubjectSample();
    sample.note(under(), { bucket: null, cohort: 'canary' });

    expect(sample.counts(under())).toMatchObject({ stable: 0, canary: 0 });
  });
});
