import { ApiOutages } from '../../../src/targets/kubernetes/api-outages';
import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { lookAtService } from '../../../src/targets/kubernetes/service-look';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { DirectNews } from '../../../src/targets/kubernetes/direct-roll-back';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { eventually } from '../instance';
import { describeWithApiServer, installDefinitions } from './api-server';
import { requestsOf } from './counted-requests';
import { DeploymentController } from './deployment-controller';
import { GatewayController } from './gateway-controller';
import { targetPlan } from './target-plans';
import { hurried } from './hurried';
import { failureOf } from '../failure-of';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const signal = AbortSignal.timeout(10 * 60_000);

function fence(step: number, more: { release?: string; epoch?: number } = {}): TargetWrite['fence'] {
  return { release: 'r1', epoch: 1, step, attempt: 2, ...more };
}

function write(step: number, more: { release?: string; epoch?: number } = {}): TargetWrite & { timeoutMs: number } {
  return { version: V2, artifact: V2, fence: fence(step, more), signal, timeoutMs: 20_000 };
}

function shift(step: number, weight: number, previousWeight: number): Parameters<Target['setWeight']>[0] {
  return { ...write(step), weight, previousWeight, match: [] };
}

const promotion = { release: 'r1', smokeTest: null, timeoutMs: 20_000 };

