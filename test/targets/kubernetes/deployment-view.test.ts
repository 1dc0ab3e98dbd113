import { containerOf, readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import { TargetFailure } from '../../../src/targets/target';
import { deploymentObject, templateOf } from './deployment-objects';

function refusalOf(run: () => unknown): TargetFailure {
  try {
    run();
  } catch (error) {
    if (error instanceof TargetFailure) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a Deployment, read', () => {
  it('has what the object says, and what Kubernetes leaves out', () => {
    const object = deploymentObject(
      {},
      { replicas: 3, updatedReplicas: 2 },
      { labels: { team: 'a' }, creationTimestamp: null },
    );

    const view = readDeployment(object);

    expect(view).toMatchObject({
      name: 'checkout',
      namespace: 'shop',
      uid: 'uid-of-checkout',
      resourceVersion: '7',
      generation: 2,
      labels: { team: 'a' },
      annotations: {},
      replicas: 1,
      paused: false,
      selector: { app: 'checkout' },
      templateLabels: { app: 'checkout', tier: 'web' },
      containers: [{ name: 'checkout', image: 'example.test/checkout:1' }],
      observedGeneration: 2,
      totalReplicas: 3,
      updatedReplicas: 2,
      availableReplicas: 0,
      readyReplicas: 0,
      conditions: [],
      progressDeadlineSeconds: 600,
    });
  });

  it('keeps the template to the letter, also fields that nobody here knows', () => {
    const template = {
      ...templateOf(['checkout']),
      spec: { containers: [{ name: 'checkout', image: 'a:1', fromTheFuture: { x: [1] } }], runtimeClassName: 'kata' },
    };

    expect(readDeployment(deploymentObject({ template })).template).toBe(template);
  });

  it('takes 0 replicas for what they are, and a Deployment without a status for one that nobody has seen', () => {
    const { status, ...fresh } = deploymentObject({ replicas: 0 });

    expect(status).toBeDefined();
    expect(readDeployment(fresh)).toMatchObject({ replicas: 0, observedGeneration: 0, updatedReplicas: 0 });
  });

  it.each([
    ['expressions', { matchLabels: { app: 'x' }, matchExpressions: [{ key: 'a', operator: 'Exists' }] }],
    ['nothing', { matchLabels: {} }],
  ])('refuses a selector of %s', (_, selector) => {
    const refusal = refusalOf(() => readDeployment(deploymentObject({ selector })));

    expect([refusal.kind, refusal.message]).toEqual([
      'invalidTarget',
      'Deployment shop/checkout does not select its pods by labels alone; allowed is a selector of matchLabels without matchExpressions.',
    ]);
  });

  it('says where an object is none that can be released', () => {
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'checkout', namespace: 'shop' } };
    const empty = deploymentObject({ template: { metadata: {}, spec: { containers: [] } } });

    expect(refusalOf(() => readDeployment(service))).toMatchObject({
      kind: 'invalidTarget',
      message: expect.stringMatching(/^Service shop\/checkout is not a Deployment that can be released: kind: .*\.$/),
    });
    expect(refusalOf(() => readDeployment(empty)).message).toContain('spec.template.spec.containers');
  });
});

describe('the container that is released', () => {
  const of = (name: string, containers: readonly string[]) =>
    readDeployment(deploymentObject({ template: templateOf(containers) }, {}, { name }));

  it.each([
    ['the named one', 'checkout', ['proxy', 'app'], 'app', 'app'],
    ['the only one', 'checkout', ['anything'], null, 'anything'],
    ['the one named like the Deployment', 'checkout', ['proxy', 'checkout'], null, 'checkout'],
    ['the one named like the service of a pair', 'checkout-canary', ['proxy', 'checkout'], null, 'checkout'],
    ['the one named like the service of a pair', 'checkout-blue', ['checkout', 'proxy'], null, 'checkout'],
    ['the exact name before the one without its track', 'navy-blue', ['navy', 'navy-blue'], null, 'navy-blue'],
  ])('is %s', (_, name, containers, wanted, expected) => {
    expect(containerOf(of(name, containers), wanted).name).toBe(expected);
  });

  it('is asked for where nothing tells which', () => {
    const refusal = refusalOf(() => containerOf(of('checkout', ['a', 'b']), null));

    expect([refusal.kind, refusal.message]).toEqual([
      'invalidTarget',
      'Deployment shop/checkout has several containers; say in the spec which one is released, as `container`: a, b.',
    ]);
  });

  it('is refused under a name that is not there, even where there is only one', () => {
    const refusal = refusalOf(() => containerOf(of('checkout', ['checkout']), 'app'));

    expect(refusal.message).toBe(
      'Deployment shop/checkout has no container app; `container` in the spec may be one of: checkout.',
    );
  });
});
