import { createCanaryTarget } from '../../src/targets/kubernetes/canary/canary-target';
import { TargetFailure } from '../../src/targets/target';
import type { WriteFence } from '../../src/targets/target';
import { fenceOn } from '../../src/traffic/fence';
import { describeWithLab } from '../lab/describe-with-lab';
import { ApiProxy } from './api-proxy';
import type { Fate, SeenRequest } from './api-proxy';
import { eventually } from './eventually';
import { pairChoices } from './pair';
import { labPlan, startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { Scenario, together } from './scenario';
import type { ScenarioChoices } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const CANARY: SpecChoices = { weights: [50, 100], soak: '5m' };

interface Delay {
  readonly arrives: 'early' | 'late';
  readonly answers: RegExp;
  readonly spec?: SpecChoices;
}

describeWithLab('what is written after its release was rolled back', (lab) => {
  let proxy: ApiProxy;
  let stack: ReleaseStack;
  /** By the namespace: what holds its next request. */
  const holds = new Map<string, (request: SeenRequest) => Promise<void>>();

  beforeAll(async () => {
    proxy = await ApiProxy.start(lab.kubeconfig);
    proxy.before = async (request): Promise<Fate> => {
      const [, namespace = ''] = /\/namespaces\/([^/]+)\//.exec(request.path) ?? [];
      await holds.get(namespace)?.(request);
      return 'pass';
    };
    stack = await startReleaseStack(lab, { kubeconfig: proxy.kubeconfig });
  });
  afterAll(async () => {
    await stack?.stop();
    await proxy?.stop();
  });

  /** The roll back has put its fence onto the route, and gives the route back. */
  const letGo = (namespace: string): boolean =>
    proxy.requests.some(
      ({ method, path, body }) =>
        method === 'PATCH' &&
        path.includes(`/${namespace}/httproutes/`) &&
        body.includes('"remove","path":"/metadata/annotations/sluice.dev~1traffic"'),
    );

  /**
   * A write is under way when the release is rolled back. It arrives when that is over, or (a creation, for which nobody
   * waits longer than ten seconds) as soon as the roll back holds the traffic.
   */
  const delayed =
    (
      isTheWrite: (request: SeenRequest) => boolean,
      { arrives, answers, spec = CANARY, ...choices }: Delay & ScenarioChoices,
    ) =>
    (name: string): Promise<void> => {
      const play = async (one: Scenario): Promise<void> => {
        let goOn = (): void => undefined;
        const rolledBack = new Promise<void>((resolve) => (goOn = resolve));
        const held: SeenRequest[] = [];
        holds.set(one.namespace, async (request) => {
          if (held.length > 0 || !isTheWrite(request)) return;
          held.push(request);
          await rolledBack;
        });
        try {
          await one.release('v2', spec);
          await eventually(() => held.length > 0, 'the write is under way', 120_000);
          await one.rollback();
          if (arrives === 'early') await eventually(() => letGo(one.namespace), 'the route was let go', 120_000);
          else await one.ended();
          goOn();
          const status = await one.ended();
          await eventually(() => held[0]?.status !== null, 'it has arrived');

          expect(String(held[0]?.status)).toMatch(answers);
          const names = async (): Promise<string> => [...(await one.shop.found()).keys()].join(' ');
          await eventually(async () => !(await names()).includes('canary'), 'nothing of the canary is left');
          await one.expectAllOld(status);
        } finally {
          goOn();
        }
      };
      return Scenario.run(lab, stack, name, play, choices);
    };

  together({
    'is refused where it raises the weight': delayed(
      ({ method, path, body }) =>
        method === 'PATCH' && path.endsWith('/httproutes/shop') && body.includes(String.raw`{\"weight\":50,`),
      // The resourceVersion is another: as a conflict, or as a test of the patch that failed.
      { arrives: 'late', answers: /^(409|422)$/ },
    ),
    'is refused where it switches to the other colour': delayed(
      ({ method, path, body }) =>
        method === 'PATCH' &&
        path.endsWith('/services/shop') &&
        body.includes('"path":"/spec/selector/color","value":"green"'),
      { arrives: 'late', answers: /^(409|422)$/, spec: pairChoices({ soak: '5m' }), pair: true },
    ),
    'is taken away again where it makes the canary’s Deployment': delayed(
      ({ method, path }) => method === 'POST' && path.endsWith('/deployments'),
      { arrives: 'early', answers: /^201$/ },
    ),
    'is taken away again where it makes the canary’s Service': delayed(
      ({ method, path }) => method === 'POST' && path.endsWith('/services'),
      { arrives: 'early', answers: /^201$/ },
    ),

    'is refused by the fence, whatever a delayed attempt tries': (name) =>
      Scenario.run(lab, stack, name, async (one) => {
        await one.release('v2', CANARY);
        const soaking = await one.until((status) => status.phase === 'soaking' && status.weight === 50);
        const fence = fenceOn(
          (await one.shop.find('HTTPRoute')) ?? { apiVersion: '', kind: '', metadata: { name: '' } },
        );
        if (fence === null) throw new Error('The route of a release carries no fence.');
        await one.rollback();
        const status = await one.ended();

        // A worker that stood still since the soak and now goes on with what it had in hand.
        const plan = labPlan(lab, one.namespace, one.shop.image('v2')).target;
        if (plan.kind !== 'kubernetes') throw new Error('The lab’s plan is one of Kubernetes.');
        const late = createCanaryTarget(plan, { cluster: stack.cluster, resolve: (image) => Promise.resolve(image) });
        const { to: version, artifact } = soaking.version;
        const write = (attempt: number): { fence: WriteFence } & Common => ({
          ...common,
          fence: { ...fence, attempt },
        });
        type Common = typeof common;
        const common = { version, artifact, signal: AbortSignal.timeout(60_000) };
        // One after another: each is a worker's only one, and what one makes another one would find.
        for (const attempt of [
          () => late.setWeight({ ...write(20), weight: 100, previousWeight: 50, match: [] }),
          () => late.reassert({ ...write(21), weight: 50, match: [] }),
          () => late.deploy({ ...write(22), timeoutMs: 10_000 }),
          () => late.promote({ ...write(23), release: fence.release, smokeTest: null, timeoutMs: 10_000 }),
          () => late.removeCanary(write(24)),
        ]) {
          const error: unknown = await attempt().catch((caught: unknown) => caught);
          expect(error instanceof TargetFailure ? error.kind : error).toBe('fenceLost');
        }
        await one.expectAllOld(status);
      }),
  });
});
