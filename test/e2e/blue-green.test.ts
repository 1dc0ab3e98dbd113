import { describeWithLab } from '../lab/describe-with-lab';
import { shortPlan } from '../../src/spec/short-plans';
import { lookAtService } from '../../src/targets/kubernetes/service-look';
import type { ReleaseStatus } from '../../src/workflows/api';
import { eventually } from './eventually';
import { pairChoices } from './pair';
import { ADA, labPlan, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const isKept = (status: ReleaseStatus): boolean => (status.keepOld ?? null) !== null;

describeWithLab('blue and green on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, { pair: true });

  /** A pair of which the colour that the Service finds has no pods. */
  const first =
    (play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, {
        pair: true,
        prepare: async (shop) => {
          await shop.patch('Deployment', [{ op: 'replace', path: '/spec/replicas', value: 0 }], 'shop-blue');
          await shop.settled('shop-blue');
        },
      });

  /** The status of a certain release once it is promoted; one that only waits yet is waited for. */
  async function keptBy({ ref }: Scenario, release: string): Promise<ReleaseStatus> {
    for await (const status of stack.client.watch({ ...ref, release }, { everyMs: 200 })) {
      if (isKept(status)) return status;
    }
    throw new Error(`release ${release} ended without keeping anything`);
  }

  async function endOf({ ref }: Scenario, release: string): Promise<ReleaseStatus> {
    for await (const status of stack.client.watch({ ...ref, release }, { everyMs: 200 })) {
      if (status.endedAt !== null) return status;
    }
    throw new Error(`release ${release} is not known`);
  }

  const replicas = async ({ shop }: Scenario): Promise<(number | null)[]> =>
    Promise.all(['shop-blue', 'shop-green'].map((name) => shop.replicas(name)));

  /** Of green, so that they are known again. */
  async function podsOf({ namespace }: Scenario): Promise<string[]> {
    const selection = { signal: AbortSignal.timeout(60_000), labelSelector: 'color=green' };
    const pods = await stack.cluster.list({ apiVersion: 'v1', kind: 'Pod', namespace }, selection);
    return pods.map((pod) => pod.metadata.uid ?? '').sort();
  }

  const served = ({ load }: Scenario, version: string): unknown[] =>
    load.served.filter((one) => one.version === version);

  together({
    'promotes by the switch: the pods that were tested serve, and not one request fails': scenario(async (one) => {
      await one.release('v2', pairChoices({ keepOld: '4s' }));
      await one.until((status) => status.phase === 'soaking');
      const tested = await podsOf(one);
      const status = await one.ended();

      await one.expectAllNew(status);
      expect(await podsOf(one)).toEqual(tested);
      expect(await replicas(one)).toEqual([0, 2]);
    }),

    'the first version of a pair is tested, switched to and promoted, without a failed request': first(async (one) => {
      await one.release('v2', pairChoices({ keepOld: '2s' }));
      const status = await one.ended();
      await eventually(() => one.load.countsSince(status.endedAt ?? 0)['v2'] !== undefined, 'v2 answers');
      const [answered] = one.load.served.filter(({ version }) => version === 'v2');

      expect(status.version.from).toBeNull();
      // Before it there was nobody who could answer.
      await one.expectAllNew(status, 'v2', { since: answered?.at ?? 0 });
      expect(await replicas(one)).toEqual([0, 1]);
    }),

    'a first version of a pair that fails leaves the service without traffic and without pods': first(async (one) => {
      await one.release('v3', pairChoices());
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/canary requests failed/);
      await one.expectNobodyAgain(status, 'v3');
      expect(await replicas(one)).toEqual([0, 0]);
    }),

    'goes back at once while the old version is kept, and not one request fails': scenario(async (one) => {
      await one.release('v2', pairChoices());
      const kept = await one.until(isKept);
      const pods = await replicas(one);
      await one.rollback('a hand');
      const status = await one.ended();

      expect(kept).toMatchObject({ outcome: 'promoted', phase: 'promoted' });
      expect(pods).toEqual([2, 2]);
      expect(status).toMatchObject({ outcome: 'aborted' });
      await one.expectAllOld(status);
    }),

    'a version that fails its smoke test never meets a user': scenario(async (one) => {
      const smokeTest = '{ path: /, attempts: 2, interval: 1s, expectBody: no such answer }';
      await one.release('v2', pairChoices({ smokeTest }));
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/smoke test of .* failed 2 times: Service .*\/shop-green/);
      expect(served(one, 'v2')).toEqual([]);
      await one.expectAllOld(status);
    }),

    'waits for an approval with the new version up and without a user, and then switches': scenario(async (one) => {
      const before = '    - approve: { by: [oncall], timeout: 5m }';
      await one.release('v2', pairChoices({ before, keepOld: '2s' }));
      await one.until((status) => status.phase === 'awaitingApproval');
      const waiting = [await replicas(one), served(one, 'v2').length];
      await one.approve();
      const status = await one.ended();

      expect(waiting).toEqual([[2, 2], 0]);
      await one.expectAllNew(status);
    }),

    'a version that fails after the switch is taken back by its error rate': scenario(async (one) => {
      await one.release('v3', pairChoices());
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/canary requests failed .* more than the allowed 10 %/);
      // What failed was the new version's; the old one never did.
      await one.expectAllOld(status, 'v3');
    }),

    'with a gateway some of the traffic comes first, and the route is as it was after the switch': scenario(
      async (one) => {
        const traffic = '{ gatewayAPI: { httpRoute: shop } }';
        await one.release('v2', pairChoices({ traffic, weights: [50, 100], keepOld: '2s' }));
        await one.until((status) => status.phase === 'soaking' && status.weight === 50);
        const split = await one.shop.backends();
        const status = await one.ended();

        expect(split).toEqual({ shop: 50, 'shop-green': 50 });
        await one.expectAllNew(status);
      },
    ),

    'switches back to what the idle colour runs, without naming an image, and not one request fails': scenario(
      async (one) => {
        await one.release('v2', pairChoices({ keepOld: '2s' }));
        await one.ended();
        const plan = (image: string) => labPlan(lab, one.namespace, image, pairChoices({ keepOld: '2s' }));
        const { target } = plan(one.shop.image('v1'));
        if (target.kind !== 'kubernetes') throw new Error('the lab has Kubernetes');
        const { tracks } = await lookAtService(stack.cluster, target, AbortSignal.timeout(60_000));
        const idle = tracks.find((track) => !track.active);
        const wish = { kind: 'switch', colour: 'blue', weight: 100, holdMs: 60_000 } as const;
        const short = shortPlan(plan(idle?.runs?.image ?? ''), wish);
        const { release } = await stack.client.deploy(short, { actor: ADA });
        const status = await endOf(one, release);

        expect(idle).toMatchObject({ name: 'blue', runs: { replicas: { desired: 0 } } });
        await one.expectAllNew(status, 'v1', { to: 'blue' });
      },
    ),

    'the next release ends the time in which the old version is kept, and begins': scenario(async (one) => {
      await one.release('v2', pairChoices());
      const first = await one.until(isKept);
      const next = await one.release('v1', pairChoices({ keepOld: '15s' }));
      const second = await keptBy(one, next.release);
      const both = await replicas(one);
      const status = await endOf(one, next.release);

      expect(next).toMatchObject({ behind: first.release, endsKeeping: true });
      expect(second.version.from).toBe(first.version.artifact);
      expect(both).toEqual([2, 2]);
      await one.expectAllNew(status, 'v1', { to: 'blue' });
    }),

    'has as many pods at the switch as the old colour has been given meanwhile': scenario(async (one) => {
      const before = '    - approve: { by: [oncall], timeout: 5m }';
      await one.release('v2', pairChoices({ before, keepOld: '5m' }));
      await one.until((status) => status.phase === 'awaitingApproval');
      await one.shop.patch('Deployment', [{ op: 'replace', path: '/spec/replicas', value: 3 }], 'shop-blue');
      await eventually(async () => (await replicas(one))[0] === 3, 'blue is to have three pods');
      await one.approve();
      await one.until(isKept);
      const sizes = await replicas(one);
      await one.shop.patch('Deployment', [{ op: 'replace', path: '/spec/replicas', value: 2 }], 'shop-blue');
      await one.rollback();
      const ended = await one.ended();

      expect(sizes).toEqual([3, 3]);
      // Who gets all of the traffic back is as large as who had it, whatever an autoscaler made of it without any.
      expect(await replicas(one)).toEqual([3, 0]);
      await one.shop.patch('Deployment', [{ op: 'replace', path: '/spec/replicas', value: 2 }], 'shop-blue');
      await one.expectAllOld(ended);
    }),
  });
});
