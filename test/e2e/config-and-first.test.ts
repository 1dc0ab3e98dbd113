import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import { configNamedBy } from '../../src/targets/kubernetes/pod-config';
import { describeWithLab } from '../lab/describe-with-lab';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const SNAPSHOT = { kubernetes: '      config: snapshot' };

/** What the shop reads its mistakes from: none, and then as many as a test says. */
const SETTINGS = 'settings';

describeWithLab('settings of a version, and the first version of a service, on a real cluster', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (prepare: (shop: LabShop) => Promise<void>, play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, { prepare });

  together({
    'a bad setting is taken back with the version that brought it': scenario(withSettings, async (one) => {
      await failing(one.shop, 0.5);
      await one.release('v2', SNAPSHOT);
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/canary requests failed/);
      // Not one copy is left, and stable's pods were never touched.
      await one.expectAllOld(status, 'v2');
      expect(await named(one.shop)).toEqual([SETTINGS]);
    }),

    'what was proven is promoted, whatever becomes of the original; the next release takes that, and collects':
      scenario(withSettings, async (one) => {
        await one.release('v2', SNAPSHOT);
        await one.until((status) => status.phase === 'soaking');
        await failing(one.shop, 1);
        const status = await one.ended();

        expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
        expect(one.lost()).toEqual([]);
        const first = await named(one.shop);
        expect(first).toEqual([expect.stringMatching(/^settings-[0-9a-f]{10}$/)]);
        expect(await settings(one.shop)).toEqual([SETTINGS, ...first]);
        expect((await one.shop.find('ConfigMap', first[0]))?.['data']).toEqual({ SHOP_ERROR_SHARE: '0' });

        await failing(one.shop, 0.0001);
        const { release } = await stack.client.status(one.ref);
        await one.release('v1', SNAPSHOT);
        await one.until((next) => next.release !== release);
        const next = await one.ended();

        expect(`${next.outcome}: ${next.message}`).toMatch(/^promoted/);
        const second = await named(one.shop);
        expect(second).not.toEqual(first);
        expect(await settings(one.shop)).toEqual([SETTINGS, ...second]);
        expect((await one.shop.find('ConfigMap', second[0]))?.['data']).toEqual({ SHOP_ERROR_SHARE: '0.0001' });
        // That it fails one of ten thousand is its setting; more would be failed by chance in a window of few requests.
        expect(one.lost('v1')).toEqual([]);
      }),

    'the first version gets traffic after its smoke test, all of it, and is promoted without a failed request':
      scenario(withoutPods, async (one) => {
        await unserved(one);
        const since = Date.now();
        await one.release('v2');
        const status = await one.ended();
        await eventually(() => one.load.countsSince(status.endedAt ?? 0)['v2'] !== undefined, 'v2 answers');
        const served = (await one.load.stop()).filter(({ at }) => at >= since);

        expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
        expect(status.version.from).toBeNull();
        expect(status.steps.map(({ kind, state }) => `${kind} ${state}`)).toEqual([
          'deploy passed',
          'smokeTest passed',
          'weight skipped',
          'weight skipped',
          'weight passed',
          'promote passed',
        ]);
        const tested = status.events.find(({ type }) => type === 'smokeTestPassed')?.at ?? 0;
        const answered = served.filter(({ status: code }) => code === 200);
        expect(answered.filter(({ at, version }) => version !== 'v2' || at < tested)).toEqual([]);
        const [first] = answered;
        // Before it there was nobody who could answer.
        expect(one.lost(undefined, { since: first?.at ?? 0 })).toEqual([]);
        expect(await one.shop.imageOf()).toBe(status.version.artifact);
        expect(await one.shop.replicas()).toBe(1);
        expect(await one.shop.objects()).toEqual(['Deployment/shop', 'HTTPRoute/shop', 'Service/shop']);
        expect(await one.shop.backends()).toEqual({ shop: 1 });
      }),

    'a first version that fails leaves the service without traffic and without pods': scenario(
      withoutPods,
      async (one) => {
        const image = await one.shop.imageOf();
        await one.release('v3');
        const status = await one.ended();

        expect(status.outcome).toBe('rolledBack');
        expect(status.message).toMatch(/canary requests failed .* more than the allowed 10 %/);
        expect([await one.shop.imageOf(), await one.shop.replicas()]).toEqual([image, 0]);
        expect(await one.shop.objects()).toEqual(['Deployment/shop', 'HTTPRoute/shop', 'Service/shop']);
        expect(await one.shop.backends()).toEqual({ shop: 1 });
        // A pod that is going answers whom a gateway still sends to it, which may have much to do.
        await one.shop.drained();
        const since = Date.now();
        await eventually(
          () => one.load.served.filter(({ at }) => at >= since).length >= 10,
          'ten requests are answered',
        );
        expect(one.load.served.filter(({ at, version }) => at >= since && version !== null)).toEqual([]);
        // Those of before and after it are lost by there being nobody, as they were before.
        const lost = one.lost('v3');
        expect(lost.filter(({ version }) => version !== null)).toEqual([]);
      },
    ),
  });
});

/** The shop as a user has it who keeps its settings in a ConfigMap. */
async function withSettings(shop: LabShop): Promise<void> {
  await shop.create({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: SETTINGS },
    data: { SHOP_ERROR_SHARE: '0' },
  });
  const value = [{ configMapRef: { name: SETTINGS } }];
  await shop.patch('Deployment', [{ op: 'add', path: '/spec/template/spec/containers/0/envFrom', value }]);
  await shop.settled();
}

async function withoutPods(shop: LabShop): Promise<void> {
  await shop.patch('Deployment', [{ op: 'replace', path: '/spec/replicas', value: 0 }]);
  await shop.settled();
}

/** The gateway has noticed that the pods are gone. */
async function unserved({ load }: Scenario): Promise<void> {
  await eventually(() => {
    const counts = load.countsSince(Date.now() - 2_000);
    return Object.keys(counts).length > 0 && counts['v1'] === undefined;
  }, 'nobody answers any more');
}

function failing(shop: LabShop, share: number): Promise<void> {
  return shop.patch('ConfigMap', [{ op: 'replace', path: '/data/SHOP_ERROR_SHARE', value: `${share}` }], SETTINGS);
}

async function named(shop: LabShop): Promise<string[]> {
  const { template } = (await shop.find('Deployment'))?.['spec'] as { template: Readonly<Record<string, unknown>> };
  return configNamedBy([template]).map(({ name }) => name);
}

async function settings(shop: LabShop): Promise<string[]> {
  const found: ReadonlyMap<string, KubernetesObject> = await shop.found();
  return [...found.values()].filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name);
}
