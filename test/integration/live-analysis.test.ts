import { LIVE_ENVIRONMENT, playLiveReleases, predictRequests } from '../../bench/lib/live-releases';
import type { LiveOptions, LivePlayed } from '../../bench/lib/live-releases';
import { createActivities } from '../../src/activities/activities';
import { binomialUpperTail } from '../../src/analysis/binomial';
import type { Plan } from '../../src/spec/plan-types';
import { createDeps } from '../../src/worker/create-deps';
import { describeWithPrometheus } from '../metrics/prometheus-executable';
import { driveRelease } from './drive-release';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(240_000);

// `./scripts/bench live-analysis` plays 200 of them.
describeWithPrometheus('releases judged by a Prometheus that scrapes them', (prometheus) => {
  const deps = createDeps(LIVE_ENVIRONMENT);
  const activities = createActivities(deps);
  afterAll(() => deps.close());

  const usual = {
    release: (plan: Plan): Promise<LivePlayed> => driveRelease(activities, plan),
    prometheus,
    soak: '6s',
    requestsPerSecond: 200,
    base: 0.02,
  };

  it('are promoted when nothing has changed, but for as many as alpha allows', async () => {
    const releases = await playLiveReleases({ ...usual, releases: 20, weights: [5, 25, 50, 100], times: 1 });

    expect(releases.filter(({ outcome }) => outcome === 'other')).toEqual([]);
    const alarms = releases.filter(({ outcome }) => outcome === 'failed').length;
    // Three and more of 20 have a chance of one in a thousand at alpha = 0.01.
    expect(binomialUpperTail(alarms, 20, 0.01)).toBeGreaterThan(0.0005);
  });

  it('are failed when ten times the errors are injected, after no more requests than predicted', async () => {
    const options: LiveOptions = { ...usual, releases: 5, weights: [25, 100], times: 10, soak: '30s' };
    const releases = await playLiveReleases(options);
    const predicted = predictRequests(options);

    expect(releases.map(({ outcome }) => outcome)).toEqual(releases.map(() => 'failed'));
    for (const { message } of releases) expect(message).toMatch(/proven worse than stable/);
    // 95 % of them; of five, one may be later.
    const later = releases.filter(({ canaryRequests }) => canaryRequests > predicted);
    expect(later.length).toBeLessThanOrEqual(1);
  });
});
