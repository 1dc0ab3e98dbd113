import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { TrafficPlan } from '../../../src/spec/plan-types';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { DirectNews, DirectRollBack } from '../../../src/targets/kubernetes/direct-roll-back';
import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import { createKubernetesTarget } from '../../../src/targets/kubernetes/kubernetes-target';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import type { WatchableCluster } from '../../../src/targets/kubernetes/cluster';
import { tellWrites } from '../../../src/targets/kubernetes/told-writes';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { run, start } from '../../cli/harness';
import { fencedBlocks } from '../../examples/markdown';
import { describeWithApiServer, installDefinitions, until } from './api-server';
import { requestsOf } from './counted-requests';
import { DeploymentController } from './deployment-controller';
import { GatewayController } from './gateway-controller';
import { nginxIngress } from './shop-objects';
import { targetPlan } from './target-plans';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const RELEASE = 'checkout-20261126-093000-1f2e';
const NGINX = 'nginx.ingress.kubernetes.io';
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number): TargetWrite & { timeoutMs: number } {
  const fence = { release: RELEASE, epoch: 1, step, attempt: 2 };
  return { version: '1.42.0', artifact: V2, fence, signal, timeoutMs: 20_000 };
}

function shift(step: number, weight: number): Parameters<Target['setWeight']>[0] {
  return { ...write(step), weight, previousWeight: 0, match: [] };
}

const NGINX_PLAN: TrafficPlan = { kind: 'nginx', ingresses: ['shop', 'admin'] };

const ROUTE_PLAN: TrafficPlan = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] };

const ROUTE: KubernetesObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'checkout' },
  spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }] },
};

const STABLE: readonly KubernetesObject[] = [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'checkout' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'checkout' } },
      template: {
        metadata: { labels: { app: 'checkout' } },
        spec: { containers: [{ name: 'web', image: V1 }] },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'checkout' },
    spec: { selector: { app: 'checkout' }, ports: [{ port: 80 }] },
  },
];

