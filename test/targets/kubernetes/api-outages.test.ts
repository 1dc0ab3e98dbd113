import { ApiOutages } from '../../../src/targets/kubernetes/api-outages';

describe('an outage of an API server', () => {
  let now: number;
  let outages: ApiOutages;

  beforeEach(() => {
    now = 1_000_000;
    outages = new ApiOutages(() => now);
  });

  function away(ms: number): void {
    outages.failed(now);
    now += ms;
    outages.answered();
  }

  it('nobody has seen is none', () => {
    outages.answered();

    expect(outages.followedInMs()).toBe(0);
  });

  it.each([
    [3_000, 28_000],
    [10_000, 70_000],
    [30_000, 130_000],
    [3_600_000, 130_000],
  ])('of %i ms is over for all after %i ms more', (lasted, follow) => {
    away(lasted);

    expect(outages.followedInMs()).toBe(follow);
    now += follow - 1;
    expect(outages.followedInMs()).toBe(1);
    now += 1;
    expect(outages.followedInMs()).toBe(0);
  });

  it('is told with when it began, while it lasts and once it is no cut connection', () => {
    outages.failed(now);
    now += 2_999;
    const atFirst = outages.awaySince();
    now += 1;
    const since = outages.awaySince();
    now += 60_000;
    outages.failed(now);
    const later = outages.awaySince();
    outages.answered();

    expect(atFirst).toBeNull();
    expect(since).not.toBeNull();
    // To the millisecond: what is said of one failure is what is said of the next.
    expect(later).toBe(since);
    expect(outages.awaySince()).toBeNull();
  });

  it('is none when it was a cut connection', () => {
    away(2_999);

    expect(outages.followedInMs()).toBe(0);
  });

  it('begins with the first try that failed, and ends with the first that did not', () => {
    outages.failed(now);
    now += 9_000;
    outages.failed(now);
    now += 1_000;
    outages.answered();
    now += 5_000;
    outages.answered();

    expect(outages.followedInMs()).toBe(65_000);
  });

  it('is there while it lasts, as if it ended now', () => {
    outages.failed(now);
    now += 2_999;
    expect(outages.followedInMs()).toBe(0);
    now += 7_001;
    expect(outages.followedInMs()).toBe(70_000);
    now += 3_600_000;
    expect(outages.followedInMs()).toBe(130_000);
  });

  it('is as long as the tries that it swallowed', () => {
    const began = now;
    now += 10_000;
    outages.failed(began);
    now += 1_000;
    outages.answered();

    expect(outages.followedInMs()).toBe(76_000);
  });

  it('is none where one try hangs while others are answered', () => {
    const began = now;
    now += 9_000;
    outages.answered();
    now += 1_000;
    outages.failed(began);
    now += 500;
    outages.answered();

    expect(outages.followedInMs()).toBe(0);
  });

  it.each([1, 10_000, 3_600_000])('of %i ms is just over for 30 s after it', (lasted) => {
    expect(outages.isJustBack()).toBe(false);
    outages.failed(now);
    now += lasted;
    expect(outages.isJustBack()).toBe(true);
    outages.answered();
    now += 29_999;
    outages.answered();

    expect(outages.isJustBack()).toBe(true);
    now += 1;
    expect(outages.isJustBack()).toBe(false);
  });

  it('a short one after a long one shortens nothing', () => {
    away(30_000);
    now += 1_000;
    away(4_000);

    expect(outages.followedInMs()).toBe(125_000);
  });
});
