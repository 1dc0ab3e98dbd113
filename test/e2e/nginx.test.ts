import { get } from 'node:http';
import type { ReleaseStatus } from '../../src/workflows/api';
import { describeWithLab } from '../lab/describe-with-lab';
import { ensureNginx } from '../lab/parts';
import { tell } from '../lab/tell';
import { NginxPlane, readInput } from '../nginx/plane';
import { Load } from './load';
import { LabShop } from './lab-shop';
import { ADA, ended, labPlan, startReleaseStack, until } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(300_000);

/** Two Ingresses of one service: for the world, and for those inside. */
const INGRESSES = ['shop', 'shop-intern'] as const;
const TRAFFIC = `{ nginx: { ingress: [${INGRESSES.join(', ')}] } }`;

describeWithLab('canary annotations on a real cluster, with a real nginx that serves them', (lab) => {
  let stack: ReleaseStack;
  let shop: LabShop;
  let plane: NginxPlane;
  let stopFollowing: () => Promise<void>;
  let loads: readonly Load[];
  let count = 0;

  const hostOf = (ingress: string): string => `${ingress}.${shop.namespace}.example`;
  const ref = (): { service: string; namespace: string } => ({ service: 'shop', namespace: shop.namespace });
  const signal = (): AbortSignal => AbortSignal.timeout(20_000);

  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack.stop());

  beforeEach(async () => {
    shop = await LabShop.make(lab, stack.cluster, `nginx-${process.pid}-${(count += 1)}`);
    for (const name of INGRESSES) await stack.cluster.create(ingress(name), { signal: signal() });
    const nginx = await ensureNginx(tell);
    plane = await NginxPlane.start(nginx, await readInput(stack.cluster, shop.namespace, signal()));
    stopFollowing = plane.follow(stack.cluster, shop.namespace);
    loads = INGRESSES.map((name) => new Load(plane.url, hostOf(name), { perSecond: 25 }));
  });
  afterEach(async () => {
    await Promise.all(loads.map((load) => load.stop()));
    await stopFollowing();
    await plane.stop();
    await shop.remove();
  });

  function ingress(name: string) {
    const backend = { service: { name: 'shop', port: { number: 80 } } };
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: { name, namespace: shop.namespace },
      spec: {
        ingressClassName: 'nginx',
        rules: [{ host: hostOf(name), http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
      },
    };
  }

  async function release(more: SpecChoices = {}): Promise<void> {
    const plan = labPlan(lab, shop.namespace, shop.image('v2'), { traffic: TRAFFIC, ...more });
    await stack.client.deploy(plan, { actor: ADA });
  }

  async function ingresses(): Promise<string[]> {
    const kind = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace: shop.namespace };
    const found = await stack.cluster.list(kind, { signal: signal() });
    return found.map(({ metadata }) => metadata.name).sort();
  }

  /** The version that serves one request. */
  function ask(headers: Readonly<Record<string, string>> = {}, name: string = INGRESSES[0]): Promise<string> {
    return new Promise((resolve, reject) => {
      // fetch does not let the Host header be set.
      get(plane.url, { headers: { host: hostOf(name), ...headers } }, (response) => {
        response.resume();
        response.once('end', () => resolve(String(response.headers['x-version'] ?? response.statusCode)));
      }).once('error', reject);
    });
  }

  /** The canary serves such requests: also the workers that nginx replaces at each change have gone. */
  async function served(headers: Readonly<Record<string, string>>, name: string): Promise<void> {
    for (let inARow = 0; inARow < 10;) inARow = (await ask(headers, name)) === 'v2' ? inARow + 1 : 0;
  }

  async function rolledBack(): Promise<ReleaseStatus> {
    await stack.client.rollback(ref(), { actor: ADA });
    return ended(stack.client, shop.namespace);
  }

  it('promotes a version through every Ingress, and not one request fails', async () => {
    await release();
    const status = await ended(stack.client, shop.namespace);
    const served = (await Promise.all(loads.map((load) => load.stop()))).flat();

    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    for (const load of loads) {
      expect(new Set(load.served.map(({ version }) => version))).toEqual(new Set(['v1', 'v2']));
      expect(load.served.at(-1)?.version).toBe('v2');
    }
    expect(await ingresses()).toEqual([...INGRESSES].sort());
  });

  it('splits as it was asked to on each Ingress, by a chi-squared test of what nginx served', async () => {
    await release({ weights: [30, 100], soak: '5m' });
    await until(stack.client, shop.namespace, (status) => status.phase === 'soaking' && status.weight === 30);
    // nginx takes a moment from the annotations to what it serves.
    for (const name of INGRESSES) while ((await ask({}, name)) !== 'v2');
    const since = Date.now();
    const enough = (): boolean => loads.every((load) => load.served.filter(({ at }) => at >= since).length >= 300);
    await until(stack.client, shop.namespace, (status) => enough() || status.weight !== 30);
    const counts = loads.map((load) => load.countsSince(since));
    const status = await rolledBack();

    expect(status.outcome).toBe('aborted');
    for (const { v1 = 0, v2 = 0, ...others } of counts) {
      expect(others).toEqual({});
      expect(v1 + v2).toBeGreaterThanOrEqual(300);
      const chiSquared = (v2 - (v1 + v2) * 0.3) ** 2 / ((v1 + v2) * 0.3 * 0.7);
      // One degree of freedom; a split that is right fails this once in a hundred thousand runs.
      expect(chiSquared).toBeLessThan(19.5);
    }
    expect(await ingresses()).toEqual([...INGRESSES].sort());
  });

  it('leads those who are marked by a header or a cookie, and nobody else, before the first weight', async () => {
    await release({
      before:
        '    - match: { header: { x-canary: "true" } }\n    - match: { cookie: beta }\n    - approve: { timeout: 5m }',
      weights: [100],
      soak: '60s',
    });
    await until(stack.client, shop.namespace, (status) => status.phase === 'awaitingApproval');
    for (const name of INGRESSES) {
      await served({ 'x-canary': 'true' }, name);
      await served({ cookie: 'beta=always' }, name);
    }
    const since = Date.now();
    const marked = [await ask({ 'x-canary': 'true' }), await ask({ cookie: 'beta=always' }, INGRESSES[1])];
    const others = [await ask({ 'x-canary': 'false' }), await ask({ cookie: 'beta=never' }), await ask()];
    const unmarked = loads.map((load) => load.countsSince(since));
    const status = await rolledBack();

    expect({ marked, others }).toEqual({ marked: ['v2', 'v2'], others: ['v1', 'v1', 'v1'] });
    for (const counts of unmarked) expect(Object.keys(counts).filter((version) => version !== 'v1')).toEqual([]);
    expect(status.outcome).toBe('aborted');
    expect(await ask({ 'x-canary': 'true' })).toBe('v1');
  });
});