describeWithApiServer('a canary beside a Deployment, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let target: Target;
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['traefikservices', 'httproutes']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `canary-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    for (const object of shop()) await cluster.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    target = targetOf();
  });

  afterEach(() => controller.stop());
  afterAll(() => cluster.close());

  const targetOf = (
    changes: Parameters<typeof targetPlan>[0] = {},
    through = cluster,
    deps: Partial<Parameters<typeof createCanaryTarget>[1]> = {},
  ): Target =>
    createCanaryTarget(
      targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout-split' }, ...changes }),
      {
        ...{ cluster: through, resolve: async (image) => `${image}@resolved`, gatewaysHear: () => Promise.resolve() },
        ...deps,
      },
    );

  function shop(): KubernetesObject[] {
    const labels = { app: 'checkout', tier: 'web' };
    return [
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'checkout', namespace, labels },
        spec: {
          replicas: 4,
          selector: { matchLabels: { app: 'checkout' } },
          template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: V1 }] } },
        },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'checkout', namespace },
        spec: { selector: { app: 'checkout' }, ports: [{ port: 80, targetPort: 8080 }] },
      },
      {
        apiVersion: 'traefik.io/v1alpha1',
        kind: 'TraefikService',
        metadata: { name: 'checkout-split', namespace },
        spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
      },
    ];
  }

  const find = (kind: 'Deployment' | 'Service' | 'TraefikService', name: string): Promise<KubernetesObject | null> => {
    const apiVersion = { Deployment: 'apps/v1', Service: 'v1', TraefikService: 'traefik.io/v1alpha1' }[kind];
    return cluster.find({ apiVersion, kind, namespace, name }, { signal });
  };
  const specOf = async (kind: Parameters<typeof find>[0], name: string): Promise<Record<string, never>> =>
    ((await find(kind, name)) ?? { spec: null })['spec'] as Record<string, never>;
  const replicasOf = async (name: string): Promise<number | null> =>
    (await specOf('Deployment', name))?.['replicas'] ?? null;
  const imageOf = async (name: string): Promise<string> => {
    const { template } = (await specOf('Deployment', name)) as unknown as {
      template: { spec: { containers: { image: string }[] } };
    };
    return template.spec.containers[0]?.image ?? '';
  };
  const weights = async (): Promise<Record<string, number>> => {
    const { weighted } = (await specOf('TraefikService', 'checkout-split')) as unknown as {
      weighted: { services: { name: string; weight: number }[] };
    };
    return Object.fromEntries(weighted.services.map((one) => [one.name, one.weight]));
  };
  const deployment = (name: string): { apiVersion: string; kind: string; namespace: string; name: string } => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespace,
    name,
  });
  const availableOf = async (name: string): Promise<number> => {
    const { status } = (await find('Deployment', name)) as unknown as { status: { availableReplicas?: number } };
    return status.availableReplicas ?? 0;
  };
  const canaryService = (selector: Readonly<Record<string, string>>): KubernetesObject => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'checkout-canary', namespace },
    spec: { selector, ports: [{ port: 80, targetPort: 8080 }] },
  });

  it('shows people both tracks, the weight, the fence and what is left, and a clean-up takes that away', async () => {
    const plan = targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout-split' } });
    const look = (): ReturnType<typeof lookAtService> => lookAtService(cluster, plan, signal);
    const before = await look();
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    const during = await look();
    // A clean-up is a release of its own, which came later.
    const later = { ...write(1, { release: 'r2', epoch: 2 }), match: [] };
    await target.setWeight({ ...later, weight: 0, previousWeight: 50 });
    await target.removeCanary({ ...later, fence: fence(2, { release: 'r2', epoch: 2 }) });
    const after = await look();

    expect(before).toMatchObject({ fence: null, leftovers: [], traffic: { weight: 0 } });
    expect(before.tracks.map(({ name, runs }) => [name, runs?.image])).toEqual([
      ['stable', V1],
      ['canary', undefined],
    ]);
    expect(during.tracks[1]).toMatchObject({
      deployment: 'checkout-canary',
      runs: { image: V2, replicas: { desired: 2 } },
    });
    expect(during.fence).toMatchObject({ release: 'r1', step: 2 });
    expect(during.leftovers).toEqual([
      `Deployment ${namespace}/checkout-canary was made for release r1 and is still there.`,
      `Service ${namespace}/checkout-canary was made for release r1 and is still there.`,
      'The canary gets 50 % of the traffic.',
    ]);
    expect(after).toMatchObject({ leftovers: [], traffic: { weight: 0 }, fence: { release: 'r2' } });
    expect(after.tracks[1]?.runs).toBeNull();
  });

  it('looks: versions, weight, and the image by its digest', async () => {
    const looking = targetOf({ resolveImage: 'registry' });

    expect(await looking.observe({ version: V2, signal })).toEqual({
      stableVersion: V1,
      canaryVersion: null,
      weight: 0,
      artifact: `${V2}@resolved`,
    });
    expect(await find('Deployment', 'checkout-canary')).toBeNull();
  });

  it.each([
    ['another tag', `${V1}@sha256:${'a1'.repeat(32)}`],
    ['none', `${V1.split(':')[0] ?? ''}@sha256:${'a1'.repeat(32)}`],
  ])('knows the version that runs by its digest, where that has %s beside it', async (_, running) => {
    const containers = [{ name: 'web', image: running }];
    const patch = { spec: { template: { spec: { containers } } } };
    await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal });
    const resolve = (image: string): Promise<string> => Promise.resolve(`${image}@sha256:${'a1'.repeat(32)}`);
    const seen = await targetOf({ resolveImage: 'registry' }, cluster, { resolve }).observe({ version: V2, signal });

    // The release ends at once, and no pod is made anew for the same bytes.
    expect(seen).toMatchObject({ stableVersion: running, artifact: running });
  });

  it('lets gateways hear of the first pods, also where they came with the first share', async () => {
    const heard = jest.fn(() => Promise.resolve());
    const told = targetOf({}, cluster, { gatewaysHear: heard });
    await told.deploy(write(1));
    const first = heard.mock.calls.length;
    // While a person decides at weight 0 nobody looks.
    await cluster.delete(deployment('checkout-canary'), { signal });
    await told.setWeight(shift(2, 25, 0));
    const again = heard.mock.calls.length;
    await told.setWeight(shift(3, 50, 25));

    expect([first, again, heard.mock.calls.length]).toEqual([1, 2, 2]);
    expect(await weights()).toEqual({ checkout: 50, 'checkout-canary': 50 });
  });

  it('goes from deploy to promotion: pods before traffic, and all-new with nothing left over at the end', async () => {
    await target.deploy(write(1));

    expect(await replicasOf('checkout-canary')).toBe(1);
    expect(await specOf('Service', 'checkout-canary')).toMatchObject({ selector: { app: 'checkout-canary' } });
    expect(await weights()).toEqual({ checkout: 100 });

    await target.setWeight(shift(2, 30, 0));

    // ceil(4 pods x 30 %)
    expect(await replicasOf('checkout-canary')).toBe(2);
    expect(await weights()).toEqual({ checkout: 70, 'checkout-canary': 30 });

    await target.setWeight(shift(3, 100, 30));

    expect(await replicasOf('checkout-canary')).toBe(4);

    await target.promote({ ...write(4), ...promotion });

    expect(await imageOf('checkout')).toBe(V2);
    expect(await weights()).toEqual({ checkout: 0, 'checkout-canary': 100 });

    await target.setWeight(shift(5, 50, 100));
    await target.setWeight(shift(6, 0, 50));
    await target.removeCanary(write(7));

    expect(await find('Deployment', 'checkout-canary')).toBeNull();
    expect(await find('Service', 'checkout-canary')).toBeNull();
    expect(await weights()).toEqual({ checkout: 1 });
    expect(await imageOf('checkout')).toBe(V2);
    const annotations = (await find('Deployment', 'checkout'))?.metadata.annotations ?? {};
    expect(Object.keys(annotations).filter((name) => name.startsWith('sluice.dev/'))).toEqual(['sluice.dev/fence']);
  });

  it('asks each object once in an operation, and again what may have changed', async () => {
    const counter = new RequestCounter();
    const counted = server().connect({ counter });
    const plan = targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout-split' } });
    const release = createCanaryTarget(plan, { cluster: counted, resolve: (image) => Promise.resolve(image) });
    await release.deploy(write(1));
    const raised = await requestsOf(counter, release.setWeight(shift(2, 25, 0)));
    const looked = await requestsOf(counter, release.reassert({ ...write(3), weight: 25, match: [] }));
    const lowered = await requestsOf(counter, release.setWeight(shift(4, 0, 25)));
    const back = await requestsOf(counter, release.setWeight({ ...shift(5, 0, 100), back: true }));
    counted.close();

    const reads = { 'get deployments.apps': 2, 'get services': 1 };
    // The canary's Service is where its share is sent.
    const onward = { ...reads, 'get services': 2 };
    expect(looked).toEqual({ ...onward, 'get traefikservices.traefik.io': 1 });
    // Read back once it is written.
    expect(raised).toEqual({ ...onward, 'get traefikservices.traefik.io': 2, 'patch traefikservices.traefik.io': 1 });
    expect(lowered).toEqual({ ...reads, 'get traefikservices.traefik.io': 2, 'patch traefikservices.traefik.io': 1 });
    // Of a way back the write is what counts.
    expect(back).toEqual({ ...reads, 'get traefikservices.traefik.io': 1, 'patch traefikservices.traefik.io': 1 });
  });

  it('takes everything back from the middle, and twice is as once', async () => {
    const before = await specOf('Deployment', 'checkout');
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));

    for (const step of [3, 5]) {
      await target.setWeight(shift(step, 0, 100));
      await target.removeCanary(write(step + 1));
    }

    expect(await weights()).toEqual({ checkout: 1 });
    expect(await find('Deployment', 'checkout-canary')).toBeNull();
    expect(await specOf('Deployment', 'checkout')).toEqual(before);
    // Nothing was written to stable.
    expect((await find('Deployment', 'checkout'))?.metadata.annotations?.['sluice.dev/fence']).toBeUndefined();
  });

  it('a promotion that is half done is taken back: the old template first, while the canary carries the traffic', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    controller.hold.add('checkout');
    const half = await failureOf(target.promote({ ...write(3), ...promotion, timeoutMs: 1_500 }));
    const tooEarly = await failureOf(target.setWeight(shift(4, 0, 100)));

    expect(half.kind).toBe('deployFailed');
    expect(await imageOf('checkout')).toBe(V2);
    expect(tooEarly).toMatchObject({ kind: 'unreachable' });
    expect(await weights()).toEqual({ checkout: 0, 'checkout-canary': 100 });

    controller.hold.delete('checkout');
    await target.restoreStable({ ...write(5), stableVersion: V1 });
    await target.setWeight(shift(6, 0, 100));
    await target.removeCanary(write(7));

    expect(await imageOf('checkout')).toBe(V1);
    expect(await weights()).toEqual({ checkout: 1 });
    expect(await find('Deployment', 'checkout-canary')).toBeNull();
  });

  describe('whose new stable pods fail when half of the traffic is theirs', () => {
    const CANARYS = { checkout: 0, 'checkout-canary': 100 };

    beforeEach(async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      await target.promote({ ...write(3), ...promotion });
      await target.setWeight(shift(4, 50, 100));
    });

    it('goes back to the proven canary whole, before stable has its old template', async () => {
      const at50 = await weights();
      controller.hold.add('checkout');
      const restored = target.restoreStable({ ...write(5), stableVersion: V1 });
      await eventually(async () => (await imageOf('checkout')) === V1, 'stable is being restored');
      const meanwhile = await weights();
      controller.hold.delete('checkout');
      const said = await restored;
      const late = await failureOf(target.setWeight(shift(4, 50, 100)));
      // Once more, as after a worker that was killed: it is taken back already.
      await target.setWeight(shift(6, 0, 100));
      await target.restoreStable({ ...write(7), stableVersion: V1 });

      expect(at50).toEqual({ checkout: 50, 'checkout-canary': 50 });
      expect(meanwhile).toEqual(CANARYS);
      expect(said).toMatch(/^The canary's share by traefik is 100 % again\. Deployment .* runs .*:v1 again, with 4 /);
      expect(late.kind).toBe('fenceLost');
      expect(await weights()).toEqual({ checkout: 100 });
    });

    it.each([
      ['has no pods', (): Promise<unknown> => cluster.scale(deployment('checkout-canary'), 0, { signal })],
      ['is gone', (): Promise<unknown> => cluster.delete(deployment('checkout-canary'), { signal })],
    ])('keeps what traffic stable has where the canary %s', async (_, take) => {
      await take();
      await eventually(async () => {
        const canary = await find('Deployment', 'checkout-canary');
        return canary === null || (await availableOf('checkout-canary')) === 0;
      }, 'the canary has no pods');
      await target.restoreStable({ ...write(5), stableVersion: V1 });

      expect(await imageOf('checkout')).toBe(V1);
      expect(await weights()).toEqual({ checkout: 50, 'checkout-canary': 50 });
    });

    it('has its old template back though nothing is left that splits the traffic', async () => {
      const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
      await cluster.delete(split, { signal });

      expect(await target.restoreStable({ ...write(5), stableVersion: V1 })).toMatch(/^Deployment .* again, with 4 /);
    });

    it('is taken back in the same order on the cluster alone', async () => {
      controller.hold.add('checkout');
      const waits: string[] = [];
      const onNews = (news: DirectNews): void => void (news.kind === 'wait' && waits.push(news.sentence));
      const done = rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal, onNews });
      await eventually(async () => (await imageOf('checkout')) === V1, 'stable is being restored');
      await eventually(() => Promise.resolve(waits.length > 0), 'it is told that it waits');
      const meanwhile = await weights();
      controller.hold.delete('checkout');
      const { steps } = await done;

      expect(meanwhile).toEqual(CANARYS);
      expect(waits[0]).toMatch(/^Waiting until Deployment \S+\/checkout has 4 available pods of its newest/);
      expect(steps.map(({ sentence }) => sentence)).toEqual([
        expect.stringMatching(/100 % again\. Deployment .* runs its version of before again/) as string,
        expect.stringMatching(/ set to 0 %, and is read back before/) as string,
        expect.stringMatching(/is no longer beside stable/) as string,
      ]);
      expect(await weights()).toEqual({ checkout: 1 });
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });
  });

  describe('after an outage of the API server', () => {
    let nowMs: number;
    let outages: ApiOutages;
    let blind: Target;

    beforeEach(() => {
      nowMs = 0;
      outages = new ApiOutages(() => nowMs);
      blind = targetOf({}, server().connect({ outages }));
    });
    const outage = (): void => {
      outages.failed(nowMs);
      nowMs += 10_000;
      outages.answered();
    };
    const follow = (): void => {
      nowMs += 70_000;
    };

    it('no new pods get traffic before a gateway is sure to know them; the way back waits for nobody', async () => {
      await blind.deploy(write(1));
      outage();
      const refused = await failureOf(blind.setWeight(shift(2, 25, 0)));
      const before = await weights();
      follow();
      await blind.setWeight(shift(2, 25, 0));
      const after = await weights();
      outage();
      await blind.setWeight(shift(3, 10, 25));
      const lowered = await weights();
      await blind.setWeight(shift(4, 0, 10));

      expect(refused).toMatchObject({
        kind: 'unreachable',
        message: `The API server was away; for another 70 s a gateway may not know the pods of Deployment ${namespace}/checkout-canary, and the traffic stays where it is until then.`,
      });
      expect(before).toEqual({ checkout: 100 });
      expect(after).toEqual({ checkout: 75, 'checkout-canary': 25 });
      expect(lowered).toEqual({ checkout: 90, 'checkout-canary': 10 });
      expect(await weights()).toEqual({ checkout: 100 });
    });

    it.each([50, 0])(
      'the new stable pods of a promotion get none either, be it handed back to %i %%',
      async (weight) => {
        await blind.deploy(write(1));
        await blind.setWeight(shift(2, 100, 0));
        await blind.promote({ ...write(3), ...promotion });
        outage();
        const refused = await failureOf(blind.setWeight(shift(4, weight, 100)));
        const before = await weights();
        follow();
        await blind.setWeight(shift(4, weight, 100));

        expect(refused.message).toMatch(/for another 70 s a gateway may not know the pods of Deployment .*\/checkout,/);
        expect(before).toEqual({ checkout: 0, 'checkout-canary': 100 });
        expect(await weights()).toEqual(weight === 0 ? { checkout: 100 } : { checkout: 50, 'checkout-canary': 50 });
      },
    );

    it('no pods are taken from a track that a gateway may still send to', async () => {
      await blind.deploy(write(1));
      await blind.setWeight(shift(2, 100, 0));
      outage();
      const promoted = await failureOf(blind.promote({ ...write(3), ...promotion }));
      const stable = await imageOf('checkout');
      await blind.setWeight(shift(4, 0, 100));
      const removed = await failureOf(blind.removeCanary(write(5)));
      const canary = await replicasOf('checkout-canary');
      follow();
      await blind.removeCanary(write(6));

      const kept = (name: string): string =>
        `The API server was away; for another 70 s a gateway may still send to the pods of Deployment ${namespace}/${name}, and they stay until then.`;
      expect([promoted.kind, promoted.message]).toEqual(['unreachable', kept('checkout')]);
      expect(stable).toBe(V1);
      expect([removed.kind, removed.message]).toEqual(['unreachable', kept('checkout-canary')]);
      expect(canary).toBe(4);
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });
  });

  it('no weight rises without the pods for it', async () => {
    await target.deploy(write(1));
    controller.hold.add('checkout-canary');
    const given = new AbortController();
    const raised = target.setWeight({ ...shift(2, 75, 0), signal: given.signal });
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        replicasOf('checkout-canary').then((replicas) => (replicas === 3 ? resolve() : setTimeout(look, 50)), reject);
      };
      look();
    });
    const seen = await weights();
    given.abort();

    await expect(raised).rejects.toThrow(/cancelled/);
    expect(seen).toEqual({ checkout: 100 });
  });

  it('a late write of another release is refused everywhere, and leaves nothing behind', async () => {
    await target.deploy(write(1));
    const later = targetOf();
    await later.deploy(write(1, { release: 'r2', epoch: 2 }));

    for (const late of [
      target.setWeight(shift(9, 25, 0)),
      target.setWeight(shift(9, 0, 25)),
      target.deploy(write(9)),
      target.promote({ ...write(9), ...promotion }),
      target.removeCanary(write(9)),
      target.reassert({ ...write(9), weight: 5, match: [] }),
    ]) {
      expect((await failureOf(late)).kind).toBe('fenceLost');
    }
    expect(await weights()).toEqual({ checkout: 100 });
    expect(await imageOf('checkout')).toBe(V1);
    expect(await imageOf('checkout-canary')).toBe(V2);
  });

  describe.each(['Service', 'Deployment'])(
    'an attempt that stood still while it made the %s, and was rolled back',
    (kind) => {
      it.each([
        ['', false],
        [', and heard of it', true],
      ])('leaves nothing behind%s', async (_, cancelled) => {
        const cancellation = new AbortController();
        let goOn = (): void => undefined;
        const standing = new Promise<void>((resolve) => (goOn = resolve));
        let stands = (): void => undefined;
        const stood = new Promise<void>((resolve) => (stands = resolve));
        const create: Cluster['create'] = async (object, options) => {
          if (object.kind === kind) {
            stands();
            await standing;
          }
          return cluster.create(object, options);
        };
        const late = targetOf({}, withCreate(cluster, create));
        const attempt = failureOf(late.deploy({ ...write(1), signal: cancellation.signal }));
        await stood;
        await target.removeCanary(write(2));
        if (cancelled) cancellation.abort();
        goOn();

        expect((await attempt).kind).toBe('fenceLost');
        expect(await find('Deployment', 'checkout-canary')).toBeNull();
        expect(await find('Service', 'checkout-canary')).toBeNull();
        expect(await weights()).toEqual({ checkout: 1 });
      });
    },
  );

  describe('by an HTTPRoute', () => {
    const ref = () => ({ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', namespace, name: 'checkout' });
    const routed = (): Target =>
      targetOf({ traffic: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] } });
    const createRoute = (rules: readonly object[]): Promise<KubernetesObject> => {
      const { apiVersion, kind, name } = ref();
      const spec = { parentRefs: [{ name: 'web' }], rules };
      return cluster.create({ apiVersion, kind, metadata: { name, namespace }, spec }, { signal });
    };
    const rule = { backendRefs: [{ name: 'checkout', port: 80 }] };

    it('goes back without the word of a Gateway’s controller where there is no Service that it could resolve', async () => {
      await createRoute([rule]);
      await routed().deploy(write(1));
      // A controller has taken what the release has written, and says nothing of what comes after it.
      const { generation = 0 } = (await cluster.get(ref(), { signal })).metadata;
      const type = 'Accepted';
      const word = { type, status: 'True', reason: type, message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
      const conditions = [{ ...word, observedGeneration: generation }];
      const parents = [{ parentRef: { name: 'web' }, controllerName: 'sluice.test/gateway', conditions }];
      const status = { type: 'merge', patch: { status: { parents } } } as const;
      await cluster.patch(ref(), status, { signal, subresource: 'status' });
      await cluster.patch(ref(), { type: 'merge', patch: { spec: { hostnames: ['shop.example'] } } }, { signal });
      expect(await failureOf(routed().removeCanary(write(2)))).toMatchObject({ kind: 'unreachable' });
      const service = { apiVersion: 'v1', kind: 'Service', namespace, name: 'checkout-canary' };
      await cluster.delete(service, { signal });
      await routed().removeCanary(write(3));
      // As an attempt does whose answer was lost.
      await routed().removeCanary(write(4));

      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    it('goes back where no controller says anything of it', async () => {
      await createRoute([rule]);
      await routed().deploy(write(1));

      await routed().removeCanary(write(2));

      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    describe('whose Gateway may be slow', () => {
      let gateway: GatewayController;
      const gatewayOf = (): GatewayController =>
        new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace);
      const share = async (): Promise<number | undefined> => {
        const { rules } = (await cluster.get(ref(), { signal }))['spec'] as {
          rules: { backendRefs: { name: string; weight?: number }[] }[];
        };
        return rules[0]?.backendRefs.find(({ name }) => name === 'checkout-canary')?.weight;
      };

      beforeEach(async () => {
        gateway = gatewayOf();
        await createRoute([rule]);
        await routed().deploy(write(1));
        await routed().setWeight(shift(2, 100, 0));
      });

      afterEach(() => gateway.stop());

      it('a promotion has all of the traffic back only once that is in force', async () => {
        await routed().promote({ ...write(3), ...promotion });
        await gateway.stop();
        let said: string | null = null;
        const back = routed()
          .setWeight(shift(4, 0, 100))
          .then((sentence) => (said = sentence));
        await eventually(async () => (await share()) === 0, 'it is written');
        const before = said;
        gateway = gatewayOf();

        expect(await back).toBe("The canary's share by gatewayAPI is 0 %, and it is in force.");
        expect(before).toBeNull();
      });

      it('a promotion whose traffic is never known to be back ends all-old', async () => {
        await routed().promote({ ...write(3), ...promotion });
        await gateway.stop();
        const failed = await hurried(() => failureOf(routed().setWeight(shift(4, 0, 100))));
        const left = [await share(), await replicasOf('checkout-canary')];
        gateway = gatewayOf();
        // As the workflow goes back.
        const restored = await routed().restoreStable({ ...write(5), stableVersion: V1 });
        await routed().setWeight({ ...shift(6, 0, 100), back: true });
        await routed().removeCanary(write(7));

        expect(failed.kind).toBe('unreachable');
        expect(failed.message).toMatch(
          /^The weight 0 % was written, and is not known to be in force: .* has not said Accepted for generation \d+ of HTTPRoute .* It is left as it was written\.$/,
        );
        expect(left).toEqual([0, 4]);
        expect(restored).toMatch(/^The canary's share by gatewayAPI is 100 % again\. /);
        expect(await imageOf('checkout')).toBe(V1);
        expect(await find('Deployment', 'checkout-canary')).toBeNull();
      });

      it('a roll back is answered as soon as it is written, and says no more', async () => {
        await gateway.stop();
        const said = await routed().setWeight({ ...shift(3, 0, 100), back: true });

        expect(said).toBe(
          "The canary's share by gatewayAPI is set to 0 %, and is read back before the canary's pods are taken away.",
        );
        expect(await share()).toBe(0);
      });

      it('a look says of what it has put right whether that is in force', async () => {
        const look = async (step: number): Promise<readonly string[]> => {
          const backendRefs = [
            { name: 'checkout', port: 80, weight: 90 },
            { name: 'checkout-canary', port: 80, weight: 10 },
          ];
          const edit = { type: 'merge', patch: { spec: { rules: [{ backendRefs }] } } } as const;
          await cluster.patch(ref(), edit, { signal });
          return (await routed().reassert({ ...write(step), weight: 100, match: [] })).foreignEdits;
        };
        const known = await look(3);
        await gateway.stop();
        const unknown = await look(4);
        gateway = gatewayOf();

        expect(known).toEqual([expect.stringMatching(/ was at 10 % instead of 100 %/)]);
        expect(unknown).toEqual([
          expect.stringMatching(/ was at 10 % instead of 100 %/),
          expect.stringMatching(/^The weight 100 % was written again, and is not known to be in force: .*generation/),
        ]);
        expect(await share()).toBe(100);
      });
    });

    it('refuses a match step that the route has no room for before anything is changed', async () => {
      const rules = Array.from({ length: 9 }, (_, index) => ({
        ...rule,
        matches: [{ path: { type: 'PathPrefix', value: `/${index}` } }],
      }));
      await createRoute(rules);
      const match = [{ kind: 'header', name: 'x-canary', value: 'true' }] as const;

      await expect(routed().observe({ version: V2, signal })).resolves.toMatchObject({ weight: 0 });
      expect(await failureOf(routed().observe({ version: V2, match, signal }))).toMatchObject({
        kind: 'invalidTarget',
        message: expect.stringMatching(/^HTTPRoute .* no room .* 18 rules, and the Gateway API allows 16; /) as string,
      });
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });
  });

  it('a person who scales stable down while it is restored is not overruled', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await cluster.scale(deployment('checkout'), 1, { signal });
    await target.promote({ ...write(3), ...promotion });
    await target.setWeight(shift(4, 50, 100));
    await target.restoreStable({ ...write(5), stableVersion: V1 });
    const grown = await replicasOf('checkout');
    await cluster.scale(deployment('checkout'), 2, { signal });
    await eventually(async () => (await availableOf('checkout')) === 2, 'stable is smaller');
    await target.restoreStable({ ...write(6), stableVersion: V1 });

    expect(grown).toBe(4);
    expect(await replicasOf('checkout')).toBe(2);
  });

  it('stable is restored where the route can no longer be split', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    await target.setWeight(shift(4, 50, 100));
    const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
    const mirroring = { weighted: null, mirroring: { name: 'checkout', port: 80, mirrors: [] } };
    await cluster.patch(split, { type: 'merge', patch: { spec: mirroring } }, { signal });
    const said = await target.restoreStable({ ...write(5), stableVersion: V1 });

    expect(said).toMatch(/^The traffic is left where it is: .* Deployment .*\/checkout runs .* again/u);
    expect(await imageOf('checkout')).toBe(V1);
  });

  it('is promoted with the pods that all of the traffic needs, be it asked for more', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await controller.stop();
    await cluster.scale(deployment('checkout-canary'), 6, { signal });
    const { generation } = (await find('Deployment', 'checkout-canary'))?.metadata as { generation: number };
    const counts = { replicas: 6, availableReplicas: 5, readyReplicas: 5, updatedReplicas: 6 };
    const patch = { status: { observedGeneration: generation, ...counts } };
    await cluster.patch(deployment('checkout-canary'), { type: 'merge', patch }, { signal, subresource: 'status' });
    const promoted = target.promote({ ...write(3), ...promotion });
    await eventually(async () => (await imageOf('checkout')) === V2, 'stable is made anew');
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);

    expect(await promoted).toMatch(/runs .* with 4 ready pods/u);
  });

  describe('whose splitter somebody has deleted', () => {
    const sentence = /TraefikService .*\/checkout-split does not exist\. There is nothing to route by/;

    beforeEach(async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const at = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
      await cluster.delete(at, { signal });
    });

    it('goes back all the same, and says so; a weight is neither raised nor held', async () => {
      const raise = await failureOf(target.setWeight(shift(3, 75, 50)));
      const hold = await failureOf(target.reassert({ ...write(4), weight: 50, match: [] }));
      const zero = await target.setWeight(shift(5, 0, 50));
      const removed = await target.removeCanary(write(6));

      expect([raise, hold].map(({ kind }) => kind)).toEqual(['invalidTarget', 'invalidTarget']);
      expect(zero).toMatch(sentence);
      expect(removed).toMatch(sentence);
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
      expect(await find('Service', 'checkout-canary')).toBeNull();
      expect([await replicasOf('checkout'), await imageOf('checkout')]).toEqual([4, V1]);
    });

    it('is taken back on the cluster alone', async () => {
      const { steps } = await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

      expect(steps[0]?.sentence).toMatch(sentence);
      expect(steps[0]?.writes).toBe(0);
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
      expect(await find('Service', 'checkout-canary')).toBeNull();
    });
  });

  it.each<[string, (late: Target) => Promise<unknown>]>([
    ['measurement', (late) => late.reassert({ ...write(3), weight: 50, match: [] })],
    ['weight', (late) => late.setWeight(shift(3, 75, 50))],
  ])('a %s that comes after the roll back makes nothing anew', async (_, attempt) => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await target.setWeight(shift(4, 0, 50));
    await target.removeCanary(write(5));
    const made: string[] = [];
    const create: Cluster['create'] = (object, options) => {
      made.push(object.kind);
      return cluster.create(object, options);
    };
    const late = targetOf({}, withCreate(cluster, create));

    expect((await failureOf(attempt(late))).kind).toBe('fenceLost');
    expect(made).toEqual([]);
  });

  describe('a roll back on the cluster alone', () => {
    const directly = (): ReturnType<typeof rollBackDirectly> =>
      rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

    it('takes the weight first, leaves nothing over, and refuses what the release still sends', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const told: string[] = [];
      const { steps, release } = await rollBackDirectly(
        cluster,
        { namespace, name: 'checkout' },
        { signal, onNews: (news) => void (news.kind === 'done' && told.push(news.step.sentence)) },
      );

      expect(release).toBe('r1');
      expect(told).toEqual(steps.map((one) => one.sentence));
      expect(told[0]).toMatch(/ set to 0 %, and is read back before the canary's pods are taken away\.$/);
      expect(await weights()).toEqual({ checkout: 1 });
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
      expect((await failureOf(target.setWeight(shift(9, 75, 50)))).kind).toBe('fenceLost');
      expect(await weights()).toEqual({ checkout: 1 });
    });

    it('waits for stable where a promotion was half done', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      controller.hold.add('checkout');
      await failureOf(target.promote({ ...write(3), ...promotion, timeoutMs: 1_500 }));
      controller.hold.delete('checkout');
      await directly();

      expect(await imageOf('checkout')).toBe(V1);
      expect(await weights()).toEqual({ checkout: 1 });
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    it('is held by no clock: the next release is not in its way, and a hand with a later time is not in this one’s', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
      const byHand = JSON.stringify({ release: 'by-hand', epoch: 1_000, step: 1, attempt: 1 });
      const annotations = { 'sluice.dev/fence': byHand };
      await cluster.patch(split, { type: 'merge', patch: { metadata: { annotations } } }, { signal });
      await directly();

      expect(await weights()).toEqual({ checkout: 1 });

      const second = { release: 'r2', epoch: Date.now() + 60_000 };
      await target.deploy(write(1, second));
      await directly();
      const next = { release: 'r3', epoch: second.epoch + 2 };
      await target.deploy(write(1, next));

      expect(await replicasOf('checkout-canary')).toBe(1);
    });

    it('says so when there is no such namespace or service', async () => {
      const direct = (where: { namespace: string; name: string }): Promise<Error> =>
        failureOf(rollBackDirectly(cluster, where, { signal }));

      const nowhere = await direct({ namespace: 'nowhere', name: 'checkout' });
      const nobody = await direct({ namespace, name: 'nobody' });

      expect(nowhere.message).toMatch(
        /^There is no namespace nowhere in this cluster, so there is nothing to take back/,
      );
      expect(nobody.message).toMatch(/^There is no service nobody in namespace \S+: no Service and no Deployment has/);
    });

    it('says so when there is nothing to take back', async () => {
      const failure = await failureOf(directly());

      expect(failure).toMatchObject({ kind: 'invalidTarget' });
      expect(failure.message).toMatch(/nothing to take back/);
    });
  });

  describe('a canary left with all of the traffic, while stable has nobody to take it', () => {
    const V3 = 'registry.example/shop:v3';
    const later = (step: number, image = V3): ReturnType<typeof write> => ({
      ...write(step, { release: 'r2', epoch: 2 }),
      version: image,
      artifact: image,
    });
    const laterShift = (step: number, weight: number, previousWeight: number): Parameters<Target['setWeight']>[0] => ({
      ...later(step, V2),
      weight,
      previousWeight,
      match: [],
    });
    const ALL_ON_CANARY = { checkout: 0, 'checkout-canary': 100 };
    const look = (): ReturnType<typeof lookAtService> =>
      lookAtService(
        cluster,
        targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout-split' } }),
        signal,
      );
    /** Release r1 has been ended from outside at 100 %. */
    const leaveAtAll = async (): Promise<void> => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
    };
    const loseStable = async (): Promise<void> => {
      controller.hold.add('checkout');
      const annotations = { 'example.com/touched': 'yes' };
      await cluster.patch(deployment('checkout'), { type: 'merge', patch: { metadata: { annotations } } }, { signal });
      await eventually(async () => (await availableOf('checkout')) === 0, 'stable has no available pod');
    };
    const promoteHalf = async (): Promise<void> => {
      controller.hold.add('checkout');
      await failureOf(target.promote({ ...write(3), ...promotion, timeoutMs: 1_500 }));
      const { generation } = (await find('Deployment', 'checkout'))?.metadata as { generation: number };
      const counts = { replicas: 4, availableReplicas: 1, readyReplicas: 1, updatedReplicas: 1 };
      const patch = { status: { observedGeneration: generation, ...counts } };
      await controller.stop();
      controller.hold.delete('checkout');
      await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal, subresource: 'status' });
    };
    const allPods = async (): Promise<void> => {
      controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
      await eventually(async () => (await availableOf('checkout')) === 4, 'stable has its pods');
    };

    it('keeps it from another image’s release, which leaves all as it was', async () => {
      await leaveAtAll();
      await loseStable();
      const template = (await specOf('Deployment', 'checkout-canary'))['template'];
      const seen = await target.observe({ version: V3, signal });
      const refused = await failureOf(target.deploy(later(1)));
      const back = await target.removeCanary(later(2));

      expect(seen.onlyCanary).toMatch(/checkout has 0 of the 4 available pods .* sluice promote -f release\.yaml/u);
      expect(refused).toMatchObject({ kind: 'unreachable', message: seen.onlyCanary });
      expect(back).toMatch(/left as it was before this release/u);
      expect(await weights()).toEqual(ALL_ON_CANARY);
      expect((await specOf('Deployment', 'checkout-canary'))['template']).toEqual(template);
      expect((await failureOf(target.setWeight(shift(4, 0, 100)))).kind).toBe('unreachable');

      controller.hold.delete('checkout');
      await eventually(async () => (await availableOf('checkout')) === 4, 'stable has its pods again');
      await target.deploy(later(3));

      expect(await weights()).toEqual({ checkout: 100 });
    });

    it.each(['without available pods', 'without pods, as before a first version'])(
      'is promoted as it is: %s',
      async (how) => {
        const isFirst = how.includes('first');
        if (isFirst) await cluster.scale(deployment('checkout'), 0, { signal });
        await leaveAtAll();
        if (!isFirst) await loseStable();
        const template = (await specOf('Deployment', 'checkout-canary'))['template'];
        const deployed = await target.deploy(later(1, V2));
        const kept = await weights();
        const lower = await failureOf(target.setWeight(laterShift(2, 50, 0)));
        await target.setWeight(laterShift(3, 100, 0));
        const back = await target.setWeight(laterShift(4, 0, 100));
        const stays = await weights();
        controller.hold.delete('checkout');
        await target.promote({ ...later(5, V2), ...promotion, release: 'r2' });
        await target.setWeight(laterShift(6, 0, 100));
        await target.removeCanary(later(7, V2));

        expect(deployed).toMatch(/keeps the 100 % of the traffic that it has/u);
        expect(kept).toEqual(ALL_ON_CANARY);
        expect(lower.kind).toBe('unreachable');
        expect(back).toMatch(/is left as it was before this release: .* available pods/u);
        expect(stays).toEqual(ALL_ON_CANARY);
        expect(template).toBeDefined();
        expect(await imageOf('checkout')).toBe(V2);
        expect(await weights()).toEqual({ checkout: 1 });
        expect((await look()).leftovers).toEqual([]);
      },
    );

    it('is taken over with its pods, and given back with its traffic by a release that gets no further', async () => {
      await leaveAtAll();
      await loseStable();
      // Somebody has changed stable meanwhile: that is no reason to make pods anew under the traffic.
      const containers = [{ name: 'web', image: V1, env: [{ name: 'NEW', value: '1' }] }];
      const patch = { spec: { template: { spec: { containers } } } };
      await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal });
      const before = await specOf('Deployment', 'checkout-canary');
      await target.deploy(later(1, V2));
      await target.removeCanary(later(2, V2));

      expect(await specOf('Deployment', 'checkout-canary')).toEqual(before);
      expect(await weights()).toEqual(ALL_ON_CANARY);
    });

    it.each(['asked for, which do not come', 'that it was never asked for'])(
      'whose promotion fails is left as it was, and what was made of stable goes: pods %s',
      async (which) => {
        if (which.includes('never')) await cluster.scale(deployment('checkout'), 0, { signal });
        await leaveAtAll();
        if (!which.includes('never')) await loseStable();
        await target.deploy(later(1, V2));
        await target.setWeight(laterShift(2, 100, 0));
        controller.hold.add('checkout');
        await failureOf(target.promote({ ...later(3, V2), ...promotion, release: 'r2', timeoutMs: 1_500 }));
        const handed = await failureOf(target.setWeight(laterShift(4, 0, 100)));
        await target.restoreStable({ ...later(5, V2), stableVersion: V1 });
        const back = await target.setWeight(laterShift(6, 0, 100));
        const removed = await target.removeCanary(later(7, V2));

        expect(handed.kind).toBe('unreachable');
        expect([back, removed]).toEqual([
          expect.stringMatching(/is left as it was before this release/u),
          expect.stringMatching(/is left as it was before this release/u),
        ]);
        expect(await imageOf('checkout')).toBe(V1);
        expect(await replicasOf('checkout')).toBe(which.includes('never') ? 0 : 4);
        expect(await weights()).toEqual(ALL_ON_CANARY);
      },
    );

    it('goes where the splitter was deleted, with nothing left to be carried', async () => {
      await cluster.scale(deployment('checkout'), 0, { signal });
      await leaveAtAll();
      await cluster.delete(
        { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' },
        { signal },
      );
      await target.setWeight(shift(3, 0, 100));
      await target.removeCanary(write(4));

      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    it('stays while another release’s promotion is half done, whichever release would take it', async () => {
      await leaveAtAll();
      await promoteHalf();
      const deployed = await failureOf(target.deploy(later(1)));
      const zero = await failureOf(target.setWeight({ ...laterShift(2, 0, 100) }));

      expect(await availableOf('checkout')).toBe(1);
      expect(deployed.message).toMatch(/has 1 of the 4 available pods/u);
      expect(zero.kind).toBe('unreachable');
      expect(await weights()).toEqual(ALL_ON_CANARY);

      await allPods();
      await target.setWeight({ ...laterShift(3, 0, 100) });

      expect(await weights()).toEqual({ checkout: 100 });
    });

    it('once stable has its pods: the next release comes back to it at once, also when one of them is away', async () => {
      await leaveAtAll();
      await promoteHalf();
      await allPods();
      await target.deploy(later(1));
      await target.setWeight({ ...laterShift(2, 25, 0), version: V3, artifact: V3 });
      await controller.stop();
      const patch = { status: { availableReplicas: 3, readyReplicas: 3 } };
      await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal, subresource: 'status' });
      const shared = await weights();
      await target.setWeight({ ...laterShift(3, 0, 25), version: V3, artifact: V3 });

      expect(shared).toEqual({ checkout: 75, 'checkout-canary': 25 });
      expect(await weights()).toEqual({ checkout: 100 });
    });

    it('whose half-done promotion is gone on with keeps the way back to what was before it', async () => {
      await leaveAtAll();
      await promoteHalf();
      controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
      controller.hold.add('checkout');
      await target.deploy(later(1, V2));
      controller.hold.delete('checkout');
      await target.promote({ ...later(2, V2), ...promotion, release: 'r2' });
      await target.restoreStable({ ...later(3, V2), stableVersion: V1 });

      expect(await imageOf('checkout')).toBe(V1);
    });

    it.each([
      ['a clean-up', async (): Promise<void> => undefined],
      ['a later release that goes back', async (): Promise<void> => void (await target.deploy(later(1)))],
    ])('%s lets go of what the ended promotion has left on stable', async (_, begin) => {
      await leaveAtAll();
      await promoteHalf();
      await allPods();
      await begin();
      await target.setWeight({ ...laterShift(2, 0, 100) });
      await target.removeCanary(later(3));
      const stable = await find('Deployment', 'checkout');
      const { managedFields } = stable?.metadata as { managedFields?: { manager: string }[] };

      expect((await look()).leftovers).toEqual([]);
      expect(Object.keys(stable?.metadata.annotations ?? {})).toEqual(['sluice.dev/fence']);
      expect(managedFields?.map(({ manager }) => manager)).not.toContain(cluster.fieldManager);
    });
  });

  describe('the first version of a service without pods', () => {
    beforeEach(async () => {
      await cluster.scale({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' }, 0, { signal });
    });

    it('has nothing to be compared with, and stable gets its pods by the promotion', async () => {
      expect(await target.observe({ version: V2, signal })).toMatchObject({ stableVersion: null, weight: 0 });

      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      await target.promote({ ...write(3), ...promotion });

      expect(await replicasOf('checkout')).toBe(1);
      expect(await imageOf('checkout')).toBe(V2);

      await target.setWeight(shift(4, 0, 100));
      await target.removeCanary(write(5));

      expect(await weights()).toEqual({ checkout: 1 });
      expect(await replicasOf('checkout')).toBe(1);
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    it('that fails, be it in the middle of its promotion, leaves no pods and no traffic', async () => {
      const before = await specOf('Deployment', 'checkout');
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      controller.hold.add('checkout');
      const half = await failureOf(target.promote({ ...write(3), ...promotion, timeoutMs: 1_500 }));
      const restored = await target.restoreStable({ ...write(4), stableVersion: 'no version' });
      await target.setWeight(shift(5, 0, 100));
      await target.removeCanary(write(6));

      expect(half.kind).toBe('deployFailed');
      expect(restored).toBe(`Deployment ${namespace}/checkout has no pods again, as before the release.`);
      expect(await specOf('Deployment', 'checkout')).toEqual(before);
      expect(await weights()).toEqual({ checkout: 1 });
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });

    it('is refused where the number of pods is the share', async () => {
      const failure = await failureOf(targetOf({ traffic: { kind: 'replicas' } }).observe({ version: V2, signal }));

      expect(failure.message).toMatch(/has no pods, and with traffic by replicas their number is the share/);
    });
  });

  it('puts right what somebody else changed, and says what it was', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 25, 0));
    const other = server().connect({ fieldManager: 'argocd-controller' });
    const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
    const services = [
      { name: 'checkout', port: 80, weight: 100 },
      { name: 'checkout-canary', port: 80, weight: 0 },
    ];
    await other.patch(split, { type: 'merge', patch: { spec: { weighted: { services } } } }, { signal });
    const first = await target.reassert({ ...write(3), weight: 25, match: [] });
    await cluster.delete({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout-canary' }, { signal });
    const second = await target.reassert({ ...write(4), weight: 25, match: [] });
    const third = await target.reassert({ ...write(5), weight: 25, match: [] });

    expect(first.foreignEdits[0]).toMatch(/was at 0 % instead of 25 %/);
    expect(await weights()).toEqual({ checkout: 75, 'checkout-canary': 25 });
    expect(second.foreignEdits).toEqual([`Deployment ${namespace}/checkout-canary was gone, and was made again.`]);
    expect(third).toEqual({ foreignEdits: [], standing: [], guardTripped: null, unreachable: [] });
    other.close();
  });

  it('puts no traffic back onto a track that has lost its pods along with it, until they are there again', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    // As a sync does that knows nothing of the release: everything at once.
    controller.hold.add('checkout-canary');
    const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
    const services = [{ name: 'checkout', port: 80, weight: 1 }];
    await cluster.scale(deployment('checkout-canary'), 0, { signal });
    await eventually(async () => (await availableOf('checkout-canary')) === 0, 'the canary is without pods');
    await cluster.patch(split, { type: 'merge', patch: { spec: { weighted: { services } } } }, { signal });
    const first = await target.reassert({ ...write(3), weight: 50, match: [] });
    const meanwhile = await weights();
    controller.hold.delete('checkout-canary');
    await eventually(async () => (await availableOf('checkout-canary')) === 2, 'the canary has its pods again');
    await target.reassert({ ...write(4), weight: 50, match: [] });

    expect(first.foreignEdits).toContain(
      `The traffic is at 0 % and stays there until Deployment ${namespace}/checkout-canary has the pods that 50 % need (0 of 2 are available).`,
    );
    expect(meanwhile).toEqual({ checkout: 1 });
    expect(await weights()).toEqual({ checkout: 50, 'checkout-canary': 50 });
  });

  it('is not kept from going back by a stable Deployment that somebody has paused', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await cluster.patch(deployment('checkout'), { type: 'merge', patch: { spec: { paused: true } } }, { signal });
    const { guardTripped } = await target.reassert({ ...write(3), weight: 50, match: [] });
    const promoted = await failureOf(target.promote({ ...write(4), ...promotion }));
    await target.setWeight(shift(5, 0, 50));
    await target.removeCanary(write(6));

    expect(guardTripped).toBeNull();
    expect(promoted).toMatchObject({ kind: 'invalidTarget', message: expect.stringMatching(/is paused/) as string });
    expect(await weights()).toEqual({ checkout: 1 });
    expect(await find('Deployment', 'checkout-canary')).toBeNull();
  });

  it('gives stable its pods again where somebody took them, before anything is sent to it', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    controller.hold.add('checkout');
    await cluster.scale(deployment('checkout'), 0, { signal });
    await eventually(async () => (await availableOf('checkout')) === 0, 'stable is without pods');
    const back = await failureOf(target.setWeight(shift(3, 0, 100)));
    const asked = await replicasOf('checkout');
    const meanwhile = await weights();
    controller.hold.delete('checkout');
    await eventually(async () => (await availableOf('checkout')) === 4, 'stable has its pods again');
    await target.setWeight(shift(4, 0, 100));

    expect(back.kind).toBe('unreachable');
    expect(asked).toBe(4);
    expect(meanwhile).toEqual({ checkout: 0, 'checkout-canary': 100 });
    expect(await weights()).toEqual({ checkout: 100 });
  });

  it('tells what somebody else made of stable, and gives it pods again while the canary has the traffic', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    const containers = [{ name: 'web', image: 'registry.example/shop:other' }];
    const patch = { spec: { template: { spec: { containers } } } };
    await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal });
    const changed = await target.reassert({ ...write(3), weight: 100, match: [] });
    await cluster.scale(deployment('checkout'), 0, { signal });
    const scaled = await target.reassert({ ...write(4), weight: 100, match: [] });

    expect(changed.foreignEdits).toEqual([
      `Deployment ${namespace}/checkout has the image registry.example/shop:other; when the release began it was ${V1}: the canary is compared with, and would be taken back to, another version than before.`,
    ]);
    expect(scaled.foreignEdits).toEqual([
      `Deployment ${namespace}/checkout was scaled to 0, and was given its pods again.`,
    ]);
    expect(await replicasOf('checkout')).toBe(4);
  });

  it('is deployed once its pods are there and gateways have had time to hear of them', async () => {
    const story: string[] = [];
    const gatewaysHear = async (): Promise<void> => {
      story.push(`${await availableOf('checkout-canary')} available`);
    };
    const plan = targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout-split' } });
    await createCanaryTarget(plan, { cluster, resolve: async (image) => image, gatewaysHear }).deploy(write(1));
    story.push('deployed');

    expect(story).toEqual(['1 available', 'deployed']);
  });

  it('sizes the canary by what stable had at the beginning, where an autoscaler shrinks that meanwhile', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await cluster.scale(deployment('checkout'), 2, { signal });
    await eventually(async () => (await availableOf('checkout')) === 2, 'stable is smaller');
    await target.setWeight(shift(3, 100, 50));

    expect(await replicasOf('checkout-canary')).toBe(4);
  });

  it.each([
    ['a roll back', (): Promise<unknown> => target.setWeight(shift(3, 0, 100))],
    ['one on the cluster alone', () => rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal })],
  ])('%s waits for no pods that an autoscaler took from stable, and asks for them', async (_, back) => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await cluster.scale(deployment('checkout'), 1, { signal });
    await eventually(async () => (await availableOf('checkout')) === 1, 'stable is smaller');
    controller.hold.add('checkout');
    await back();

    expect((await weights())['checkout-canary'] ?? 0).toBe(0);
    expect(await replicasOf('checkout')).toBe(4);
  });

  it('a promotion that is taken back waits for them, while the canary carries the traffic', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await cluster.scale(deployment('checkout'), 1, { signal });
    await target.promote({ ...write(3), ...promotion });

    expect(await target.restoreStable({ ...write(4), stableVersion: V1 })).toMatch(/runs .*:v1 again, with 4 ready/);
    expect(await weights()).toEqual({ checkout: 0, 'checkout-canary': 100 });
  });

  it('is promoted though an autoscaler shrinks stable while its pods are made anew', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    controller.hold.add('checkout');
    const promoted = target.promote({ ...write(3), ...promotion });
    await eventually(async () => (await imageOf('checkout')) === V2, 'stable is being made anew');
    await cluster.scale(deployment('checkout'), 2, { signal });
    controller.hold.delete('checkout');

    expect(await promoted).toMatch(/runs .* with 2 ready pods/);
  });

  describe('a promotion that somebody else undoes, as a sync does that puts the image of Git back', () => {
    const putBack = async (): Promise<void> => {
      const patch = { spec: { template: { spec: { containers: [{ name: 'web', image: V1 }] } } } };
      await cluster.patch(deployment('checkout'), { type: 'merge', patch }, { signal });
    };
    const undone = (): string =>
      `Deployment ${namespace}/checkout has the image ${V1} in place of ${V2}: somebody else has undone the promotion, so it is no place to hand the traffic back to; keep what applies it (a GitOps tool's sync) off its image for the time of a release.`;
    const promoted = async (): Promise<void> => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      await target.promote({ ...write(4), ...promotion });
    };

    it('is asserted again while stable is made anew, and told', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      controller.hold.add('checkout');
      const making = target.promote({ ...write(4), ...promotion });
      await eventually(async () => (await imageOf('checkout')) === V2, 'stable is being made anew');
      await putBack();
      await eventually(async () => (await imageOf('checkout')) === V2, 'stable has the release’s image again');
      controller.hold.delete('checkout');

      expect(await making).toMatch(
        / Somebody else has undone this once meanwhile, .* it has the image registry\.example\/shop:v1 in place of /,
      );
      expect(await imageOf('checkout')).toBe(V2);
    });

    it('is not asserted again where somebody has taken the traffic with a later fence first', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      controller.hold.add('checkout');
      const making = failureOf(target.promote({ ...write(4), ...promotion }));
      await eventually(async () => (await imageOf('checkout')) === V2, 'stable is being made anew');
      const { fence } = write(1);
      const byHand = { release: 'by-hand', epoch: fence.epoch + 1, step: 1, attempt: 1 };
      await target.setWeight({ ...shift(1, 100, 100), fence: byHand });
      await putBack();
      const lost = await making;
      controller.hold.delete('checkout');

      expect(lost).toMatchObject({
        kind: 'fenceLost',
        message: `The traffic of ${namespace}/checkout is held by a later write: release by-hand, step 1.`,
      });
      expect(await imageOf('checkout')).toBe(V1);
    });

    it('ends in the words of what stable has when it is undone again and again, and goes back', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      const over = new AbortController();
      const fight = (async (): Promise<void> => {
        while (!over.signal.aborted) if ((await imageOf('checkout')) === V2) await putBack();
      })();
      controller.hold.add('checkout');
      const lost = await failureOf(target.promote({ ...write(4), ...promotion }));
      over.abort();
      await fight;
      controller.hold.delete('checkout');
      await target.restoreStable({ ...write(5), stableVersion: V1 });
      await target.setWeight(shift(6, 0, 100));

      expect(lost).toMatchObject({ kind: 'deployFailed', message: undone() });
      expect(await weights()).toEqual({ checkout: 100 });
      expect(await imageOf('checkout')).toBe(V1);
    });

    it('ends at once where a foreign edit is to end the release', async () => {
      const strict = targetOf({ onForeignEdit: 'rollback' });
      await strict.deploy(write(1));
      await strict.setWeight(shift(2, 100, 0));
      controller.hold.add('checkout');
      const making = failureOf(strict.promote({ ...write(4), ...promotion }));
      await eventually(async () => (await imageOf('checkout')) === V2, 'stable is being made anew');
      await putBack();

      expect(await making).toMatchObject({ kind: 'deployFailed', message: undone() });
      expect(await imageOf('checkout')).toBe(V1);
    });

    it.each([50, 0])('before the traffic comes back to %i %%: nobody is handed to the old version', async (weight) => {
      await promoted();
      await putBack();
      const seen = await target.reassert({ ...write(3), weight: 100, match: [] });
      const refused = await failureOf(target.setWeight(shift(5, weight, 100)));
      const meanwhile = await weights();
      await target.restoreStable({ ...write(6), stableVersion: V1 });
      await target.setWeight(shift(7, 0, 100));

      expect(seen).toMatchObject({
        foreignEdits: [
          `Deployment ${namespace}/checkout has the image ${V1} in place of ${V2}, which the promotion gave it.`,
        ],
        guardTripped: null,
      });
      expect(refused).toMatchObject({ kind: 'invalidTarget', message: undone() });
      expect(meanwhile).toEqual({ checkout: 0, 'checkout-canary': 100 });
      expect(await weights()).toEqual({ checkout: 100 });
    });

    it('ends the release while stable has a part of the traffic, and before it has the rest', async () => {
      await promoted();
      await target.setWeight(shift(5, 50, 100));
      await putBack();
      const { foreignEdits, guardTripped } = await target.reassert({ ...write(6), weight: 50, match: [] });
      const refused = await failureOf(target.setWeight(shift(7, 0, 50)));

      expect(foreignEdits).toHaveLength(1);
      expect(guardTripped).toBe(undone());
      expect(refused).toMatchObject({ kind: 'invalidTarget', message: undone() });
      expect(await weights()).toEqual({ checkout: 50, 'checkout-canary': 50 });
    });

    it('is taken back on the cluster alone, too', async () => {
      await promoted();
      await putBack();
      await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

      expect(await weights()).toEqual({ checkout: 1 });
      expect(await imageOf('checkout')).toBe(V1);
      expect(await find('Deployment', 'checkout-canary')).toBeNull();
    });
  });

  it('takes what an admission controller makes of the image for the proven one', async () => {
    const mirrored = 'mirror.example/shop:v2';
    const admitting = server().connect();
    const send = admitting.patch.bind(admitting);
    admitting.patch = (ref, patch, options) => {
      const text = JSON.stringify(patch).replaceAll(`"value":"${V2}"`, `"value":"${mirrored}"`);
      return send(ref, JSON.parse(text) as typeof patch, options);
    };
    const through = targetOf({}, admitting);
    await through.deploy(write(1));
    await through.setWeight(shift(2, 100, 0));
    const first = await through.promote({ ...write(4), ...promotion });
    // As an attempt that follows one whose worker was killed.
    const second = await through.promote({ ...write(5), ...promotion });
    const { foreignEdits } = await through.reassert({ ...write(6), weight: 100, match: [] });
    await through.setWeight(shift(7, 0, 100));
    admitting.close();

    expect(first).toMatch(/ the canary carries the traffic\.$/);
    expect(second).toBe(first);
    expect(foreignEdits).toEqual([]);
    expect(await imageOf('checkout')).toBe(mirrored);
    expect(await weights()).toEqual({ checkout: 100 });
  });

  it('is not promoted, and stable is left as it is, while the canary that alone would serve lacks its pods', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    controller.hold.add('checkout-canary');
    await cluster.patch(
      deployment('checkout-canary'),
      { type: 'merge', patch: { spec: { minReadySeconds: 1 } } },
      { signal },
    );
    await eventually(async () => (await availableOf('checkout-canary')) === 0, 'the canary is without pods');
    const refused = await failureOf(target.promote({ ...write(3), ...promotion }));

    expect(refused).toMatchObject({
      kind: 'unreachable',
      message: `Deployment ${namespace}/checkout-canary has 0 of the 4 available pods that all of the traffic needs, and it alone serves while stable is made anew; Deployment ${namespace}/checkout stays as it is until they are there.`,
    });
    expect(await imageOf('checkout')).toBe(V1);
  });

  it.each([
    ['stable’s pods', { app: 'checkout' }],
    ['no pods at all', { app: 'another' }],
  ])('refuses a Service of the canary’s name that leads to %s, before anything is changed', async (_, selector) => {
    await cluster.create(canaryService(selector), { signal });
    const failure = await failureOf(target.deploy(write(1)));

    expect(failure).toMatchObject({ kind: 'invalidTarget' });
    expect(failure.message).toMatch(/checkout-canary is there already .* let it select app=checkout-canary/);
    expect(await find('Deployment', 'checkout-canary')).toBeNull();
  });

  it('uses a Service of the canary’s name that the user made, and lets it go at the end', async () => {
    await cluster.create(canaryService({ app: 'checkout-canary' }), { signal });
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await target.setWeight(shift(3, 0, 50));
    await target.removeCanary(write(4));
    const left = await find('Service', 'checkout-canary');
    const managers = (left?.metadata.managedFields ?? []) as { manager: string; subresource?: string }[];

    expect(left?.['spec']).toMatchObject({ selector: { app: 'checkout-canary' } });
    expect(managers.map(({ manager }) => manager)).not.toContain(cluster.fieldManager);
  });

  it('follows what stable is asked to have, as an autoscaler changes it', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await cluster.scale({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' }, 9, { signal });
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 50, match: [] });

    expect(foreignEdits).toEqual([]);
    // ceil(9 x 50 %)
    expect(await replicasOf('checkout-canary')).toBe(5);
  });

  it('adopts a canary that the user made, and gives it back without pods', async () => {
    const labels = { app: 'checkout-canary', tier: 'web' };
    await cluster.create(
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'checkout-canary', namespace, labels: { own: 'label' } },
        spec: {
          replicas: 0,
          selector: { matchLabels: { app: 'checkout-canary' } },
          template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: V1 }] } },
        },
      },
      { signal },
    );
    await target.deploy(write(1));
    const live = await find('Deployment', 'checkout-canary');

    expect(live?.metadata.labels).toEqual({ own: 'label' });
    expect(await imageOf('checkout-canary')).toBe(V2);
    expect(await replicasOf('checkout-canary')).toBe(1);

    await target.removeCanary(write(2));

    expect(await replicasOf('checkout-canary')).toBe(0);
  });

  it.each([
    ['is taken back', 2, { replicas: 2, image: V1 }, /checkout-canary keeps 2 pods of .*:v1, because TraefikService/],
    ['is promoted', 2, { replicas: 2, image: V2 }, /checkout-canary keeps 2 pods of .*:v2, because TraefikService/],
    ['is taken back', 0, { replicas: 0, image: V2 }, /checkout-canary is without pods\.$/],
  ] as const)(
    'a canary of the user’s own that his TraefikService names: the release %s, and it has its %i pods again',
    async (end, replicas, left, sentence) => {
      const labels = { app: 'checkout-canary' };
      await cluster.create(
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'checkout-canary', namespace, labels },
          spec: {
            replicas,
            selector: { matchLabels: labels },
            template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: V1 }] } },
          },
        },
        { signal },
      );
      await cluster.create(canaryService(labels), { signal });
      const services = [
        { name: 'checkout', port: 80, weight: 100 },
        { name: 'checkout-canary', port: 80, weight: 0 },
      ];
      const at = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
      await cluster.patch(at, { type: 'merge', patch: { spec: { weighted: { services } } } }, { signal });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      if (end === 'is promoted') await target.promote({ ...write(3), ...promotion });
      await target.setWeight(shift(4, 0, 100));
      const said = await target.removeCanary(write(5));
      const again = await target.removeCanary(write(6));

      expect(said).toMatch(sentence);
      expect(again).toMatch(replicas === 0 ? sentence : /checkout-canary keeps/);
      expect(await weights()).toEqual({ checkout: 100, 'checkout-canary': 0 });
      expect({ replicas: await replicasOf('checkout-canary'), image: await imageOf('checkout-canary') }).toEqual(left);
      expect(await find('Service', 'checkout-canary')).not.toBeNull();
    },
  );

  describe('what cannot be released is refused before anything is changed', () => {
    it.each<[string, Parameters<typeof targetPlan>[0], RegExp]>([
      ['an absent namespace', { namespace: 'nowhere' }, /^There is no namespace nowhere in this cluster; name /],
      ['an absent Deployment', { deployment: 'nothing' }, /There is no Deployment .*\/nothing/],
      ['an absent Service', { service: 'nothing' }, /There is no Service .*\/nothing/],
      [
        'an absent route',
        { traffic: { kind: 'traefik', traefikService: 'nothing' } },
        /TraefikService .*does not exist/,
      ],
      ['a container that is none', { container: 'sidecar' }, /has no container sidecar/],
    ])('%s', async (_, changes, sentence) => {
      const failure = await failureOf(targetOf(changes).observe({ version: V2, signal }));

      expect(failure.kind).toBe('invalidTarget');
      expect(failure.message).toMatch(sentence);
    });

    it('a canary Ingress of the user’s own that leads elsewhere', async () => {
      const ingress = (name: string, service: string, annotations: Record<string, string>): KubernetesObject => ({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        metadata: { name, namespace, annotations },
        spec: {
          rules: [
            {
              http: {
                paths: [
                  { path: '/', pathType: 'Prefix', backend: { service: { name: service, port: { number: 80 } } } },
                ],
              },
            },
          ],
        },
      });
      await cluster.create(ingress('web', 'checkout', {}), { signal });
      await cluster.create(
        ingress('web-canary', 'some-other-service', { 'nginx.ingress.kubernetes.io/canary': 'true' }),
        { signal },
      );
      const changes: Parameters<typeof targetPlan>[0] = { traffic: { kind: 'nginx', ingresses: ['web'] } };
      const failure = await failureOf(targetOf(changes).observe({ version: V2, signal }));
      const { traffic } = await lookAtService(cluster, targetPlan({ namespace, ...changes }), signal);

      expect(failure).toMatchObject({
        kind: 'invalidTarget',
        message: expect.stringMatching(
          /web-canary .* leads to Service some-other-service.*Service checkout-canary/,
        ) as string,
      });
      expect(traffic.remarks).toEqual([failure.message]);
    });

    it('a Service that selects both tracks', async () => {
      await cluster.create(
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'checkout-canary', namespace },
          spec: {
            selector: { matchLabels: { app: 'checkout', track: 'canary' } },
            template: {
              metadata: { labels: { app: 'checkout', track: 'canary' } },
              spec: { containers: [{ name: 'web', image: V1 }] },
            },
          },
        },
        { signal },
      );

      expect((await failureOf(target.observe({ version: V2, signal }))).message).toMatch(
        /selects the pods of both tracks/,
      );
    });

    it('a canary that an older release made, whose selector is another', async () => {
      const labels = { app: 'other' };
      await cluster.create(
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'checkout-canary', namespace, labels: { 'sluice.dev/made-for': 'r0' } },
          spec: {
            replicas: 0,
            selector: { matchLabels: labels },
            template: { metadata: { labels }, spec: { containers: [{ name: 'web', image: V1 }] } },
          },
        },
        { signal },
      );
      const failure = await failureOf(target.observe({ version: V2, signal }));

      expect(failure).toMatchObject({ kind: 'invalidTarget' });
      expect(failure.message).toMatch(/checkout-canary selects its pods by other labels .*delete it/);
    });

    it('a paused Deployment, and a route without the backend', async () => {
      const stable = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' };
      const split = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'checkout-split' };
      const services = [{ name: 'other', port: 80, weight: 1 }];
      await cluster.patch(split, { type: 'merge', patch: { spec: { weighted: { services } } } }, { signal });
      const withoutBackend = await failureOf(target.observe({ version: V2, signal }));
      await cluster.patch(stable, { type: 'merge', patch: { spec: { paused: true } } }, { signal });
      const paused = await failureOf(target.observe({ version: V2, signal }));

      expect(withoutBackend.message).toMatch(
        /TraefikService \S+ does not lead to Service \S+; make that a backend there/,
      );
      expect(paused.message).toMatch(/is paused.*rollout resume/);
    });
  });
});

/** A cluster whose creations a test has in hand. */
function withCreate(cluster: Cluster, create: Cluster['create']): Cluster {
  return new Proxy(cluster, {
    get: (real, name: keyof Cluster) => {
      if (name === 'create') return create;
      const value: unknown = real[name];
      // Its own methods know only the real one.
      return typeof value === 'function' ? (value.bind(real) as unknown) : value;
    },
  });
}
