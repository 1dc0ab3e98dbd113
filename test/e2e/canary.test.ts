import { get } from 'node:http';
import { describeWithLab } from '../lab/describe-with-lab';
import { shopHost } from '../lab/shop-manifests';
import type { ShopVersion } from '../lab/shop-images';
import { ADA, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { eventually, Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

describeWithLab('a canary on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (play: (scenario: Scenario) => Promise<void>, more: Parameters<typeof Scenario.run>[4] = {}) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, more);

  /** A version that the evidence takes back. */
  const takenBack = (version: ShopVersion, why: RegExp): ((name: string) => Promise<void>) =>
    scenario(async (one) => {
      await one.release(version);
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(why);
      // What failed was the canary's; stable never did.
      await one.expectAllOld(status, version);
    });

  /** A version whose pods do not come up; why is said in their own words. */
  const refused = (version: ShopVersion, why: RegExp): ((name: string) => Promise<void>) =>
    scenario(async (one) => {
      await one.release(version, { deployTimeout: '25s' });
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(why);
      expect(one.load.served.filter((served) => served.version === version)).toEqual([]);
      await one.expectAllOld(status);
    });

  together({
    'promotes a healthy version, and not one request fails': scenario(async (one) => {
      await one.release('v2');
      const status = await one.ended();

      await one.expectAllNew(status);
      const weights = status.events.filter((event) => event.type === 'weightChanged').map((event) => event.weight);
      expect(weights).toEqual([25, 50, 100, 50, 0]);
    }),

    'splits as it was asked to at each weight, by a chi-squared test of what the gateway served': scenario(
      async (one) => {
        await one.release('v2', { weights: [10, 50, 80, 100], soak: '5m' });
        for (const weight of [10, 50, 80]) {
          await one.until((status) => status.phase === 'soaking' && status.weight === weight);
          // Traefik takes a changed configuration at most every two seconds.
          const since = Date.now() + 2_500;
          const answers = (): number => Object.values(one.load.countsSince(since)).reduce((a, b) => a + b, 0);
          await one.until((status) => answers() >= 300 || status.weight !== weight);
          const { v1 = 0, v2 = 0, ...others } = one.load.countsSince(since);
          expect(others).toEqual({});
          expect(v1 + v2).toBeGreaterThanOrEqual(300);
          const expected = { v1: ((v1 + v2) * (100 - weight)) / 100, v2: ((v1 + v2) * weight) / 100 };
          const chiSquared = (v1 - expected.v1) ** 2 / expected.v1 + (v2 - expected.v2) ** 2 / expected.v2;
          process.stderr.write(`e2e: at ${weight} %: ${v1} old, ${v2} new, chi-squared ${chiSquared.toFixed(2)}\n`);
          // One degree of freedom; a split that is right fails this once in a hundred thousand looks.
          expect(chiSquared).toBeLessThan(19.5);
          await stack.client.skipSoak(one.ref, { actor: ADA });
        }
        await one.rollback();
        await one.expectAllOld(await one.ended());
      },
    ),

    'takes a version back by its error rate': takenBack('v3', /canary requests failed .* more than the allowed 10 %/),
    'takes a version back by its latency': takenBack('slow', /p95-latency/),
    'refuses a version that crashes, before it gets any traffic': refused('crash', /exit code|CrashLoopBackOff|crash/i),
    'refuses a version that is never ready': refused('unready', /ready/),
    'refuses a version that takes too much memory': refused('oom', /memory|OOM/),

    'says at once, before anything is changed, that an image is not there': scenario(async (one) => {
      await one.releaseImage(`${lab.registry}/shop:nothing`);
      const status = await one.ended();

      expect(status.message).toMatch(/shop:nothing|no such image/i);
      expect(status.events.map((event) => event.type)).not.toContain('deployed');
      await one.expectAllOld(status);
    }),

    'fails in the kubelet’s words when an image cannot be pulled': scenario(async (one) => {
      await one.releaseImage(`${lab.registry}/shop:nothing`, { kubernetes: '      resolveImage: never' });
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/pull|not found/i);
      await one.expectAllOld(status);
    }),

    'waits for an approval, and a roll back by hand takes the traffic first': scenario(async (one) => {
      await one.release('v2', {
        before: '    - { weight: 10, soak: 4s }\n    - approve: { by: [oncall], timeout: 5m }',
        weights: [50, 100],
        soak: '60s',
      });
      await one.until((status) => status.phase === 'awaitingApproval');
      await one.approve();
      await one.until((status) => status.weight === 50);
      await one.rollback('a hand');
      const status = await one.ended();

      expect(status).toMatchObject({ outcome: 'aborted' });
      expect(status.message).toMatch(/a hand/);
      await one.expectAllOld(status);
    }),

    'gives marked requests the new version before anybody else': scenario(async (one) => {
      await one.release('v2', {
        before: '    - match: { header: { x-canary: "true" } }\n    - approve: { by: [oncall], timeout: 5m }',
        weights: [100],
      });
      await one.until((status) => status.phase === 'awaitingApproval');
      // The gateway takes a moment from the status that it gives to the requests that it serves.
      const marked = (): Promise<string | null> => versionOfMarked(lab.gatewayUrl, shopHost(one.namespace));
      await eventually(async () => (await marked()) === 'v2', 'a marked request gets the new version');
      expect(one.load.served.filter((served) => served.version === 'v2')).toEqual([]);
      await one.rollback();

      await one.expectAllOld(await one.ended());
    }),
  });
});

/** The version that serves a marked request. */
function versionOfMarked(url: string, host: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    // fetch does not let the Host header be set.
    get(url, { headers: { host, 'x-canary': 'true' } }, (response) => {
      response.resume();
      const version = response.headers['x-version'];
      response.once('end', () => resolve(typeof version === 'string' ? version : null));
    }).once('error', reject);
  });
}
