import { observedShare } from '../../src/analysis/observed-share';
import { events, noData, sampleOf, value } from './samples';

describe('observed share', () => {
  it('is the share of the canary in all requests', () => {
    const sample = sampleOf({ name: 'error-rate', canary: events(0, 50), stable: events(0, 950) });

    expect(observedShare(sample)).toBe(0.05);
  });

  it('is taken from the metric that saw most', () => {
    const sample = sampleOf(
      { name: 'one-route', canary: events(0, 5), stable: events(0, 5) },
      { name: 'p95-latency', canary: value(1, 100), stable: value(1, 900) },
    );

    expect(observedShare(sample)).toBe(0.1);
  });

  it('is 1 when only the canary has requests', () => {
    expect(observedShare(sampleOf({ name: 'e', canary: events(0, 50), stable: events(0, 0) }))).toBe(1);
  });

  it.each([
    ['no requests', { name: 'e', canary: events(0, 0), stable: events(0, 0) }],
    ['no stable track', { name: 'e', canary: events(0, 10), stable: null }],
    ['counts of one track only', { name: 'e', canary: events(0, 10), stable: noData() }],
    ['values without counts', { name: 'e', canary: value(1), stable: value(1) }],
  ])('is not known with %s', (_name, metric) => {
    expect(observedShare(sampleOf(metric))).toBeNull();
  });
});
