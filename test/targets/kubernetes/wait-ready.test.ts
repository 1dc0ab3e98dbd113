import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import type { KubernetesObject, ObjectRef } from '../../../src/targets/kubernetes/objects';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { waitUntilReady } from '../../../src/targets/kubernetes/wait-ready';
import type { WaitReadyOptions } from '../../../src/targets/kubernetes/wait-ready';
import { TargetFailure } from '../../../src/targets/target';
import { connectAs, describeWithApiServer, until } from './api-server';
import { DEADLINE_EXCEEDED, deploymentObject, templateOf } from './deployment-objects';
import type { DeploymentStatus } from './deployment-objects';
import { answer, FakeApi, hang, reset, status } from './fake-api';
import {
  containerStatus,
  ended,
  podEvent,
  podObject,
  replicaSetObject,
  RUNNING,
  unscheduled,
  waiting,
} from './pod-objects';

const namespace = 'shop';
const signal = AbortSignal.timeout(10 * 60_000);
const LONG_MS = 5 * 60_000;

function wanted(options: Partial<WaitReadyOptions> = {}): WaitReadyOptions {
  return { needed: 1, complete: false, timeoutMs: LONG_MS, pollMs: 200, signal, ...options };
}

async function failureOf<T extends Error>(
  kind: abstract new (...args: never[]) => T,
  work: Promise<unknown>,
): Promise<T> {
  const error: unknown = await work.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (error instanceof kind) return error;
  throw new Error(`Expected a ${kind.name}, got ${String(error)}`);
}

/** One Deployment on the real API server, whose controllers and kubelets are the test. */
class World {
  readonly name: string;
  readonly counter = new RequestCounter();
  readonly cluster: Cluster;
  readonly #connect: (counter: RequestCounter) => Cluster;
  #uid = '';
  #told = 0;

  constructor(name: string, connect: (counter: RequestCounter) => Cluster) {
    this.name = name;
    this.#connect = connect;
    this.cluster = connect(this.counter);
  }

  async deploy(spec: Readonly<Record<string, unknown>> = {}): Promise<this> {
    const object = deploymentObject({ replicas: 1, template: templateOf(['app']), ...spec });
    const { status: _, ...deployment } = object;
    const made = await this.#hand((hand) =>
      hand.create({ ...deployment, metadata: { name: this.name, namespace } }, { signal }),
    );
    this.#uid = made.metadata.uid ?? '';
    return this;
  }

  /** What the Deployment controller would say. */
  status(status: DeploymentStatus): Promise<KubernetesObject> {
    return this.#write(
      { apiVersion: 'apps/v1', kind: 'Deployment', name: this.name },
      { observedGeneration: 1, ...status },
    );
  }

  /** A ReplicaSet of the Deployment, as its controller would make it; answers its uid. */
  async replicaSet(hash: string, revision: number): Promise<string> {
    const { metadata, status: _, ...rest } = replicaSetObject({ hash, revision, owner: this.#uid });
    const { uid: _uid, ...named } = metadata;
    const template = templateOf(['app']) as { metadata: { labels: Record<string, string> } };
    const labels = { ...template.metadata.labels, 'pod-template-hash': hash };
    const made = await this.#hand((hand) =>
      hand.create(
        {
          ...rest,
          metadata: { ...named, name: `${this.name}-${hash}` },
          spec: {
            replicas: 1,
            selector: { matchLabels: { app: 'checkout', 'pod-template-hash': hash } },
            template: { ...template, metadata: { labels } },
          },
        },
        { signal },
      ),
    );
    return made.metadata.uid ?? '';
  }

  /** A pod of that ReplicaSet, with the status that its kubelet would write. */
  async pod(hash: string, owner: string, status: Readonly<Record<string, unknown>>): Promise<string> {
    const name = `${this.name}-${hash}-1`;
    const { metadata, status: pending, ...rest } = podObject(name, hash, status);
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${this.name}-${hash}`, uid: owner }];
    await this.#hand((hand) => hand.create({ ...rest, metadata: { ...metadata, ownerReferences } }, { signal }));
    await this.#write({ apiVersion: 'v1', kind: 'Pod', name }, pending);
    return name;
  }

  /** What a component told about a pod; of several, the last one is the newest. */
  async tell(pod: string, by: string, told: readonly [reason: string, message: string], type = 'Normal') {
    this.#told += 1;
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${pod}.${this.#told}`, namespace },
      ...podEvent(pod, by, told, `2026-01-01T00:00:0${this.#told}Z`),
      type,
    };
    await this.#hand((hand) => hand.create(event, { signal }));
  }

  wait(options: Partial<WaitReadyOptions> = {}): ReturnType<typeof waitUntilReady> {
    return waitUntilReady(this.cluster, { namespace, name: this.name }, wanted(options));
  }

  /** Requests of the wait, by what was asked. */
  requests(verb: string, resource: string): number {
    const of = this.counter.snapshot().filter((one) => one.verb === verb && one.resource === resource);
    return of.reduce((sum, one) => sum + one.count, 0);
  }

  /** Resolves when the wait has looked. */
  async looked(): Promise<void> {
    const before = this.requests('get', 'deployments.apps');
    await until(() => Promise.resolve(this.requests('get', 'deployments.apps') > before));
  }

  #write(ref: Omit<ObjectRef, 'namespace'>, status: unknown): Promise<KubernetesObject> {
    return this.#hand((hand) =>
      hand.patch({ ...ref, namespace }, { type: 'merge', patch: { status } }, { signal, subresource: 'status' }),
    );
  }

  /** Through connections of its own, so that the counts are the wait's. */
  async #hand<T>(act: (hand: Cluster) => Promise<T>): Promise<T> {
    const hand = this.#connect(new RequestCounter());
    try {
      return await act(hand);
    } finally {
      hand.close();
    }
  }
}

