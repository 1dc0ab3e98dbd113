import type { TrafficCluster, TrafficObjectRef } from '../../src/traffic/cluster-access';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import { fenceOn } from '../../src/traffic/fence';
import type { Fence } from '../../src/traffic/fence';
import type { TrafficRouter } from '../../src/traffic/traffic-router';
import { FakeCluster } from './fake-cluster';

const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };
const signal = new AbortController().signal;
const document = (weight: number) => ({ weight, match: [] });
const fence = (step: number, attempt = 1): Fence => ({ release: 'r1', epoch: 1, step, attempt });

let cluster: FakeCluster;

beforeEach(() => {
  cluster = new FakeCluster();
  for (const name of ['a', 'b']) {
    cluster.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name, namespace: 'shop' },
      spec: { rules: [{ backendRefs: [{ name: 'checkout', weight: 1 }] }] },
    });
  }
});

function router(...names: readonly string[]): TrafficRouter {
  const routes = names.map((name) => ({ kind: 'HTTPRoute' as const, name }));
  return createTrafficRouter(cluster, services, { kind: 'gatewayAPI', routes });
}

async function weightOf(name: string): Promise<number | null> {
  cluster.before = () => undefined;
  return (await router(name).observe({ signal })).weight;
}

it('looks again when somebody else was faster, and takes a newer fence seen then for an order to stop', async () => {
  let rounds = 0;
  cluster.before = async (method) => {
    if (method !== 'patch' || rounds > 0) return;
    rounds += 1;
    await router('a').apply({ document: document(0), fence: fence(9), signal });
  };

  await expect(router('a').apply({ document: document(50), fence: fence(2), signal })).rejects.toMatchObject({
    kind: 'fenceLost',
  });

  expect(await weightOf('a')).toBe(0);
});

it('a packet that was long under way finds another resourceVersion, even where nothing seemed to need a change', async () => {
  await router('a').apply({ document: document(5), fence: fence(1), signal });
  let late: (() => unknown) | null = null;
  const stuck: TrafficCluster = Object.assign(Object.create(cluster) as FakeCluster, {
    patch: (ref: TrafficObjectRef, patch: Parameters<TrafficCluster['patch']>[1]) => {
      late = () => cluster.land(ref, patch);
      return Promise.reject(new Error('timed out'));
    },
    find: (ref: TrafficObjectRef) => cluster.find(ref),
  });
  const through = createTrafficRouter(stuck, services, {
    kind: 'gatewayAPI',
    routes: [{ kind: 'HTTPRoute', name: 'a' }],
  });
  await expect(through.apply({ document: document(50), fence: fence(2), signal })).rejects.toThrow('timed out');

  // The weight is 5 still, and 5 is asked for: the write is made nevertheless, for its fence.
  await router('a').apply({ document: document(5), fence: fence(3), signal });

  expect(late).not.toBeNull();
  expect(() => late?.()).toThrow('conflict');
  expect(await weightOf('a')).toBe(5);
});

it('gives up, as something to be tried again, on an object that changes each time', async () => {
  cluster.before = (method, ref) => {
    const live = cluster.objects.get(`HTTPRoute/${ref.name}`);
    if (method === 'patch' && live !== undefined) cluster.put(live);
  };

  await expect(router('a').apply({ document: document(5), fence: fence(1), signal })).rejects.toMatchObject({
    kind: 'contended',
  });
});

it('takes a raise back everywhere when one route cannot be written, under the next attempt’s fence', async () => {
  await router('a', 'b').apply({ document: document(5), fence: fence(1), signal });
  cluster.before = (method, ref) => {
    if (method === 'patch' && ref.name === 'b') throw new Error('the server is away');
  };

  await expect(router('a', 'b').apply({ document: document(50), fence: fence(2), signal })).rejects.toThrow(
    'Not everything reached 50 %, and HTTPRoute shop/b could not be taken back yet: the server is away',
  );

  expect([await weightOf('a'), await weightOf('b')]).toEqual([5, 5]);
  const [a] = [...cluster.objects.values()].filter((one) => one.metadata.name === 'a');
  expect(a && fenceOn(a)).toEqual(fence(2, 2));
});

it('raises nothing when a route is missing', async () => {
  await expect(router('a', 'absent').apply({ document: document(50), fence: fence(1), signal })).rejects.toMatchObject({
    kind: 'missing',
  });

  expect(await weightOf('a')).toBe(0);
});

it('goes back without a route that somebody has deleted, where it may, and says so', async () => {
  await router('a', 'b').apply({ document: document(50), fence: fence(1), signal });
  cluster.objects.delete('HTTPRoute/b');
  const back = { document: document(0), fence: fence(2), signal };
  await expect(router('a', 'b').apply(back)).rejects.toMatchObject({ kind: 'missing' });
  const { gone } = await router('a', 'b').apply({ ...back, fence: fence(3), mayBeGone: true });
  await expect(router('a', 'b').release({ fence: fence(4), signal })).rejects.toMatchObject({ kind: 'missing' });
  await router('a', 'b').release({ fence: fence(5), signal, mayBeGone: true });

  expect(gone).toEqual(['HTTPRoute shop/b does not exist.']);
  expect(await weightOf('a')).toBe(0);
});

it('what else failed on the way back is not hidden by a route that is gone', async () => {
  await router('a', 'b').apply({ document: document(50), fence: fence(1), signal });
  cluster.objects.delete('HTTPRoute/a');
  cluster.before = (method, ref) => {
    if (method === 'patch' && ref.name === 'b') throw new Error('the server is away');
  };
  const back = { document: document(0), fence: fence(2), signal, mayBeGone: true };

  await expect(router('a', 'b').apply(back)).rejects.toThrow('the server is away');
});

it('keeps a lowering wherever it arrived', async () => {
  await router('a', 'b').apply({ document: document(50), fence: fence(1), signal });
  cluster.before = (method, ref) => {
    if (method === 'patch' && ref.name === 'b') throw new Error('the server is away');
  };

  await expect(router('a', 'b').apply({ document: document(0), fence: fence(2), signal })).rejects.toThrow('away');

  expect([await weightOf('a'), await weightOf('b')]).toEqual([0, 50]);
});

it('leaves the rest to whoever cancelled it', async () => {
  const abort = new AbortController();
  cluster.before = (method, ref) => {
    if (method !== 'patch' || ref.name !== 'b') return;
    abort.abort();
    throw new Error('cancelled');
  };

  await expect(
    router('a', 'b').apply({ document: document(50), fence: fence(1), signal: abort.signal }),
  ).rejects.toThrow('cancelled');

  expect(await weightOf('a')).toBe(50);
});

it.each([
  ['a weight that is none', { weight: 12.5, match: [] }],
  ['a cookie', { weight: 5, match: [{ kind: 'cookie' as const, name: 'x' }] }],
  ['a header without a value', { weight: 5, match: [{ kind: 'header' as const, name: 'x', value: null }] }],
])('does not even ask the cluster for what it cannot do: %s', async (_name, beyond) => {
  await expect(router('a').apply({ document: beyond, fence: fence(1), signal })).rejects.toMatchObject({
    kind: 'unsupported',
  });

  expect(cluster.calls).toEqual([]);
});
