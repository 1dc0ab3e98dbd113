import { BUILD_WITHIN_MS, builtSluice } from '../examples/built-sluice';
import { Checkout } from '../examples/ci-jobs';
import { describeWithLab } from '../lab/describe-with-lab';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { LabShop } from './lab-shop';
import { labSpec, startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

describeWithLab('a release that cannot be is refused in one clear sentence, before anything is changed', (lab) => {
  let stack: ReleaseStack;
  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  /** What is there was made so by a hand, and is untouched afterwards: not even a fence is on it. */
  const refused =
    (why: RegExp, prepare: (shop: LabShop) => Promise<void>, more: SpecChoices = {}) =>
    (name: string): Promise<void> =>
      Scenario.run(
        lab,
        stack,
        name,
        async (one) => {
          const before = specsOf(await one.shop.found());
          await one.release('v2', more);
          const status = await one.ended();

          expect(status).toMatchObject({ outcome: 'rolledBack', weight: 0 });
          expect(status.message).toMatch(why);
          expect(status.events.map((event) => event.type)).not.toContain('deployed');
          expect(specsOf(await one.shop.found())).toEqual(before);
          expect(one.lost()).toEqual([]);
        },
        { replicas: 1, prepare },
      );

  together({
    'an absent Deployment': refused(
      /There is no Deployment .*\/nothing \(nor nothing-stable\)/,
      () => Promise.resolve(),
      { deployment: 'nothing' },
    ),
    'a paused Deployment': refused(/Deployment .*\/shop is paused.*rollout resume deployment\/shop/, (shop) =>
      shop.patch('Deployment', [{ op: 'add', path: '/spec/paused', value: true }]),
    ),
    'a Service that selects both tracks': refused(
      /Service .*\/shop selects the pods of both tracks \(app=shop\)/,
      async (shop) => {
        await shop.create(canaryOf({ app: 'shop', track: 'canary' }, {}));
        await shop.settled('shop-canary');
      },
    ),
    'a route without the backend': refused(
      /HTTPRoute \S+\/elsewhere does not lead to Service \S+\/shop; make that a backend/,
      (shop) => route(shop),
      {
        traffic: '{ gatewayAPI: { httpRoute: elsewhere } }',
      },
    ),
    'a canary whose selector, which cannot change, is another': refused(
      /Deployment .*\/shop-canary selects its pods by other labels .* delete it/,
      // What a release of an older version, or of another Deployment by that name, has left behind.
      async (shop) => {
        await shop.create(canaryOf({ app: 'other' }, { 'sluice.dev/made-for': 'another' }));
        // Else its controller's own note on it comes while the test looks for what the release changed.
        await shop.settled('shop-canary');
      },
    ),
    'an image reference that is none': (name) =>
      Scenario.run(
        lab,
        stack,
        name,
        async (one) => {
          const before = specsOf(await one.shop.found());
          const checkout = new Checkout({ SLUICE_ACTOR: 'ada' });
          try {
            checkout.write('release.yaml', labSpec(lab, one.namespace));
            const env = { TEMPORAL_ADDRESS: stack.address, KUBECONFIG: lab.kubeconfig };
            for (const [image, why] of [
              ['Shop:v2', /^Error: .*"Shop:v2" is not an image reference: its name has capital letters.*\.$/m],
              [`${lab.registry}/shop`, /^Error: .* names neither a tag nor a digest\.$/m],
              [`${lab.registry}/shop@sha256:12`, /^Error: .* has a digest that is not sha256: and 64 .*\.$/m],
            ] as const) {
              const { code, log } = await checkout.run(`sluice deploy release.yaml --image ${image}`, env);

              expect({ image, code, log }).toEqual({ image, code: 2, log: expect.stringMatching(why) as string });
            }
          } finally {
            checkout.remove();
          }
          await expect(stack.client.status(one.ref)).rejects.toMatchObject({ code: 'not-found' });
          expect(specsOf(await one.shop.found())).toEqual(before);
          expect(one.lost()).toEqual([]);
        },
        { replicas: 1 },
      ),
  });
});

/** What a release would change. */
function specsOf(objects: ReadonlyMap<string, KubernetesObject>): unknown {
  return [...objects].map(([name, { metadata, ...object }]) => {
    const { labels, annotations } = metadata;
    return { name, labels, annotations, spec: object['spec'] };
  });
}

/** A Deployment beside stable, without pods. */
function canaryOf(labels: Readonly<Record<string, string>>, own: Readonly<Record<string, string>>): KubernetesObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'shop-canary', labels: own },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'shop', image: 'none:none' }] } },
    },
  };
}

function route(shop: LabShop): Promise<void> {
  return shop.create({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'elsewhere' },
    spec: { parentRefs: [{ name: 'shop' }], rules: [{ backendRefs: [{ name: 'other', port: 80 }] }] },
  });
}
