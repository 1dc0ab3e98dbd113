import { ApiOutages } from '../../../src/targets/kubernetes/api-outages';
import { createBlueGreenTarget } from '../../../src/targets/kubernetes/blue-green/blue-green-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { lookAtService } from '../../../src/targets/kubernetes/service-look';
import type { ServiceLook } from '../../../src/targets/kubernetes/service-look';
import type { KubernetesTargetPlan, TrafficPlan } from '../../../src/spec/plan-types';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { createTrafficRouter } from '../../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../../src/traffic/create-traffic-router';
import type { TrafficDocument } from '../../../src/traffic/traffic-router';
import { eventually } from '../instance';
import { describeWithApiServer, installDefinitions } from './api-server';
import { requestsOf } from './counted-requests';
import { DeploymentController } from './deployment-controller';
import { hurried } from './hurried';
import { targetPlan } from './target-plans';
import { failureOf } from '../failure-of';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const signal = AbortSignal.timeout(10 * 60_000);

type Who = { release?: string; epoch?: number; version?: string };

function write(step: number, { version = V2, ...who }: Who = {}): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt: 2, ...who };
  return { version, artifact: version, fence, signal, timeoutMs: 20_000 };
}

function shift(
  step: number,
  weight: number,
  previousWeight: number,
  who: Who = {},
): Parameters<Target['setWeight']>[0] {
  return { ...write(step, who), weight, previousWeight, match: [] };
}

const promotion = { release: 'r1', smokeTest: null, timeoutMs: 20_000 };