describeWithApiServer('what a roll back on the cluster alone tells of its writes', (server) => {
  let cluster: WatchableCluster;
  let namespace: string;
  let controller: DeploymentController;
  let controllers: DeploymentController[] = [];
  let gateways: GatewayController[] = [];
  let target: Target;
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['httproutes', 'grpcroutes']);
  }, 300_000);

  beforeEach(() => release(`direct-${(count += 1)}`, NGINX_PLAN, [nginxIngress('shop'), nginxIngress('admin')]));

  afterEach(async () => {
    await Promise.all([...controllers, ...gateways].map((one) => one.stop()));
    controllers = [];
    gateways = [];
  });
  afterAll(() => cluster.close());

  /** One that has half of the traffic. */
  const release = async (into: string, traffic: TrafficPlan, objects: readonly KubernetesObject[]): Promise<void> => {
    namespace = into;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    controllers.push(controller);
    gateways.push(new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace));
    for (const object of [...STABLE, ...objects]) {
      await cluster.create({ ...object, metadata: { ...object.metadata, namespace } }, { signal });
    }
    target = createKubernetesTarget(targetPlan({ namespace, container: 'web', traffic, drainMs: 1_000 }), {
      cluster,
      resolve: async (image) => image,
    });
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50));
  };
  const env = (): NodeJS.ProcessEnv => ({ KUBECONFIG: server().kubeconfig });
  const command = (...more: readonly string[]): string[] => [
    'rollback',
    `${namespace}/checkout`,
    '--direct',
    '--yes',
    ...more,
  ];

  it('each that the API server took, with its object, under the step that it belongs to', async () => {
    const counter = new RequestCounter();
    const counted = server().connect({ counter });
    const news: DirectNews[] = [];
    const done = rollBackDirectly(
      counted,
      { namespace, name: 'checkout' },
      { signal, onNews: (one) => news.push(one) },
    );
    const requests = await requestsOf(counter, done);
    counted.close();
    const { steps, writes, weightZeroMs, totalMs } = await done;

    const sent = Object.entries(requests).filter(([kind]) => /^(create|patch|delete) /.test(kind));
    expect(writes).toHaveLength(sent.reduce((sum, [, times]) => sum + times, 0));
    expect(news.flatMap((one) => (one.kind === 'write' ? [one.write] : []))).toEqual(writes);
    expect(news.flatMap((one) => (one.kind === 'done' ? [one.step] : []))).toEqual(steps);
    const zeros = writes.filter(({ changes }) => changes.includes(`${NGINX}/canary-weight = 0`));
    expect(zeros.map(({ verb, object }) => `${verb} ${object}`).sort()).toEqual([
      `patch Ingress ${namespace}/admin-canary`,
      `patch Ingress ${namespace}/shop-canary`,
    ]);
    expect(steps.reduce((sum, step) => sum + step.writes, 0)).toBe(writes.length);
    const inZero = writes.slice(0, steps[0]?.writes);
    expect(weightZeroMs).toBe(inZero.at(-1)?.atMs);
    expect(weightZeroMs).toBeLessThan(steps[0]?.atMs ?? 0);
    expect(totalMs).toBeGreaterThanOrEqual(steps.at(-1)?.atMs ?? Number.POSITIVE_INFINITY);
    // All the waiting of it is between the steps.
    for (const { ms } of writes) expect(ms).toBeLessThan(totalMs - 1_000);
  });

  it('to people, line by line, and to machines in the same words', async () => {
    const { code, out, err } = await run(command('-o', 'json'), { env: env() });
    const { steps, writes } = JSON.parse(out) as Pick<DirectRollBack, 'steps' | 'writes'>;

    const lines = err
      .replaceAll(namespace, 'pay')
      .replaceAll(/\d+ ms/g, 'N ms')
      .trimEnd()
      .split('\n');
    const isWrite = (line: string): boolean => /\] (create|patch|delete) /.test(line);
    expect({ code, course: lines.filter((line) => !isWrite(line)) }).toEqual({
      code: 0,
      course: [
        'Setting the weight to 0:',
        "  [N ms] The canary's share by nginx is set to 0 %, and is read back before the canary's pods are taken away. (2 writes, N ms)",
        'Giving stable its old template back:',
        '  [N ms] Deployment pay/checkout still is as it was, with its version of before. (1 write, N ms)',
        '[N ms] Waiting 1 s for the requests under way to end (drain).',
        'Taking the new version away:',
        '  [N ms] 1.42.0 is no longer beside stable: Deployment pay/checkout-canary is gone. (12 writes, N ms)',
      ],
    });
    expect(lines.findIndex(isWrite)).toBe(1);
    // The two Ingresses are written at once.
    expect(lines.filter(isWrite).sort()).toEqual([
      '  [N ms] delete Deployment pay/checkout-canary (N ms)',
      '  [N ms] delete Ingress pay/admin-canary (N ms)',
      '  [N ms] delete Ingress pay/shop-canary (N ms)',
      '  [N ms] delete Service pay/checkout-canary (N ms)',
      '  [N ms] patch Deployment pay/checkout: metadata.managedFields (N ms)',
      '  [N ms] patch Deployment pay/checkout: sluice.dev/fence (N ms)',
      '  [N ms] patch Deployment pay/checkout: sluice.dev/fence (N ms)',
      '  [N ms] patch Ingress pay/admin-canary: nginx.ingress.kubernetes.io/canary-weight = 0, sluice.dev/fence, sluice.dev/traffic (N ms)',
      '  [N ms] patch Ingress pay/admin-canary: sluice.dev/fence (N ms)',
      '  [N ms] patch Ingress pay/admin: metadata.managedFields (N ms)',
      '  [N ms] patch Ingress pay/admin: sluice.dev/fence, without sluice.dev/traffic (N ms)',
      '  [N ms] patch Ingress pay/shop-canary: nginx.ingress.kubernetes.io/canary-weight = 0, sluice.dev/fence, sluice.dev/traffic (N ms)',
      '  [N ms] patch Ingress pay/shop-canary: sluice.dev/fence (N ms)',
      '  [N ms] patch Ingress pay/shop: metadata.managedFields (N ms)',
      '  [N ms] patch Ingress pay/shop: sluice.dev/fence, without sluice.dev/traffic (N ms)',
    ]);
    const told = [...steps, ...writes].map(({ sentence }) => sentence);
    expect(told).toHaveLength(3 + 15);
    for (const sentence of told) expect(err).toContain(sentence);
  });

  it('none that was a dry run, was refused or found nothing, and no value that may be a secret', async () => {
    const told: string[] = [];
    const heard = tellWrites(cluster, {
      onWrite: ({ verb, object, changes }) => told.push([verb, object, ...changes].join(' ')),
      onWait: () => undefined,
    });
    const stable = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' };
    const env = [{ name: 'TOKEN', value: 'secret' }];
    const operations = [
      { op: 'add', path: '/spec/template/spec/containers/0/env', value: env },
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: V2 },
    ] as const;
    const secret = { op: 'replace', path: '/spec/template/spec/containers/0/env/0/value', value: 'another' } as const;

    await heard.patch(stable, { type: 'json', operations }, { signal, dryRun: true });
    await expect(heard.patch(stable, { type: 'json', operations, resourceVersion: '1' }, { signal })).rejects.toThrow();
    await heard.delete({ ...stable, name: 'nobody' }, { signal });
    await heard.patch(stable, { type: 'json', operations }, { signal });
    await heard.patch(stable, { type: 'json', operations: [secret] }, { signal });

    const containers = 'spec.template.spec.containers.0';
    expect(told).toEqual([
      `patch Deployment ${namespace}/checkout ${containers}.env ${containers}.image = ${V2}`,
      `patch Deployment ${namespace}/checkout ${containers}.env.0.value`,
    ]);
  });

  it('as docs/kubernetes.md shows it', async () => {
    await release('shop', ROUTE_PLAN, [ROUTE]);
    const page = readFileSync(path.join(__dirname, '../../../docs/kubernetes.md'), 'utf8');
    const shown = fencedBlocks(page, 'text').filter((block) => block.startsWith('Setting the weight to 0:'));

    const { out, err } = await run(command(), { env: env() });

    const withoutTimes = (text: string): string => text.replaceAll(/\d+ (ms|s)\b/g, 'N $1');
    expect(shown.map(withoutTimes)).toEqual([withoutTimes(`${err}${out}`)]);
  });

  it('nothing of a step without any but that there was nothing to do', async () => {
    for (const name of ['shop', 'admin', 'shop-canary', 'admin-canary']) {
      await cluster.delete({ apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name }, { signal });
    }

    const { code, out, err } = await run(command(), { env: env() });

    expect(code).toBe(0);
    expect(err).toMatch(
      /^Setting the weight to 0:\n {2}\[\d+ ms\] Nothing to do: The canary's share by nginx is set to 0 %, .*\n/,
    );
    // Fence; Deployment, Service, and what is written on stable.
    expect(out).toMatch(/Weight 0 was written after \d+ ms, and all of it done after \d+ ms, with 5 writes\.\n$/);
  });

  it('and of what it waits for, when it begins to', async () => {
    const stable = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' };
    await cluster.scale(stable, 0, { signal });
    await until(async () => readDeployment(await cluster.get(stable, { signal })).availableReplicas === 0);
    controller.hold.add('checkout');

    const running = start(command(), { env: env() });
    await running.wrote('It is tried again for up to 120 s.');
    const meanwhile = running.written();
    controller.hold.delete('checkout');
    const { code, err } = await running.ended;

    expect(code).toBe(0);
    expect(meanwhile.err).toMatch(/ patch Deployment \S+\/checkout: .*spec\.replicas = 2/);
    expect(meanwhile.err).not.toContain('canary-weight = 0');
    expect(err.match(/ stays on the canary until .* It is tried again for up to /g)).toHaveLength(1);
    expect(err).toContain('canary-weight = 0');
  });

  it('to machines what was written until it was interrupted, and goes on from there', async () => {
    const running = start(command('-o', 'json'), { env: env() });
    await running.wrote('requests under way to end (drain)');
    running.interrupt('SIGTERM');
    const { code, out, err } = await running.ended;
    const again = await run(command('-o', 'json'), { env: env() });

    expect(code).toBe(143);
    const document = JSON.parse(out) as Pick<DirectRollBack, 'steps' | 'writes' | 'totalMs'>;
    expect(document).toMatchObject({
      kind: 'Error',
      error: { code: 'timeout', message: expect.stringMatching(/ was interrupted, and stopped between two steps; /) },
      namespace,
      name: 'checkout',
      failedStep: null,
    });
    expect(document.steps.map(({ writes }) => writes)).toEqual([2, 1]);
    expect(document.writes).toHaveLength(3);
    expect(document.totalMs).toBeGreaterThan(document.steps.at(-1)?.atMs ?? Number.POSITIVE_INFINITY);
    expect(err).not.toContain('defect');
    expect(again.code).toBe(0);
  });

  it('to machines what was written until it failed, and at which step', async () => {
    const stable = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' };
    const { metadata } = await cluster.get(stable, { signal });
    // Newer than anybody's clock: whoever writes next is overtaken.
    const fence = JSON.stringify({ release: 'another', epoch: Date.now() + 86_400_000, step: 1, attempt: 1 });
    const annotations = { ...metadata.annotations, 'sluice.dev/fence': fence };
    await cluster.patch(stable, { type: 'merge', patch: { metadata: { annotations } } }, { signal });

    const { code, out, err } = await run(command('-o', 'json'), { env: env() });

    expect(code).toBe(1);
    const { writes, ...rest } = JSON.parse(out) as Pick<DirectRollBack, 'writes'>;
    expect(rest).toMatchObject({
      kind: 'Error',
      error: { code: 'conflict' },
      name: 'checkout',
      failedStep: 'Giving stable its old template back',
      steps: [
        {
          sentence:
            "The canary's share by nginx is set to 0 %, and is read back before the canary's pods are taken away.",
          writes: 2,
        },
      ],
      totalMs: expect.any(Number),
    });
    for (const { sentence } of writes) expect(err).toContain(sentence);
    expect(writes.filter(({ changes }) => changes.includes(`${NGINX}/canary-weight = 0`))).toHaveLength(2);
  });

  it('and of a gateway that has not taken the weight over yet', async () => {
    await release(`${namespace}-route`, ROUTE_PLAN, [ROUTE]);
    await Promise.all(gateways.map((one) => one.stop()));

    const running = start(command(), { env: env() });
    await running.wrote(' s until the weight 0 % is in force: ');
    const meanwhile = running.written();
    gateways.push(new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace));
    const { code } = await running.ended;

    expect(code).toBe(0);
    expect(meanwhile.err).toMatch(/\nTaking the new version away:\n(?!.* delete )/s);
  });
});