describeWithApiServer('waiting for a Deployment, on a real API server', (server) => {
  const worlds: World[] = [];
  let count = 0;

  const world = async (spec?: Readonly<Record<string, unknown>>): Promise<World> => {
    count += 1;
    // Each has labels of its own kind: the ReplicaSet's owner tells them apart, as in a real namespace.
    const made = new World(`checkout-${count}`, (counter) => server().connect({ counter }));
    worlds.push(made);
    return made.deploy(spec);
  };

  beforeAll(async () => {
    const cluster = server().connect();
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    // What the controller that is not here would make; pods are not taken without it.
    await cluster.create(
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace } },
      { signal },
    );
    cluster.close();
  });

  afterAll(() => {
    for (const { cluster } of worlds) cluster.close();
  });

  it('takes one request where it is ready', async () => {
    const ready = await world();
    await ready.status({ replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 });

    const view = await ready.wait();

    expect(view).toMatchObject({ name: ready.name, availableReplicas: 1 });
    expect(ready.counter.snapshot()).toEqual([{ verb: 'get', resource: 'deployments.apps', status: '200', count: 1 }]);
  });

  it('sees it become ready, and asks about its pods less often than about itself', async () => {
    const slow = await world({ replicas: 2 });
    const owner = await slow.replicaSet('a1', 1);
    await slow.status({ replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1 });
    await slow.pod('a1', owner, { containerStatuses: [containerStatus(RUNNING)] });

    const waiting = slow.wait({ needed: 2, complete: true });
    await until(() => Promise.resolve(slow.requests('list', 'pods') >= 2));
    await slow.status({ replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 });

    expect((await waiting).availableReplicas).toBe(2);
    expect(slow.requests('list', 'replicasets.apps')).toBe(1);
    expect(slow.requests('list', 'events')).toBe(0);
    expect(slow.requests('list', 'pods')).toBeLessThan(slow.requests('get', 'deployments.apps'));
  });

  it.each<[string, Readonly<Record<string, unknown>>, string]>([
    [
      'a crash loop',
      {
        containerStatuses: [
          containerStatus(waiting('CrashLoopBackOff', 'back-off 20s'), {
            restartCount: 2,
            lastState: ended(1, 'Error', 'no such table'),
          }),
        ],
      },
      'container app crashes again and again (exit code 1, Error, 2 restarts): no such table.',
    ],
    [
      'a kill for memory',
      {
        containerStatuses: [
          containerStatus(waiting('CrashLoopBackOff', 'back-off 20s'), {
            restartCount: 2,
            lastState: ended(137, 'OOMKilled'),
          }),
        ],
      },
      'container app was killed for using more memory than its limit (OOMKilled, exit code 137, 2 restarts).',
    ],
    [
      'an image that is not there',
      { containerStatuses: [containerStatus(waiting('ErrImagePull', 'rpc error: code = NotFound desc = not found'))] },
      'container app: its image cannot be pulled (ErrImagePull): rpc error: code = NotFound desc = not found.',
    ],
    [
      'a missing Secret',
      { containerStatuses: [containerStatus(waiting('CreateContainerConfigError', 'secret "db" not found'))] },
      'container app cannot be configured: secret "db" not found.',
    ],
    ['no room', unscheduled('0/1 nodes are available.', '2026-01-01T00:00:00Z'), ': 0/1 nodes are available.'],
  ])('ends at once for %s, in the words of the pod', async (_, status, words) => {
    const broken = await world();
    const owner = await broken.replicaSet(`b${count}`, 1);
    await broken.status({ replicas: 1, updatedReplicas: 1 });
    const pod = await broken.pod(`b${count}`, owner, status);

    const failure = await failureOf(TargetFailure, broken.wait());

    expect(failure.kind).toBe('deployFailed');
    expect(failure.message).toMatch(
      new RegExp(`^Deployment shop/${broken.name} does not come up. Pod shop/${pod}[: ]`),
    );
    expect(failure.message.endsWith(words)).toBe(true);
  });

  it('waits for a node that was asked for, and no longer when it does not come', async () => {
    const growing = await world();
    const owner = await growing.replicaSet('n1', 1);
    await growing.status({ replicas: 1, updatedReplicas: 1 });
    const pod = await growing.pod('n1', owner, unscheduled('0/1 nodes are available.', '2026-01-01T00:00:00Z'));
    await growing.tell(pod, 'cluster-autoscaler', ['TriggeredScaleUp', 'pod triggered scale-up: [{a 1->2 (max: 2)}]']);

    const wait = failureOf(TargetFailure, growing.wait());
    await until(() => Promise.resolve(growing.requests('list', 'events') >= 2));
    const refusal = "pod didn't trigger scale-up: 1 in backoff after failed scale-up";
    await growing.tell(pod, 'cluster-autoscaler', ['NotTriggerScaleUp', refusal]);
    const failure = await wait;

    expect(failure.message).toMatch(
      new RegExp(`s: 0/1 nodes are available\\. No node is coming \\(cluster-autoscaler\\): ${refusal}\\.$`),
    );
  });

  it('fails where no node is coming, and says at the end of its time which one was', async () => {
    const [full, growing] = [await world(), await world()];
    const longAgo = '2026-01-01T00:00:00Z';
    for (const [each, word] of [
      [full, ['FailedScheduling', 'Failed to schedule pod, no instance type has enough resources']],
      [growing, ['Nominated', 'Pod should schedule on: nodeclaim/default-tn8fg']],
    ] as const) {
      const owner = await each.replicaSet('k1', 1);
      await each.status({ replicas: 1, updatedReplicas: 1 });
      const pod = await each.pod('k1', owner, unscheduled('0/1 nodes are available.', longAgo));
      await each.tell(pod, 'karpenter', word);
    }

    const refused = await failureOf(TargetFailure, full.wait());
    const late = await failureOf(TargetFailure, growing.wait({ timeoutMs: 3_000 }));

    expect(refused.message).toMatch(
      / does not come up\. .*No node is coming \(karpenter\): Failed to schedule pod, no /,
    );
    expect(late.message).toMatch(/^Not ready within 3 s: .*A node was asked for \(karpenter\): .*default-tn8fg\.$/);
  });

  it('lets the old pods of a rolling update leave room, though no node is coming', async () => {
    const rolling = await world({ replicas: 2 });
    const owner = await rolling.replicaSet('r2', 2);
    const progress = { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated', message: '' };
    const conditions = [{ ...progress, lastUpdateTime: new Date().toISOString() }];
    await rolling.status({ replicas: 2, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions });
    const pod = await rolling.pod('r2', owner, unscheduled('0/1 nodes are available.', '2026-01-01T00:00:00Z'));
    await rolling.tell(pod, 'cluster-autoscaler', ['NotTriggerScaleUp', "pod didn't trigger scale-up: "]);

    const wait = rolling.wait({ needed: 2, complete: true });
    await until(() => Promise.resolve(rolling.requests('list', 'events') >= 1));
    await rolling.status({ replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 });

    expect((await wait).availableReplicas).toBe(2);
  });

  it('goes on without the right to read events, and says that it lacks it', async () => {
    const blind = await world();
    const owner = await blind.replicaSet('f1', 1);
    await blind.status({ replicas: 1, updatedReplicas: 1 });
    await blind.pod('f1', owner, unscheduled('0/1 nodes are available.', '2026-01-01T00:00:00Z'));
    const admin = server().connect();
    const [role, user] = ['without-events', 'worker-without-events'];
    const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: role, namespace } };
    const rules = [
      { apiGroups: ['apps'], resources: ['deployments', 'replicasets'], verbs: ['get', 'list'] },
      { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
    ];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: role };
    await admin.create({ ...rbac, kind: 'Role', rules }, { signal });
    await admin.create(
      { ...rbac, kind: 'RoleBinding', roleRef, subjects: [{ ...roleRef, kind: 'User', name: user }] },
      { signal },
    );
    admin.close();
    const worker = connectAs(server(), user);
    const pods = { verb: 'list', group: '', resource: 'pods', namespace };
    await until(async () => (await worker.mayI(pods, { signal })).allowed);

    const failure = await failureOf(
      TargetFailure,
      waitUntilReady(worker, { namespace, name: blind.name }, wanted({ needed: 1 })),
    );
    worker.close();

    expect(failure.kind).toBe('deployFailed');
    expect(failure.message).toMatch(/ finds no node for .*: the permission to list its events is missing\.$/);
  });

  it('counts the back-offs of a pull over its looks', async () => {
    const pulling = await world();
    const owner = await pulling.replicaSet('p1', 1);
    await pulling.status({ replicas: 1, updatedReplicas: 1 });
    const states = [waiting('ErrImagePull', 'dial tcp: i/o timeout'), waiting('ImagePullBackOff', 'Back-off')];
    const pod = await pulling.pod('p1', owner, { containerStatuses: [containerStatus(states[0] ?? {})] });
    const hand = server().connect();

    const wait = failureOf(TargetFailure, pulling.wait());
    for (let turn = 1; turn < 4; turn += 1) {
      const looks = pulling.requests('list', 'pods');
      await until(() => Promise.resolve(pulling.requests('list', 'pods') > looks));
      const status = { containerStatuses: [containerStatus(states[turn % 2] ?? {})] };
      await hand.patch(
        { apiVersion: 'v1', kind: 'Pod', name: pod, namespace },
        { type: 'merge', patch: { status } },
        { signal, subresource: 'status' },
      );
    }
    const failure = await wait;
    hand.close();

    expect(failure.message).toContain('its image cannot be pulled (ImagePullBackOff): dial tcp: i/o timeout.');
  });

  it('does not hold the old pods against the new version, and says at the end what it waited for', async () => {
    const rolling = await world();
    const before = await rolling.replicaSet('c1', 1);
    const after = await rolling.replicaSet('c2', 2);
    await rolling.status({ replicas: 2, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 });
    const crash = containerStatus(waiting('CrashLoopBackOff'), { restartCount: 9, lastState: ended(1) });
    await rolling.pod('c1', before, { containerStatuses: [crash] });
    const pod = await rolling.pod('c2', after, { containerStatuses: [containerStatus(RUNNING)] });
    const unhealthy = ['Unhealthy', 'Readiness probe failed: HTTP probe failed with statuscode: 503'] as const;
    await rolling.tell(pod, 'kubelet', unhealthy, 'Warning');

    const failure = await failureOf(TargetFailure, rolling.wait({ timeoutMs: 2_000 }));

    expect([failure.kind, failure.message]).toEqual([
      'deployFailed',
      `Not ready within 2 s: Deployment shop/${rolling.name} has 0 of 1 needed pod of its newest version available ` +
        `(1 of 1 made, 1 of older versions left). Pod shop/${pod}: container app runs but is not ready: its probes do not ` +
        'pass yet. Last warning about it (Unhealthy): Readiness probe failed: HTTP probe failed with statuscode: 503.',
    ]);
  });

  it('gives up with the controller, when it says so during the wait', async () => {
    const slow = await world();
    await slow.replicaSet('d1', 1);
    await slow.status({ replicas: 1, updatedReplicas: 1 });

    const wait = failureOf(TargetFailure, slow.wait());
    await slow.looked();
    await slow.status({ replicas: 1, updatedReplicas: 1, conditions: [DEADLINE_EXCEEDED] });

    expect((await wait).message).toContain('made no progress within its progressDeadlineSeconds (600)');
  });

  it('does not take the word that stood before for this version, unless it goes on standing', async () => {
    const again = await world();
    const stuck = await world();
    for (const each of [again, stuck]) {
      await each.replicaSet(`e${each.name}`, 1);
      await each.status({ replicas: 1, updatedReplicas: 1, conditions: [DEADLINE_EXCEEDED] });
    }

    const [waitAgain, waitStuck] = [again.wait(), failureOf(TargetFailure, stuck.wait())];
    await again.looked();
    await again.looked();
    await again.status({ replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: [] });

    expect((await waitAgain).availableReplicas).toBe(1);
    expect((await waitStuck).message).toContain('made no progress');
  });

  it('refuses a paused Deployment', async () => {
    const paused = await world({ paused: true });

    const failure = await failureOf(TargetFailure, paused.wait());

    expect(failure.kind).toBe('invalidTarget');
    expect(failure.message).toContain(`Deployment shop/${paused.name} is paused`);
  });

  it('lets an absent Deployment and a missing permission through as what they are', async () => {
    const limited = server().connect({ context: 'limited' });
    const absent = await failureOf(
      ClusterFailure,
      waitUntilReady((await world()).cluster, { namespace, name: 'absent' }, wanted()),
    );
    const forbidden = await failureOf(ClusterFailure, waitUntilReady(limited, { namespace, name: 'x' }, wanted()));
    limited.close();

    expect([absent.kind, absent.message]).toEqual(['notFound', 'Deployment shop/absent does not exist.']);
    expect(forbidden.kind).toBe('forbidden');
  });

  it('ends with the one who waits', async () => {
    const endless = await world();
    const cancel = new AbortController();

    const wait = failureOf(ClusterFailure, endless.wait({ signal: cancel.signal }));
    await endless.looked();
    cancel.abort();

    expect((await wait).kind).toBe('cancelled');
  });
});