describeWithApiServer('a pair of Deployments, blue and green, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let target: Target;
  let count = 0;
  const written: string[] = [];
  /** Somebody points the Service elsewhere as soon as the release has written to it, as a sync may. */
  let undoing: Record<string, string> | null = null;
  let undone = 0;
  const undo = async (answer: KubernetesObject): Promise<KubernetesObject> => {
    const patch = { spec: { selector: undoing } };
    await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch }, { signal });
    undone += 1;
    return answer;
  };

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['traefikservices', 'httproutes']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `blue-green-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    for (const object of [deployment('blue', V1), service(), split()]) await cluster.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    target = targetOf();
  });

  afterEach(async () => {
    undoing = null;
    undone = 0;
    await controller.stop();
  });
  afterAll(() => cluster.close());

  /** The same cluster, with what is written to it noted. */
  const noting = (real: Cluster): Cluster =>
    new Proxy(real, {
      get: (from, key: keyof Cluster) => {
        const value = from[key];
        if (typeof value !== 'function') return value;
        if (key !== 'patch') return value.bind(from);
        const patch: Cluster['patch'] = (ref, ...more) => {
          written.push(`${ref.kind}/${ref.name}`);
          const patched = from.patch(ref, ...more);
          return undoing && ref.kind === 'Service' && ref.name === 'checkout' ? patched.then(undo) : patched;
        };
        return patch;
      },
    });
  const targetOf = (changes: Parameters<typeof targetPlan>[0] = {}): Target =>
    createBlueGreenTarget(
      targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' }, ...changes }),
      {
        cluster: noting(cluster),
        resolve: async (image) => `${image}@resolved`,
        gatewaysHear: () => Promise.resolve(),
      },
    );
  const splitting = (): Target => targetOf({ traffic: { kind: 'traefik', traefikService: 'checkout-split' } });

  function deployment(colour: 'blue' | 'green', image: string, more: { replicas?: number } = {}): KubernetesObject {
    const labels = { app: 'checkout', color: colour };
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: `checkout-${colour}`, namespace, labels },
      spec: {
        replicas: 3,
        ...more,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'web', image }] } },
      },
    };
  }

  function service(): KubernetesObject {
    return {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'checkout', namespace },
      spec: { selector: { app: 'checkout', color: 'blue' }, ports: [{ port: 80, targetPort: 8080 }] },
    };
  }

  function split(): KubernetesObject {
    return {
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'TraefikService',
      metadata: { name: 'checkout-split', namespace },
      spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
    };
  }

  function route(): KubernetesObject {
    return {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'checkout', namespace },
      spec: { parentRefs: [{ name: 'gateway' }], rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }] },
    };
  }

  const refOf = (kind: 'Deployment' | 'Service' | 'TraefikService', name: string) => {
    const apiVersion = { Deployment: 'apps/v1', Service: 'v1', TraefikService: 'traefik.io/v1alpha1' }[kind];
    return { apiVersion, kind, namespace, name };
  };
  const find = (kind: Parameters<typeof refOf>[0], name: string): Promise<KubernetesObject | null> =>
    cluster.find(refOf(kind, name), { signal });
  const specOf = async <T>(kind: Parameters<typeof find>[0], name: string): Promise<T> =>
    ((await find(kind, name)) ?? { spec: {} })['spec'] as T;
  const selectorOf = async (name = 'checkout'): Promise<Record<string, string>> =>
    (await specOf<{ selector: Record<string, string> }>('Service', name)).selector;
  const replicasOf = async (colour: string): Promise<number> =>
    (await specOf<{ replicas: number }>('Deployment', `checkout-${colour}`)).replicas;
  const templateOf = async (
    colour: string,
  ): Promise<{ metadata: { labels: Record<string, string> }; spec: { containers: { image: string }[] } }> =>
    (await specOf<{ template: never }>('Deployment', `checkout-${colour}`)).template;
  const imageOf = async (colour: string): Promise<string> => (await templateOf(colour)).spec.containers[0]?.image ?? '';
  const weights = async (): Promise<Record<string, number>> => {
    const { weighted } = await specOf<{ weighted: { services: { name: string; weight: number }[] } }>(
      'TraefikService',
      'checkout-split',
    );
    return Object.fromEntries(weighted.services.map((one) => [one.name, one.weight]));
  };
  const notesOn = async (kind: Parameters<typeof find>[0], name: string): Promise<string[]> =>
    Object.keys((await find(kind, name))?.metadata.annotations ?? {}).filter((key) => key.startsWith('sluice.dev/'));
  const release = async (who: Who = {}): Promise<void> => {
    await target.deploy(write(1, who));
    await target.setWeight(shift(2, 100, 0, who));
    await target.promote({ ...write(3, who), ...promotion });
  };

  it('looks: the active colour is the one that the Service finds, and the image is had by its digest', async () => {
    expect(await targetOf({ resolveImage: 'registry' }).observe({ version: V2, signal })).toEqual({
      stableVersion: V1,
      canaryVersion: null,
      weight: 0,
      artifact: `${V2}@resolved`,
      idle: 'green',
    });
    expect(await notesOn('Service', 'checkout')).toEqual([]);
  });

  it('makes the idle colour after the active one, with its size and a preview, and switches in one write', async () => {
    const said = await target.deploy(write(1));

    expect(said).toMatch(/checkout-green with 3 ready pods, as many as checkout-blue has/);
    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
    expect(await selectorOf('checkout-green')).toEqual({ app: 'checkout', color: 'green' });
    expect(await selectorOf('checkout-blue')).toEqual({ app: 'checkout', color: 'blue' });
    expect((await templateOf('green')).metadata.labels).toEqual({
      app: 'checkout',
      color: 'green',
      'sluice.dev/service': 'checkout',
      'sluice.dev/track': 'green',
    });

    const pods = await templateOf('green');
    written.length = 0;
    await target.setWeight(shift(2, 100, 0));

    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'green' });
    expect(written).toEqual(['Service/checkout']);

    await target.promote({ ...write(3), ...promotion });

    // What was tested is what serves.
    expect(await templateOf('green')).toEqual(pods);
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 3]);

    const ended = await target.removeCanary(write(4));

    expect(ended).toMatch(/checkout-blue is without pods; checkout-green has all of the traffic\.$/);
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([0, 3]);
    expect(await imageOf('blue')).toBe(V1);
    expect(await notesOn('Service', 'checkout')).toEqual(['sluice.dev/fence']);
    expect(await notesOn('Deployment', 'checkout-green')).toEqual(['sluice.dev/fence']);
  });

  it('asks each object once in an operation, and again what may have changed', async () => {
    const counter = new RequestCounter();
    const counted = server().connect({ counter });
    const plan = targetPlan({
      namespace,
      strategy: 'blueGreen',
      traffic: { kind: 'traefik', traefikService: 'checkout-split' },
    });
    const release = createBlueGreenTarget(plan, { cluster: counted, resolve: (image) => Promise.resolve(image) });
    await release.deploy(write(1));
    const raised = await requestsOf(counter, release.setWeight(shift(2, 25, 0)));
    const looked = await requestsOf(counter, release.reassert({ ...write(3), weight: 25, match: [] }));
    const switched = await requestsOf(counter, release.setWeight(shift(4, 100, 25)));
    const back = await requestsOf(counter, release.setWeight({ ...shift(5, 0, 100), back: true }));
    counted.close();

    const reads = { 'get deployments.apps': 2, 'get services': 1 };
    const split = 'traefikservices.traefik.io';
    // The preview is where the share is sent.
    expect(looked).toEqual({ ...reads, 'get services': 2, [`get ${split}`]: 1 });
    // The split is read back once it is written, and the Service gets the fence.
    expect(raised).toEqual({
      ...reads,
      'patch services': 1,
      [`get ${split}`]: 2,
      [`patch ${split}`]: 1,
    });
    // The switch itself is one write, and is read back; the split is handed back in two, the last of which owns nothing.
    expect(switched).toEqual({
      ...reads,
      'get services': 2,
      'patch services': 1,
      [`get ${split}`]: 1,
      [`patch ${split}`]: 2,
    });
    expect(back).toEqual({
      ...reads,
      'patch services': 1,
      'patch deployments.apps': 1,
      [`get ${split}`]: 1,
      [`patch ${split}`]: 1,
    });
  });

  describe('whose Service somebody points elsewhere as soon as it is written', () => {
    const BLUE = { app: 'checkout', color: 'blue' };
    const GREEN = { app: 'checkout', color: 'green' };

    it('is not said to be switched, and is pointed back', async () => {
      await target.deploy(write(1));
      written.length = 0;
      undoing = BLUE;
      const failed = await hurried(() => failureOf(target.setWeight(shift(2, 100, 0))));

      expect(failed.kind).toBe('unreachable');
      expect(failed.message).toMatch(
        /^Service \S+\/checkout was pointed to Deployment checkout-green, but that is not in force: .* was at 0 % instead of 100 %\. It was pointed back to checkout-blue\.$/,
      );
      // The first write of it, and the one that takes it back.
      expect(written).toEqual(['Service/checkout', 'Service/checkout']);
      expect([await selectorOf(), await replicasOf('blue')]).toEqual([BLUE, 3]);
    });

    it('is said to be switched once it is', async () => {
      await target.deploy(write(1));
      written.length = 0;
      undoing = BLUE;
      let said: string | null = null;
      const switched = target.setWeight(shift(2, 100, 0)).then((sentence) => (said = sentence));
      await eventually(() => undone > 0, 'it is undone');
      const before = said;
      const patch = { spec: { selector: GREEN } };
      await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch }, { signal });

      expect(await switched).toMatch(/checkout-green: all of the traffic, in one write, and it is in force\.$/);
      expect(before).toBeNull();
    });

    it('is neither promoted nor taken back by hand without its being so', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      undoing = BLUE;
      const promoted = await hurried(() => failureOf(target.promote({ ...write(3), ...promotion })));
      undoing = null;
      await target.setWeight(shift(4, 100, 100));
      undoing = GREEN;
      const lowered = await hurried(() => failureOf(target.setWeight(shift(5, 0, 100))));

      expect([promoted.kind, lowered.kind]).toEqual(['unreachable', 'unreachable']);
      expect(promoted.message).toMatch(/ was pointed to Deployment checkout-green, but that is not in force: .* 0 %/);
      expect(lowered.message).toMatch(/ was pointed to Deployment checkout-blue, but that is not in force: .* 100 %/);
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 3]);
    });

    it('is not said to share its traffic after the switch before it finds the old one', async () => {
      const target = splitting();
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      undoing = GREEN;
      const lowered = await hurried(() => failureOf(target.setWeight(shift(3, 25, 100))));

      expect(lowered.message).toMatch(/ was pointed to Deployment checkout-blue, but that is not in force: .* 100 %/);
      expect(await weights()).toEqual({ checkout: 75, 'checkout-green': 25 });
    });

    it('is told by a look that has put it right and does not find it so', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      const patch = { spec: { selector: BLUE } };
      await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch }, { signal });
      undoing = BLUE;
      const { foreignEdits } = await target.reassert({ ...write(3), weight: 100, match: [] });

      expect(foreignEdits).toEqual([
        expect.stringMatching(/^Service .*\/checkout was at 0 % instead of 100 %/),
        expect.stringMatching(/^The weight 100 % was written again, and is not known to be in force: Service .* 0 %/),
      ]);
    });
  });

  it('the next release goes the other way, to the colour that is idle then', async () => {
    await release();
    await target.removeCanary(write(4));
    const r2 = { release: 'r2', epoch: 2, version: 'registry.example/shop:v3' };

    expect(await target.observe({ version: r2.version, signal })).toMatchObject({ stableVersion: V2, weight: 0 });
    const said = await target.deploy(write(1, r2));
    await target.setWeight(shift(2, 100, 0, r2));

    expect(said).toMatch(/checkout-blue with 3 ready pods/);
    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
    expect([await imageOf('blue'), await imageOf('green')]).toEqual([r2.version, V2]);

    await target.setWeight(shift(3, 0, 100, r2));
    await target.removeCanary(write(4, r2));

    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'green' });
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([0, 3]);
  });

  describe('without a release in progress', () => {
    const plan = (traffic: TrafficPlan): KubernetesTargetPlan =>
      targetPlan({ namespace, strategy: 'blueGreen', traffic });
    const look = (traffic: TrafficPlan = { kind: 'serviceSelector' }): Promise<ServiceLook> =>
      lookAtService(cluster, plan(traffic), signal);

    it('a look shows which colour is active, and a switch takes up what the idle one runs', async () => {
      await release();
      const kept = await look();
      // As `sluice switch blue` does: a release of the version that blue runs already.
      const back = { release: 'r2', epoch: 2, version: V1 };
      await target.removeCanary(write(4));
      expect(await target.observe({ version: V1, signal })).toMatchObject({ idle: 'blue' });
      await release(back);
      const after = await look();

      expect(kept.tracks.map(({ name, active, runs }) => [name, active, runs?.image])).toEqual([
        ['green', true, V2],
        ['blue', false, V1],
      ]);
      expect(kept.fence).toMatchObject({ release: 'r1', step: 3 });
      expect(await selectorOf()).toMatchObject({ color: 'blue' });
      expect(after.tracks[0]).toMatchObject({
        name: 'blue',
        active: true,
        runs: { image: V1, replicas: { desired: 3 } },
      });
      expect(after.traffic).toMatchObject({ weight: 0, remarks: [] });
    });

    it('a clean-up takes the idle colour’s share and pods, and nothing of the active one', async () => {
      const traffic: TrafficPlan = { kind: 'traefik', traefikService: 'checkout-split' };
      const left = splitting();
      await left.deploy(write(1));
      await left.setWeight(shift(2, 40, 0));
      const before = await look(traffic);
      const later = { release: 'r2', epoch: 2 };
      const { weight } = await left.observe({ version: V2, signal });
      await left.setWeight(shift(1, 0, weight, later));
      const cut = await weights();
      await left.removeCanary(write(2, later));
      const after = await look(traffic);

      expect(before.traffic).toMatchObject({ by: 'traefik', weight: 40 });
      expect(before.leftovers).toEqual([
        'green, which is idle, gets 40 % of the traffic.',
        `Service ${namespace}/checkout is still marked as that of release r1.`,
        `Deployment ${namespace}/checkout-green is still marked as that of release r1.`,
        `Deployment ${namespace}/checkout-green is idle and still has 3 pods.`,
      ]);
      expect(weight).toBe(40);
      expect(cut['checkout-green'] ?? 0).toBe(0);
      expect(after).toMatchObject({ traffic: { weight: 0 }, leftovers: [], fence: { release: 'r2' } });
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
      expect(await selectorOf()).toMatchObject({ color: 'blue' });
    });

    it.each<[string, 'weight' | 'removal' | 'resize' | 'resized']>([
      ['before its traffic is taken', 'weight'],
      ['while it drains', 'removal'],
      ['right before its pods go', 'resize'],
      ['while its pods go', 'resized'],
    ])(
      'a clean-up of a colour that somebody switches to %s leaves it its pods, and the Service where it is',
      async (...row) => {
        const [, moment] = row;
        await target.deploy(write(1));
        const sized = await replicasOf('green');
        const cleaning = { idle: 'green' as const };
        const switched = async (): Promise<void> => {
          const selector = { app: 'checkout', color: 'green' };
          await cluster.patch(
            refOf('Service', 'checkout'),
            { type: 'merge', patch: { spec: { selector } } },
            { signal },
          );
        };
        let asked = 0;
        const racing: Cluster = new Proxy(cluster, {
          get: (from, key: keyof Cluster) => {
            const value = from[key];
            if (typeof value !== 'function') return value;
            if (key !== 'patch') return value.bind(from);
            const patch: Cluster['patch'] = async (ref, given, options) => {
              const empties = ref.kind === 'Deployment' && JSON.stringify(given).includes('/replicas","value":0');
              if (empties && moment === 'resize') throw new Error('The pods are not to be taken.');
              const landed = await from.patch(ref, given, options);
              // The first write of the removal is the fence on the Service.
              if (moment === 'resize' && ref.kind === 'Service' && (asked += 1) === 2) await switched();
              if (empties && moment === 'resized') await switched();
              return landed;
            };
            return patch;
          },
        });
        const plan = targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
        const cleaner = createBlueGreenTarget(plan, { cluster: racing, resolve: async (image) => image });
        const later = { release: 'r2', epoch: 2 };

        const run = async (): Promise<void> => {
          if (moment === 'weight') await switched();
          await cleaner.setWeight({ ...shift(1, 0, 0, later), ...cleaning });
          if (moment === 'removal') await switched();
          await cleaner.removeCanary({ ...write(2, later), ...cleaning });
        };

        expect(await failureOf(run())).toMatchObject({
          kind: 'notIdle',
          message: `Service ${namespace}/checkout finds the pods of Deployment checkout-green by now, so green is not idle any more and keeps its pods; clean up blue instead, or switch back first.`,
        });
        expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, sized]);
        expect(await selectorOf()).toMatchObject({ color: 'green' });
      },
    );

    it.each(['before its traffic is taken', 'before its pods go'])(
      'a clean-up of a colour that somebody switches to %s holds nothing of the split any more',
      async (moment) => {
        const left = splitting();
        await left.deploy(write(1));
        await left.setWeight(shift(2, 40, 0));
        const held = await notesOn('TraefikService', 'checkout-split');
        const cleaning = { idle: 'green' as const };
        const later = { release: 'r2', epoch: 2 };
        const isLate = moment === 'before its pods go';
        if (isLate) await left.setWeight({ ...shift(1, 0, 40, later), ...cleaning });
        const selector = { app: 'checkout', color: 'green' };
        await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch: { spec: { selector } } }, { signal });

        const failure = await failureOf(
          isLate
            ? left.removeCanary({ ...write(2, later), ...cleaning })
            : left.setWeight({ ...shift(1, 0, 40, later), ...cleaning }),
        );

        expect(failure).toMatchObject({ kind: 'notIdle' });
        expect(held).toContain('sluice.dev/traffic');
        expect(await notesOn('TraefikService', 'checkout-split')).toEqual(['sluice.dev/fence']);
        expect(await weights()).toEqual({ checkout: 1 });
        expect(await selectorOf()).toEqual(selector);
      },
    );

    it('a Service that finds neither colour is said to be, and none is called active', async () => {
      const selector = { app: 'checkout', color: 'red' };
      await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch: { spec: { selector } } }, { signal });

      const { tracks, traffic } = await look();

      expect(tracks.map(({ active }) => active)).toEqual([false, false]);
      expect(traffic).toMatchObject({
        weight: null,
        remarks: [`Service ${namespace}/checkout finds the pods of neither colour.`],
      });
    });
  });

  it('goes back in one write after the promotion, as long as the old one is kept', async () => {
    await release();
    written.length = 0;
    await target.setWeight(shift(4, 0, 100));

    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
    // The second one, which no traffic waits for, is the fence of the pods that it goes back to.
    expect(written).toEqual(['Service/checkout', 'Deployment/checkout-blue']);

    for (const step of [5, 6]) await target.removeCanary(write(step));

    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
    expect(await imageOf('blue')).toBe(V1);
  });

  it('goes back at once to an old one that an autoscaler has shrunk, and asks for as many pods as the new one has', async () => {
    await release();
    await cluster.scale(refOf('Deployment', 'checkout-blue'), 1, { signal });
    const isSmaller = async (): Promise<boolean> => {
      const blue = (await find('Deployment', 'checkout-blue')) as { status?: { availableReplicas?: number } } | null;
      return blue?.status?.availableReplicas === 1;
    };
    await eventually(isSmaller, 'the old one is smaller');
    controller.hold.add('checkout-blue');
    written.length = 0;
    await target.setWeight(shift(4, 0, 100));

    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
    expect(written).toEqual(['Service/checkout', 'Deployment/checkout-blue']);
    expect(await replicasOf('blue')).toBe(3);
  });

  it('takes the pods of the side that somebody else has pointed the Service away from while the old one was kept', async () => {
    await release();
    const other = server().connect({ fieldManager: 'argocd-controller' });
    const patch = { spec: { selector: { app: 'checkout', color: 'blue' } } };
    await other.patch(refOf('Service', 'checkout'), { type: 'merge', patch }, { signal });
    other.close();
    const said = await target.removeCanary(write(4));

    expect(said).toMatch(
      /checkout-green is without pods; checkout-blue has all of the traffic\. Somebody else has pointed the Service away from checkout-green since\. Service .*\/checkout was at 0 % instead of 100 % \(last written by argocd-controller\)\.$/,
    );
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
    expect(await selectorOf()).toEqual(patch.spec.selector);
  });

  it('waits for the old pods where somebody has taken them away, before it goes back', async () => {
    await release();
    controller.hold.add('checkout-blue');
    await cluster.scale(refOf('Deployment', 'checkout-blue'), 0, { signal });
    const early = await failureOf(target.setWeight(shift(4, 0, 100)));

    expect(early).toMatchObject({ kind: 'unreachable' });
    expect(await replicasOf('blue')).toBe(3);
    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'green' });
  });

  describe('with a traffic splitter', () => {
    beforeEach(() => {
      target = splitting();
    });

    it('gives a share by the preview Service, and ends the split once the Service is switched', async () => {
      await target.deploy(write(1));

      expect(await weights()).toEqual({ checkout: 100 });

      await target.setWeight(shift(2, 30, 0));

      expect(await weights()).toEqual({ checkout: 70, 'checkout-green': 30 });
      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });

      await target.setWeight(shift(3, 100, 30));

      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'green' });
      expect(await weights()).toEqual({ checkout: 1 });

      // By hand, down from the switch: the split is there before the Service finds the old one again.
      await target.setWeight(shift(4, 50, 100));

      expect(await weights()).toEqual({ checkout: 50, 'checkout-green': 50 });
      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });

      await target.setWeight(shift(5, 0, 50));
      await target.removeCanary(write(6));

      expect(await weights()).toEqual({ checkout: 1 });
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
    });

    it('lets its pods be scraped by the preview for the time in which they get a share by it', async () => {
      const annotations = { 'prometheus.io/scrape': 'true' };
      await cluster.patch(
        refOf('Service', 'checkout'),
        { type: 'merge', patch: { metadata: { annotations } } },
        { signal },
      );
      const scraped = async (): Promise<boolean[]> =>
        Promise.all(
          ['checkout-blue', 'checkout-green'].map(
            async (name) => 'prometheus.io/scrape' in ((await find('Service', name))?.metadata.annotations ?? {}),
          ),
        );
      await target.deploy(write(1));
      const during = await scraped();
      await target.setWeight(shift(2, 30, 0));
      await target.setWeight(shift(3, 0, 30));
      await target.removeCanary(write(4));

      expect([during, await scraped()]).toEqual([
        [false, true],
        [false, false],
      ]);
    });

    it('a release that was ended between its switch and the end of its split is no burden to the next', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 40, 0));
      const selector = { app: 'checkout', color: 'green' };
      await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch: { spec: { selector } } }, { signal });
      const r2 = { release: 'r2', epoch: 2 };
      const { idle, weight } = await target.observe({ version: V2, signal });
      await target.deploy(write(1, r2));
      await target.setWeight(shift(2, 25, 0, r2));

      expect({ idle, weight }).toEqual({ idle: 'blue', weight: 0 });
      expect(await weights()).toEqual({ checkout: 75, 'checkout-blue': 25 });
    });

    it.each(['traefik', 'gatewayAPI'] as const)(
      'a release that was ended at its split is no burden to the next (%s)',
      async (kind) => {
        const document: TrafficDocument = { weight: 50, match: [] };
        if (kind === 'gatewayAPI') {
          await cluster.create(route(), { signal });
          target = targetOf({ traffic: { kind, routes: [{ kind: 'HTTPRoute', name: 'checkout' }] } });
        }
        await target.deploy(write(1));
        const { fence } = write(2);
        const services = { namespace, stable: 'checkout', canary: 'checkout-green' };
        const settings: TrafficSettings =
          kind === 'traefik'
            ? { kind, traefikService: 'checkout-split' }
            : { kind, routes: [{ kind: 'HTTPRoute', name: 'checkout' }] };
        const router = createTrafficRouter(cluster, services, settings);
        await router.apply({ document, fence, signal });
        const r2 = { release: 'r2', epoch: 2 };
        const seen = await target.observe({ version: V2, signal });
        await target.deploy(write(1, r2));
        const after = await router.observe({ signal });

        expect(seen).toMatchObject({ idle: 'green', weight: 50 });
        expect(after).toMatchObject({ weight: 0, fence: { release: 'r2' }, foreignEdits: [] });
      },
    );

    it('goes back without a splitter that somebody has deleted, and says so', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      await cluster.delete(refOf('TraefikService', 'checkout-split'), { signal });
      const raise = await failureOf(target.setWeight(shift(3, 75, 50)));
      const said = [await target.setWeight(shift(4, 0, 50)), await target.removeCanary(write(5))];

      expect(raise.kind).toBe('invalidTarget');
      for (const sentence of said)
        expect(sentence).toMatch(/checkout-split does not exist\. There is nothing to route by/);
      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
    });

    it('somebody else’s edits of weight, selector, image and size are told and put right', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 25, 0));
      const other = server().connect({ fieldManager: 'argocd-controller' });
      const merge = (kind: Parameters<typeof refOf>[0], name: string, spec: object) =>
        other.patch(refOf(kind, name), { type: 'merge', patch: { spec } }, { signal });
      const held = (step: number, weight: number) => target.reassert({ ...write(step), weight, match: [] });
      const untouched = await held(3, 25);
      await merge('TraefikService', 'checkout-split', {
        weighted: {
          services: [
            { name: 'checkout', port: 80, weight: 100 },
            { name: 'checkout-green', port: 80, weight: 0 },
          ],
        },
      });
      const weight = await held(4, 25);
      await merge('Service', 'checkout', { selector: { app: 'checkout', color: 'green' } });
      const switched = await held(5, 25);
      await merge('Deployment', 'checkout-blue', {
        replicas: 0,
        template: { spec: { containers: [{ name: 'web', image: 'registry.example/shop:other' }] } },
      });
      await cluster.delete(refOf('Deployment', 'checkout-green'), { signal });
      const workloads = await held(6, 25);
      other.close();

      expect(untouched).toEqual({
        foreignEdits: [],
        standing: [],
        guardTripped: null,
        unreachable: [],
        // Pods of a Deployment that no release has touched carry no track.
        tracks: { canary: 'green', stable: 'stable' },
      });
      expect(weight.foreignEdits[0]).toMatch(/checkout-split was at 0 % instead of 25 % .*argocd-controller/);
      expect(switched.foreignEdits[0]).toMatch(/Service .*\/checkout was at 100 % instead of 0 %/);
      expect(workloads.foreignEdits.join(' ')).toMatch(
        /checkout-green was gone.*checkout-blue had the image .*other, and was given .*v1 again.*checkout-blue was scaled to 0/,
      );
      expect(await weights()).toEqual({ checkout: 75, 'checkout-green': 25 });
      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
      expect(await imageOf('blue')).toBe(V1);
      expect([await imageOf('green'), (await replicasOf('blue')) > 0, (await replicasOf('green')) > 0]).toEqual([
        V2,
        true,
        true,
      ]);
    });
  });

  it('keeps the switch against who takes it back', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    const selector = { app: 'checkout', color: null };
    await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch: { spec: { selector } } }, { signal });
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 100, match: [] });

    expect(foreignEdits[0]).toMatch(/Service .*\/checkout sends to neither track as it was asked/);
    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'green' });
  });

  it('switches nobody to a colour that has lost its pods along with the traffic, until they are there again', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    const green = async (): Promise<number> => {
      const { status } = (await find('Deployment', 'checkout-green')) as unknown as {
        status: { availableReplicas?: number };
      };
      return status.availableReplicas ?? 0;
    };
    // As a sync does that knows nothing of the release: everything at once.
    controller.hold.add('checkout-green');
    await cluster.scale(refOf('Deployment', 'checkout-green'), 0, { signal });
    await eventually(async () => (await green()) === 0, 'green is without pods');
    const patch = { spec: { selector: { app: 'checkout', color: 'blue' } } };
    await cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch }, { signal });
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 100, match: [] });
    const meanwhile = await selectorOf();
    controller.hold.delete('checkout-green');
    await eventually(async () => (await green()) === 3, 'green has its pods again');
    await target.reassert({ ...write(4), weight: 100, match: [] });

    expect(foreignEdits.join(' ')).toContain(
      `The traffic stays where it is until Deployment ${namespace}/checkout-green has the pods that 100 % need`,
    );
    expect(meanwhile).toMatchObject({ color: 'blue' });
    expect(await selectorOf()).toMatchObject({ color: 'green' });
  });

  it('before the switch the new one gets as many pods as an autoscaler has given the old one meanwhile', async () => {
    await target.deploy(write(1));
    await cluster.scale(refOf('Deployment', 'checkout-blue'), 7, { signal });
    await target.setWeight(shift(2, 100, 0));

    expect(await replicasOf('green')).toBe(7);
  });

  it('after an outage of the API server, no traffic before a gateway is sure to know the pods', async () => {
    let nowMs = 0;
    const outages = new ApiOutages(() => nowMs);
    const plan = targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
    const blind = createBlueGreenTarget(plan, {
      cluster: server().connect({ outages }),
      resolve: async (image) => `${image}@resolved`,
    });
    await blind.deploy(write(1));
    outages.failed(nowMs);
    nowMs += 30_000;
    outages.answered();
    const refused = await failureOf(blind.setWeight(shift(2, 100, 0)));
    const before = await selectorOf();
    nowMs += 130_000;
    await blind.setWeight(shift(2, 100, 0));
    const after = await selectorOf();
    outages.failed(nowMs);
    nowMs += 30_000;
    outages.answered();
    // The old one's pods have been there all the time.
    await blind.setWeight(shift(3, 0, 100));
    const kept = await failureOf(blind.removeCanary(write(4)));
    const replicas = await replicasOf('green');
    nowMs += 130_000;
    await blind.removeCanary(write(5));

    expect(refused).toMatchObject({
      kind: 'unreachable',
      message: expect.stringMatching(/for another 130 s a gateway may not know the pods of .*checkout-green/) as string,
    });
    expect(before).toEqual({ app: 'checkout', color: 'blue' });
    expect(after).toEqual({ app: 'checkout', color: 'green' });
    expect(await selectorOf()).toEqual(before);
    expect(kept.message).toMatch(
      /for another 130 s a gateway may still send to the pods of .*checkout-green, and they/,
    );
    expect(replicas).toBe(3);
    expect(await replicasOf('green')).toBe(0);
  });

  it('no traffic without the pods for it', async () => {
    await target.deploy(write(1));
    controller.hold.add('checkout-green');
    await cluster.scale(refOf('Deployment', 'checkout-blue'), 5, { signal });
    const given = new AbortController();
    const raised = target.setWeight({ ...shift(2, 100, 0), signal: given.signal });
    const refused = expect(raised).rejects.toThrow(/cancelled/);
    while ((await replicasOf('green')) !== 5) await new Promise((resolve) => setTimeout(resolve, 50));
    const seen = await selectorOf();
    given.abort();
    await refused;

    expect(seen).toEqual({ app: 'checkout', color: 'blue' });
  });

  it('a late write of another release is refused everywhere, and changes nothing', async () => {
    target = splitting();
    await target.deploy(write(1));
    await splitting().deploy(write(1, { release: 'r2', epoch: 2 }));

    for (const late of [
      target.setWeight(shift(9, 25, 0)),
      target.setWeight(shift(9, 100, 0)),
      target.setWeight(shift(9, 0, 25)),
      target.deploy(write(9)),
      target.promote({ ...write(9), ...promotion }),
      target.removeCanary(write(9)),
      target.reassert({ ...write(9), weight: 5, match: [] }),
    ]) {
      expect((await failureOf(late)).kind).toBe('fenceLost');
    }
    expect(await weights()).toEqual({ checkout: 100 });
    expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 3]);
  });

  it('a green Deployment of the user’s own keeps its template but the image, and a difference is told', async () => {
    const own = deployment('green', V1, { replicas: 0 });
    const { template } = own['spec'] as { template: { spec: { containers: object[] } } };
    template.spec.containers = [{ name: 'web', image: V1, env: [{ name: 'COLOUR', value: 'green' }] }];
    await cluster.create(own, { signal });
    const said = await target.deploy(write(1));

    expect(said).toMatch(/its own template, which differs from that of checkout-blue at containers\/0\/env\./);
    expect((await templateOf('green')).spec.containers[0]).toMatchObject({
      image: V2,
      env: [{ name: 'COLOUR', value: 'green' }],
    });
    expect((await templateOf('green')).metadata.labels).toMatchObject({ color: 'green', 'sluice.dev/track': 'green' });
    expect((await find('Deployment', 'checkout-green'))?.metadata.labels).toEqual({ app: 'checkout', color: 'green' });
    expect(await replicasOf('green')).toBe(3);
  });

  describe('a roll back on the cluster alone', () => {
    const directly = (): ReturnType<typeof rollBackDirectly> =>
      rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

    it.each([
      ['before the promotion', false],
      ['after it, while the old version is kept', true],
    ])('%s: the switch first, and what the release still sends is refused', async (_, promoted) => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      if (promoted) await target.promote({ ...write(3), ...promotion });
      const { steps } = await directly();

      expect(steps.map((one) => one.sentence)).toEqual([
        expect.stringMatching(
          /is pointed to Deployment checkout-blue, .* both are read back before its pods are taken/,
        ),
        expect.stringMatching(/checkout-green is without pods/),
      ]);
      expect(await selectorOf()).toEqual({ app: 'checkout', color: 'blue' });
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
      for (const late of [
        target.setWeight(shift(9, 100, 0)),
        target.reassert({ ...write(9), weight: 100, match: [] }),
        target.removeCanary(write(9)),
      ]) {
        expect((await failureOf(late)).kind).toBe('fenceLost');
      }
      expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([3, 0]);
    });

    it('says so when the old version is not kept any more', async () => {
      await release();
      await target.removeCanary(write(4));

      expect((await failureOf(directly())).message).toMatch(/nothing to take back/);
    });
  });

  describe('what cannot be released is refused before anything is changed', () => {
    const patchService = (spec: object) =>
      cluster.patch(refOf('Service', 'checkout'), { type: 'merge', patch: { spec } }, { signal });
    const refusal = async (changes: Parameters<typeof targetPlan>[0] = {}): Promise<string> => {
      const failure = await failureOf(targetOf(changes).observe({ version: V2, signal }));
      expect(failure.kind).toBe('invalidTarget');
      expect(await notesOn('Service', 'checkout')).toEqual([]);
      return failure.message;
    };

    it.each<[string, Parameters<typeof targetPlan>[0], RegExp]>([
      ['an absent namespace', { namespace: 'nowhere' }, /^There is no namespace nowhere in this cluster; name /],
      ['neither Deployment', { deployment: 'nothing' }, /neither a Deployment .*nothing-blue nor .*nothing-green/],
      ['an absent Service', { service: 'nothing' }, /There is no Service .*\/nothing/],
      ['an absent route', { traffic: { kind: 'traefik', traefikService: 'no' } }, /TraefikService .*does not exist/],
      ['a container that is none', { container: 'sidecar' }, /has no container sidecar/],
      ['shares by pods', { traffic: { kind: 'replicas' } }, /never mixes the pods/],
    ])('%s', async (_, changes, sentence) => {
      expect(await refusal(changes)).toMatch(sentence);
    });

    it('a Service that finds both colours, or neither, or that could not be switched', async () => {
      await cluster.create(deployment('green', V1, { replicas: 0 }), { signal });
      await patchService({ selector: { color: null } });
      const both = await refusal();
      await patchService({ selector: { color: 'red' } });
      const neither = await refusal();
      await cluster.patch(
        refOf('Deployment', 'checkout-blue'),
        { type: 'merge', patch: { spec: { template: { metadata: { labels: { slot: 'one' } } } } } },
        { signal },
      );
      await patchService({ selector: { color: null, slot: 'one' } });
      const oneSided = await refusal();

      expect(both).toMatch(/selects the pods of both checkout-blue and checkout-green \(app=checkout\)/);
      expect(neither).toMatch(/selects app=checkout,color=red, which the pods of .* do not have/);
      expect(oneSided).toMatch(/selects by slot, which the pods of Deployment checkout-green do not carry/);
    });

    it('a paused colour, and a preview of another make', async () => {
      await cluster.patch(
        refOf('Deployment', 'checkout-blue'),
        { type: 'merge', patch: { spec: { paused: true } } },
        { signal },
      );
      const paused = await refusal();
      await cluster.patch(
        refOf('Deployment', 'checkout-blue'),
        { type: 'merge', patch: { spec: { paused: false } } },
        { signal },
      );
      await cluster.create({ ...service(), metadata: { name: 'checkout-green', namespace } }, { signal });
      const preview = await failureOf(target.deploy(write(1)));

      expect(paused).toMatch(/checkout-blue is paused.*rollout resume/);
      expect(preview.message).toMatch(/checkout-green is there already and selects app=checkout,color=blue/);
      expect(await find('Deployment', 'checkout-green')).toBeNull();
    });
  });
});
