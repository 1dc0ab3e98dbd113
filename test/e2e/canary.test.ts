import { get } from 'node:http';
import { describeWithLab } from '../lab/describe-with-lab';
import { ask } from '../lab/shop';
import { shopHost } from '../lab/shop-manifests';
import type { ShopVersion } from '../lab/shop-images';
import type { ReleaseStatus, RoutingReport } from '../../src/workflows/api';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';
import { ADA, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

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

  /**
   * A version whose pods do not come up; why is said in their own words. Without a deadline of its own it is one that is
   * not waited for until then: that would take an hour.
   */
  const refused = (version: ShopVersion, why: RegExp, deployTimeout = '1h'): ((name: string) => Promise<void>) =>
    scenario(async (one) => {
      await one.release(version, { deployTimeout });
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
          await one.expectShare(weight);
          // The release's own look at what the gateway served comes to the same.
          const reports = ({ measurements }: ReleaseStatus): readonly RoutingReport[] =>
            measurements.flatMap((one) => (one.weight === weight && one.routing !== undefined ? [one.routing] : []));
          const looked = await one.until((status) => reports(status).at(-1)?.verdict === 'pass');
          expect(reports(looked).map(({ verdict }) => verdict)).not.toContain('fail');
          expect(reports(looked).at(-1)).toMatchObject({ asked: weight / 100 });
          await stack.client.skipSoak(one.ref, { actor: ADA });
        }
        await one.rollback();
        await one.expectAllOld(await one.ended());
      },
    ),

    'takes a version back by its error rate': takenBack('v3', /canary requests failed .* more than the allowed 10 %/),
    'takes a version back by its latency': takenBack('slow', /p95-latency/),
    'refuses a version that crashes at once, before it gets any traffic': refused(
      'crash',
      /container shop crashes again and again \(exit code 1/,
    ),
    'refuses a version that is never ready, at its deadline': refused(
      'unready',
      /Not ready within 25 s: .*runs but is not ready: its probes do not pass yet/,
      '25s',
    ),
    'refuses a version that takes too much memory at once': refused(
      'oom',
      /container shop was killed for using more memory than its limit \(OOMKilled/,
    ),

    'says in the scheduler’s words that no node takes the new pods, and does not wait for one': scenario(
      async (one) => {
        await one.release('v2', { deployTimeout: '1h' });
        const status = await one.ended();

        expect(status.outcome).toBe('rolledBack');
        expect(status.message).toMatch(/finds no node for \d+ s: .*anti-affinity/);
        await one.expectAllOld(status);
      },
      {
        replicas: 1,
        prepare: async (shop) => {
          await standAlone(shop);
          const answered = async (): Promise<boolean> => (await ask(lab, shopHost(shop.namespace))).version === 'v1';
          await eventually(answered, 'the gateway leads to the shop again');
        },
      },
    ),

    'says at once, before anything is changed, that an image is not there': scenario(async (one) => {
      await one.releaseImage(`${lab.registry}/shop:nothing`);
      const status = await one.ended();

      expect(status.message).toMatch(/shop:nothing|no such image/i);
      expect(status.events.map((event) => event.type)).not.toContain('deployed');
      await one.expectAllOld(status);
    }),

    'fails in the kubelet’s words when an image cannot be pulled': scenario(async (one) => {
      const kubernetes = '      resolveImage: never';
      await one.releaseImage(`${lab.registry}/shop:nothing`, { kubernetes, deployTimeout: '1h' });
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

    'takes a promotion back whose new pods cannot be made, while the canary carries the traffic': scenario(
      async (one) => {
        await one.release('v2', { weights: [100], deployTimeout: '1h' });
        await one.until((status) => status.phase === 'soaking' && status.weight === 100);
        // As many pods as there are: a rolling update has no room for its first.
        const spec = { hard: { pods: '4' } };
        await one.shop.create({ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'no-more' }, spec });
        await one.until((status) => status.phase === 'promoting');
        const promoting = Date.now();
        await one.until((status) => status.phase === 'rollingBack');
        const meanwhile = one.load.countsSince(promoting);
        const status = await one.ended();

        expect(status.outcome).toBe('rolledBack');
        expect(status.message).toMatch(/exceeded quota: no-more/);
        expect(Object.keys(meanwhile)).toEqual(['v2']);
        await one.expectAllOld(status);
      },
    ),

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

/** No pod of an app is on a node on which another one is; the lab has one node, and stable is there. */
async function standAlone(shop: LabShop): Promise<void> {
  const labelSelector = { matchExpressions: [{ key: 'app', operator: 'Exists' }] };
  const terms = [{ labelSelector, topologyKey: 'kubernetes.io/hostname' }];
  const affinity = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } };
  const scale = (replicas: number) => ({ op: 'replace', path: '/spec/replicas', value: replicas }) as const;
  await shop.patch('Deployment', [scale(0), { op: 'add', path: '/spec/template/spec/affinity', value: affinity }]);
  await shop.settled();
  await shop.patch('Deployment', [scale(1)]);
  await shop.settled();
}

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