describe('waiting while the API server is away', () => {
  let api: FakeApi;
  let cluster: Cluster;
  const at = { namespace, name: 'checkout' };
  const ready = deploymentObject({}, { replicas: 1, updatedReplicas: 1, availableReplicas: 1 });

  beforeEach(async () => {
    api = await new FakeApi().start();
    cluster = connectCluster({ server: api.server, retry: { maxTries: 1 }, timeoutMs: 10_000 });
  });

  afterEach(async () => {
    cluster.close();
    await api.stop();
  });

  it('goes on until it is back', async () => {
    api.handlers = [reset, answer(503, {}), reset, answer(200, ready)];

    expect((await waitUntilReady(cluster, at, wanted())).availableReplicas).toBe(1);
    expect(api.requests).toHaveLength(4);
  });

  it('is told, and that the pods are waited for once it is back', async () => {
    const lacking = answer(200, deploymentObject({}, { replicas: 1, updatedReplicas: 1, availableReplicas: 0 }));
    api.handlers = [lacking, answer(503, {}), reset, lacking, answer(200, ready)];
    const told: string[] = [];
    const onWait = (sentence: string): void => void told.push(sentence);
    const hearing = Object.assign(cluster, { onWait, onWaited: () => void told.push('over') });

    await waitUntilReady(hearing, at, wanted());

    const pods = 'Waiting up to 300 s until Deployment shop/checkout has 1 available pod.';
    expect(told).toEqual([
      pods,
      `The API server answered 503 to get deployments.apps in namespace shop. ${pods}`,
      pods,
      'over',
    ]);
  });

  it('goes on while it has not read yet who may do what', async () => {
    const words = 'deployments.apps "checkout" is forbidden: User "sluice" cannot get resource "deployments"';
    const denied = status(403, 'Forbidden', words);
    api.handlers = [reset, denied, denied, answer(200, ready)];

    expect((await waitUntilReady(cluster, at, wanted())).availableReplicas).toBe(1);
  });

  it('says so when the time is up', async () => {
    api.handlers = [answer(503, {})];
    const away = await failureOf(TargetFailure, waitUntilReady(cluster, at, wanted({ timeoutMs: 600 })));
    api.handlers = [hang];
    const silent = await failureOf(TargetFailure, waitUntilReady(cluster, at, wanted({ timeoutMs: 600 })));

    expect([away.kind, away.message]).toEqual([
      'deployFailed',
      expect.stringMatching(
        /^Not ready within 600 ms: Deployment shop\/checkout was not seen at all\. The API server .*503.*\.$/,
      ),
    ]);
    expect(silent.message).toBe(
      'Not ready within 600 ms: Deployment shop/checkout was not seen at all. The API server did not answer.',
    );
  });
});
