import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { loadApiServer } from '../../src/targets/kubernetes/kube-config';
import type { Plan } from '../../src/spec/plan-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { describeWithApiServer } from '../targets/kubernetes/api-server';
import { DeploymentController } from '../targets/kubernetes/deployment-controller';
import { Line } from '../targets/kubernetes/line';
import { namespaceObject, shopDeployment, shopIngress, shopService } from '../targets/kubernetes/shop-objects';
import { planOf, startStack } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;
const signal = AbortSignal.timeout(10 * 60_000);

function image(digit: string): string {
  return `registry.example/shop@sha256:${digit.repeat(64)}`;
}

function plan(namespace: string): Plan {
  const spec = `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: ${namespace} }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, traffic: { nginx: { ingress: checkout } } }
  smokeTest: false
  steps:
    - { weight: 50, soak: 5m }
    - { weight: 100, soak: 5m }
  analysis:
    source: { prometheus: { url: 'http://127.0.0.1:1' } }
    interval: 10s
    metrics:
      - { name: error-rate, max: 20% }
`;
  return planOf(spec, image('2'));
}

describeWithApiServer('a release that is begun while the API server is away', (server) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-away-'));
  let stack: Stack;
  let line: Line;
  let hand: Cluster;
  let controller: DeploymentController;

  beforeAll(async () => {
    hand = server().connect({ fieldManager: 'hand' });
    const { url } = loadApiServer({ kubeconfig: server().kubeconfig });
    line = await new Line(Number(new URL(url).port)).start();
    const kubeconfig = path.join(folder, 'kubeconfig');
    writeFileSync(kubeconfig, readFileSync(server().kubeconfig, 'utf8').replace(url, line.url));
    stack = await startStack();
    await stack.startWorker({ env: { ...process.env, KUBECONFIG: kubeconfig } });
  });

  afterEach(() => controller.stop());

  afterAll(async () => {
    await stack?.stop();
    await line?.stop();
    hand?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each<[string, { away(): void | Promise<void>; back(): unknown; words: string }]>([
    ['refuses connections', { away: () => line.stop(), back: () => line.start(), words: 'refused the connection' }],
    [
      'takes them and is silent',
      { away: () => line.freeze(), back: () => line.thaw(), words: 'did not answer within 10000 ms' },
    ],
  ])('says so and goes on when it is back, where it %s', async (how, { away, back, words }) => {
    const namespace = how.split(' ')[0] ?? '';
    const named = { namespace, name: 'checkout' };
    const objects = [
      namespaceObject(namespace),
      shopDeployment(named, { image: image('1'), replicas: 1 }),
      shopService(named),
      shopIngress(named),
    ];
    for (const object of objects) await hand.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    controller.hold.add('checkout-canary');
    const seen: string[] = [];
    const until = async (holds: (status: ReleaseStatus) => boolean): Promise<ReleaseStatus> => {
      for await (const status of stack.client.watch({ service: 'checkout', namespace }, { everyMs: 100 })) {
        if (seen.at(-1) !== status.message) seen.push(status.message);
        if (holds(status)) return status;
      }
      throw new Error(`the release ended before: ${seen.join('\n')}`);
    };

    await away();
    await stack.client.deploy(plan(namespace), { actor: ada });
    const told = await until(({ trouble }) => trouble?.includes('away since') === true);
    const toldFirst = [...seen];
    await back();
    const waiting = await until(({ waits }) => waits !== undefined);
    controller.hold.delete('checkout-canary');
    const following = await until(({ phase, trouble }) => phase === 'shifting' && trouble !== undefined);
    await stack.client.rollback({ service: 'checkout', namespace }, { actor: ada, reason: 'no time' });
    // It waits for none of that.
    await until(({ phase }) => phase === 'rollingBack' || phase === 'rolledBack');

    // Its own words, and never Temporal's for an attempt that took too long.
    expect(told.message).toMatch(
      new RegExp(
        `^observe failed .* and is tried again: The API server at \\S+ ${words} .*\\. It has been away since .*Z\\.$`,
      ),
    );
    expect(toldFirst.filter((message) => message.includes('timeout'))).toEqual([]);
    // Nothing has failed, and nothing happens yet.
    expect(waiting.phase).toBe('deploying');
    expect(waiting.message).toMatch(
      / Waiting up to 600 s until Deployment \S+\/checkout-canary has 1 available pod\.$/,
    );
    expect(following.trouble).toMatch(/^The API server was away; for another \d+ s a gateway may not know/);
  });
});
