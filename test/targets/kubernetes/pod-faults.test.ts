import fc from 'fast-check';
import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { readNodeNews } from '../../../src/targets/kubernetes/node-news';
import type { NodeNews } from '../../../src/targets/kubernetes/node-news';
import { findPodFaults } from '../../../src/targets/kubernetes/pod-faults';
import type { PodFault } from '../../../src/targets/kubernetes/pod-faults';
import { newestReplicaSet, podsOf, readEvents } from '../../../src/targets/kubernetes/pod-view';
import { NO_PULLS, notePulls } from '../../../src/targets/kubernetes/pull-history';
import { TargetFailure } from '../../../src/targets/target';
import { deploymentObject } from './deployment-objects';
import type { DeploymentStatus } from './deployment-objects';
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

const NOW = Date.parse('2026-01-01T00:10:00Z');
const owner = 'uid-of-checkout';

interface World {
  readonly status?: DeploymentStatus;
  readonly replicaSets?: readonly KubernetesObject[];
  readonly pods?: readonly KubernetesObject[];
  readonly nodeNews?: Readonly<Record<string, NodeNews>>;
  readonly olderGo?: boolean;
}

function faultsOf(world: World, earlier: readonly (readonly KubernetesObject[])[] = []): readonly PodFault[] {
  const { status, replicaSets = [replicaSetObject({ hash: 'new', revision: 2, owner })], pods = [] } = world;
  const replicaSet = newestReplicaSet(replicaSets, owner);
  const read = (objects: readonly KubernetesObject[]) => (replicaSet === null ? [] : podsOf(objects, replicaSet));
  const pulls = [...earlier, pods].reduce((history, objects) => notePulls(history, read(objects)), NO_PULLS);
  const deployment = readDeployment(deploymentObject({}, status));
  const nodeNews = new Map(Object.entries(world.nodeNews ?? {}));
  const { olderGo = false } = world;
  return findPodFaults({ deployment, replicaSet, pods: read(pods), pulls, nodeNews, olderGo, now: NOW });
}

function pod(state: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}): KubernetesObject {
  return podObject('checkout-new-1', 'new', { containerStatuses: [containerStatus(state, more)] });
}

function seen(...states: readonly (readonly [reason: string, message: string])[]): PodFault | undefined {
  const looks = states.map(([reason, message]) => [pod(waiting(reason, message))]);
  return faultsOf({ pods: looks.at(-1) ?? [] }, looks.slice(0, -1))[0];
}

describe('crashes', () => {
  it('a container in back-off is in a crash loop, told with its last words and exit code', () => {
    const crashed = pod(
      waiting('CrashLoopBackOff', 'back-off 10s restarting failed container=app pod=checkout-new-1'),
      {
        restartCount: 1,
        lastState: ended(3, 'Error', 'cannot reach the database\n  at start\n'),
      },
    );

    expect(faultsOf({ pods: [crashed] })).toEqual([
      {
        kind: 'crashLoop',
        lasting: true,
        pod: 'checkout-new-1',
        sentence:
          'Pod shop/checkout-new-1: container app crashes again and again (exit code 3, Error, 1 restart): cannot reach the database at start.',
      },
    ]);
  });

  it('without last words the kubelet speaks', () => {
    const crashed = pod(waiting('CrashLoopBackOff', 'back-off 40s restarting failed container=app'), {
      restartCount: 4,
      lastState: ended(1),
    });

    expect(faultsOf({ pods: [crashed] })[0]?.sentence).toBe(
      'Pod shop/checkout-new-1: container app crashes again and again (exit code 1, Error, 4 restarts): back-off 40s restarting failed container=app.',
    );
  });

  it('the first restart is a hint, the second is a crash loop', () => {
    const after = (restartCount: number) =>
      faultsOf({ pods: [pod(RUNNING, { restartCount, lastState: ended(137) })] })[0];

    expect(after(1)).toMatchObject({ kind: 'restarted', lasting: false });
    expect(after(2)).toMatchObject({ kind: 'crashLoop', lasting: true });
  });

  it('a container that is ready again has got over it', () => {
    const ready = pod(RUNNING, { ready: true, restartCount: 5, lastState: ended(1) });

    expect(faultsOf({ pods: [ready] })).toEqual([]);
  });

  it('being killed for memory is told as that, and lasts from the second time on', () => {
    const first = faultsOf({ pods: [pod(ended(137, 'OOMKilled'))] })[0];
    const again = faultsOf({
      pods: [pod(waiting('CrashLoopBackOff', 'back-off'), { restartCount: 2, lastState: ended(137, 'OOMKilled') })],
    })[0];

    expect(first).toMatchObject({ kind: 'outOfMemory', lasting: false });
    expect(again).toMatchObject({
      kind: 'outOfMemory',
      lasting: true,
      sentence:
        'Pod shop/checkout-new-1: container app was killed for using more memory than its limit (OOMKilled, exit code 137, 2 restarts).',
    });
  });

  it('an init container that crashes holds the pod up as much; one that has done its work does not', () => {
    const init = (state: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) =>
      podObject('checkout-new-1', 'new', {
        initContainerStatuses: [containerStatus(state, { name: 'migrate', ...more })],
        containerStatuses: [containerStatus(waiting('PodInitializing'))],
      });

    const crashing = faultsOf({
      pods: [init(waiting('CrashLoopBackOff', 'back-off'), { restartCount: 2, lastState: ended(2) })],
    });
    const done = faultsOf({ pods: [init(ended(0, 'Completed'), { ready: true })] });
    const running = faultsOf({ pods: [init(RUNNING)] });

    expect(crashing[0]?.sentence).toContain('container migrate crashes again and again (exit code 2');
    expect(done.map((one) => one.kind)).toEqual(['waiting']);
    expect(running[0]?.sentence).toBe(
      'Pod shop/checkout-new-1: container migrate runs before the others and has not come to its end.',
    );
  });
});

describe('images', () => {
  const notFound =
    'failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found';
  const timeout =
    'failed to pull image "reg.test/denied:1.503": failed to do request: Head "https://reg.test/v2/denied/manifests/1.503": dial tcp 10.0.0.1:443: i/o timeout';

  it.each([
    ['a tag that is not there', `rpc error: code = NotFound desc = ${notFound}`],
    [
      'a registry that does not let in',
      'unexpected status from HEAD request to https://ghcr.io/v2/a/b/manifests/1: 403 Forbidden',
    ],
    ['a missing login', 'failed to authorize: failed to fetch anonymous token: 401 Unauthorized'],
    [
      'a private repository',
      'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    ],
    ['another architecture', 'no match for platform in manifest: not found'],
  ])('%s is known at once, in the words of the kubelet', (_, message) => {
    const fault = seen(['ErrImagePull', message]);

    expect(fault).toMatchObject({ kind: 'imagePull', lasting: true });
    expect(fault?.sentence).toContain(
      `Pod shop/checkout-new-1: container app: its image cannot be pulled (ErrImagePull): ${message}`,
    );
  });

  it.each([['InvalidImageName'], ['ErrImageNeverPull']])('%s is known at once', (reason) => {
    expect(seen([reason, 'it says so'])).toMatchObject({ kind: 'imagePull', lasting: true });
  });

  it.each([
    ['the network', timeout],
    [
      'a limit',
      'unexpected status code 429 Too Many Requests: toomanyrequests: you have reached your pull rate limit, access denied',
    ],
    ['the registry', 'unexpected status from GET request to https://r/v2/x: 503 Service Unavailable: not found'],
    ['the resolver', 'dial tcp: lookup reg.test on 10.96.0.10:53: no such host'],
    ['anything unknown', 'something else went wrong'],
  ])('what %s refuses may pass, until the second back-off', (_, message) => {
    const first = seen(['ErrImagePull', message]);
    const backingOff = seen(['ErrImagePull', message], ['ImagePullBackOff', 'Back-off pulling image "reg.test/x:1"']);
    const still = seen(
      ['ErrImagePull', message],
      ['ImagePullBackOff', 'Back-off pulling image "reg.test/x:1"'],
      ['ImagePullBackOff', 'Back-off pulling image "reg.test/x:1"'],
      ['ErrImagePull', message],
    );
    const second = seen(
      ['ErrImagePull', message],
      ['ImagePullBackOff', 'Back-off pulling image "reg.test/x:1"'],
      ['ErrImagePull', message],
      ['ImagePullBackOff', 'Back-off pulling image "reg.test/x:1"'],
    );

    expect([first, backingOff, still].map((one) => one?.lasting)).toEqual([false, false, false]);
    expect(second?.lasting).toBe(true);
    // In back-off an older kubelet no longer says why; what it said before is told.
    expect(second?.sentence).toContain(`(ImagePullBackOff): ${message.slice(0, 60)}`);
  });

  it('a newer kubelet says why in the back-off itself', () => {
    const fault = seen(['ImagePullBackOff', `Back-off pulling image "nope:1": ErrImagePull: ${notFound}`]);

    expect(fault?.lasting).toBe(true);
  });

  it('an image that is called like a refusal is none', () => {
    const message = 'failed to pull image "reg.test/not-found/denied:unauthorized": connection reset by peer';

    expect(seen(['ErrImagePull', message])?.lasting).toBe(false);
  });

  it('forgets the back-offs of an image that came', () => {
    const looks = [
      [pod(waiting('ImagePullBackOff', 'Back-off pulling image "x"'))],
      [pod(RUNNING)],
      [pod(waiting('ImagePullBackOff', 'Back-off pulling image "x"'))],
    ];

    expect(faultsOf({ pods: looks[2] ?? [] }, looks.slice(0, 2))[0]?.lasting).toBe(false);
  });
});

describe('configuration', () => {
  it.each([
    ['configmap "checkout" not found'],
    ['secret "cache-timeout" not found'],
    ["couldn't find key a in ConfigMap shop/b"],
  ])('names what is missing: %s', (message) => {
    expect(faultsOf({ pods: [pod(waiting('CreateContainerConfigError', message))] })).toEqual([
      {
        kind: 'config',
        lasting: true,
        pod: 'checkout-new-1',
        sentence: `Pod shop/checkout-new-1: container app cannot be configured: ${message}.`,
      },
    ]);
  });

  it('does not hold it against the version that the kubelet has not read its objects yet', () => {
    const message = 'failed to sync configmap cache: timed out waiting for the condition';

    expect(faultsOf({ pods: [pod(waiting('CreateContainerConfigError', message))] })[0]?.lasting).toBe(false);
  });

  it('a container that the runtime cannot start is a hint until it is in a crash loop', () => {
    const message = 'exec: "/app": stat /app: no such file or directory: unknown';
    const first = faultsOf({ pods: [pod(waiting('RunContainerError', message))] })[0];
    const loop = faultsOf({
      pods: [
        pod(waiting('CrashLoopBackOff', 'back-off'), {
          restartCount: 2,
          lastState: ended(128, 'StartError', message),
        }),
      ],
    })[0];

    expect(first).toMatchObject({ kind: 'container', lasting: false });
    expect(first?.sentence).toContain(message);
    expect(loop).toMatchObject({ kind: 'crashLoop', lasting: true });
    expect(loop?.sentence).toContain('exit code 128, StartError');
  });
});

describe('places', () => {
  const message = '0/3 nodes are available: 3 Insufficient cpu.';
  const justNow = '2026-01-01T00:09:58Z';
  const longAgo = '2026-01-01T00:02:00Z';
  const unplaced = (since: string, name = 'checkout-new-1'): KubernetesObject =>
    podObject(name, 'new', unscheduled(message, since));

  type Told = readonly [by: string, reason: string, message: string];
  const heard = (...told: readonly Told[]): NodeNews =>
    readNodeNews(
      told.map(([by, reason, words], index) => ({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: `e${index}`, creationTimestamp: longAgo },
        ...podEvent('checkout-new-1', by, [reason, words], `2026-01-01T00:03:0${index}Z`),
      })),
    );

  const asked: Told = [
    ...(['cluster-autoscaler', 'TriggeredScaleUp'] as const),
    'pod triggered scale-up: [{pool-a 1->2 (max: 4)}]',
  ];
  const full: Told = [
    ...(['cluster-autoscaler', 'NotTriggerScaleUp'] as const),
    "pod didn't trigger scale-up: 2 max node group size reached",
  ];
  const nominated: Told = ['karpenter', 'Nominated', 'Pod should schedule on: nodeclaim/default-tn8fg'];
  const limited: Told = [
    ...(['karpenter', 'FailedScheduling'] as const),
    'Failed to schedule pod, all available instance types exceed limits for nodepool: "default"',
  ];
  const scheduler: Told = ['default-scheduler', 'FailedScheduling', message];

  it.each<[string, readonly Told[], string]>([
    ['the autoscaler', [scheduler, asked, scheduler], `cluster-autoscaler): ${asked[2]}`],
    ['the autoscaler, after a refusal', [full, asked], `cluster-autoscaler): ${asked[2]}`],
    ['Karpenter', [nominated, scheduler], `karpenter): ${nominated[2]}`],
    [
      'Karpenter as EKS runs it',
      [['eks-auto-mode/compute', nominated[1], nominated[2]]],
      `eks-auto-mode/compute): ${nominated[2]}`,
    ],
    ['one of two, whatever the other says', [nominated, full], `karpenter): ${nominated[2]}`],
  ])('a node that %s asked for is waited for', (_, told, words) => {
    const fault = faultsOf({ pods: [unplaced(longAgo)], nodeNews: { 'checkout-new-1': heard(...told) } })[0];

    expect(fault).toEqual({
      kind: 'unschedulable',
      lasting: false,
      pod: 'checkout-new-1',
      sentence: `Pod shop/checkout-new-1 finds no node for 480 s: ${message} A node was asked for (${words}.`,
    });
  });

  it.each<[string, readonly Told[], string]>([
    ['the autoscaler', [full, scheduler], `cluster-autoscaler): ${full[2]}`],
    ['the autoscaler, after it had asked', [asked, full], `cluster-autoscaler): ${full[2]}`],
    ['Karpenter', [nominated, limited, scheduler], `karpenter): ${limited[2]}`],
  ])('a node that %s does not bring is waited for no longer than for pods that end', (_, told, words) => {
    const [early, late] = [justNow, longAgo].map(
      (since) => faultsOf({ pods: [unplaced(since)], nodeNews: { 'checkout-new-1': heard(...told) } })[0],
    );

    expect(early).toMatchObject({ kind: 'unschedulable', lasting: false });
    expect(late).toEqual({
      kind: 'unschedulable',
      lasting: true,
      pod: 'checkout-new-1',
      sentence: `Pod shop/checkout-new-1 finds no node for 480 s: ${message} No node is coming (${words}.`,
    });
  });

  it('what others say of a pod is no word about a node', () => {
    const others: readonly Told[] = [
      scheduler,
      ['someone', 'TriggeredScaleUp', 'x'],
      ['cluster-autoscaler', 'ScaleDown', 'deleting pod for node scale down'],
    ];

    expect(heard(...others)).toBe('silent');
  });

  it('a node that was asked for another pod of the version may be for this one, of which nobody speaks', () => {
    const pods = [unplaced(longAgo), unplaced(longAgo, 'checkout-new-2')];
    const both = (first: NodeNews) =>
      faultsOf({ pods, nodeNews: { 'checkout-new-1': first, 'checkout-new-2': heard(asked) } })[0];

    expect(both('silent')).toMatchObject({ lasting: false });
    expect(both(heard(full))).toMatchObject({ lasting: true, pod: 'checkout-new-1' });
  });

  it('a pod that was not asked about is left to those that were', () => {
    expect(faultsOf({ pods: [unplaced(longAgo)] })[0]).toMatchObject({ kind: 'unschedulable', lasting: false });
  });

  it('without the right to read its events a pod is judged as if nobody had spoken, and says so', () => {
    const unread = (since: string) =>
      faultsOf({ pods: [unplaced(since)], nodeNews: { 'checkout-new-1': 'unread' } })[0];

    expect(unread(justNow)?.lasting).toBe(false);
    expect(unread(longAgo)).toMatchObject({
      lasting: true,
      sentence: expect.stringMatching(
        /Insufficient cpu\. Whether a node is coming is not known: the permission to list its events is missing\.$/,
      ) as string,
    });
  });

  it.each<[NodeNews, string, boolean]>([
    ['silent', justNow, false],
    ['silent', '2026-01-01T00:09:30Z', true],
    [heard(full), justNow, false],
    [heard(full), '2026-01-01T00:09:30Z', true],
  ])('the old pods of a rolling update leave room while it moves: %j, moved at %s', (news, moved, lasting) => {
    const progress = { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated', message: '' };
    const fault = faultsOf({
      status: { conditions: [{ ...progress, lastUpdateTime: moved }] },
      pods: [unplaced(longAgo)],
      nodeNews: { 'checkout-new-1': news },
      olderGo: true,
    })[0];

    expect(fault).toMatchObject({ kind: 'unschedulable', lasting });
  });

  it.each([
    ['2026-01-01T00:09:31Z', false, '29 s'],
    ['2026-01-01T00:09:30Z', true, '30 s'],
    // The cluster's clock is ahead of ours.
    ['2026-01-01T00:10:07Z', false, '0 s'],
  ])('no node since %s, and no word of one, lasts: %s', (since, lasting, shown) => {
    const fault = faultsOf({ pods: [unplaced(since)], nodeNews: { 'checkout-new-1': 'silent' } })[0];

    expect(fault).toEqual({
      kind: 'unschedulable',
      lasting,
      pod: 'checkout-new-1',
      sentence: `Pod shop/checkout-new-1 finds no node for ${shown}: 0/3 nodes are available: 3 Insufficient cpu.`,
    });
  });

  it('a pod behind a scheduling gate is not held against the version', () => {
    const gated = podObject('checkout-new-1', 'new', unscheduled('gated', '2020-01-01T00:00:00Z', 'SchedulingGated'));

    expect(faultsOf({ pods: [gated] })[0]).toMatchObject({ kind: 'unschedulable', lasting: false });
  });

  it('an evicted pod is replaced, and only a hint', () => {
    const evicted = podObject('checkout-new-1', 'new', {
      phase: 'Failed',
      reason: 'Evicted',
      message: 'The node was low on resource: memory.',
    });

    expect(faultsOf({ pods: [evicted] })).toEqual([
      {
        kind: 'evicted',
        lasting: false,
        pod: 'checkout-new-1',
        sentence: 'Pod shop/checkout-new-1 failed (Evicted): The node was low on resource: memory.',
      },
    ]);
  });
});

describe('refusals of the API server', () => {
  const refusedSince = (
    message: string,
    lastTransitionTime: string,
    ofDeployment: NonNullable<DeploymentStatus['conditions']> = [],
  ): PodFault | undefined => {
    const conditions = [
      { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message, lastTransitionTime },
    ];
    const replicaSets = [replicaSetObject({ hash: 'new', revision: 2, owner, conditions })];
    return faultsOf({ status: { conditions: ofDeployment }, replicaSets })[0];
  };
  const justNow = '2026-01-01T00:09:59Z';
  const quota =
    'pods "timeout-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2';

  it.each([
    ['admission', 'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'],
    ['a webhook', 'admission webhook "policy.test" denied the request: connection refused by policy'],
    [
      'a missing ServiceAccount',
      'pods "a" is forbidden: error looking up service account shop/x: serviceaccount "x" not found',
    ],
    ['validation', 'Pod "a" is invalid: spec.containers[0].resources: Invalid value'],
  ])('%s lasts at once', (_, message) => {
    expect(refusedSince(message, justNow)).toEqual({
      kind: 'refused',
      lasting: true,
      pod: null,
      sentence: `Deployment shop/checkout cannot make its pods: ${message}.`,
    });
  });

  it('a quota may be freed by the old pods, and lasts when it is not', () => {
    expect(refusedSince(quota, justNow)?.lasting).toBe(false);
    expect(refusedSince(quota, '2026-01-01T00:09:00Z')?.lasting).toBe(true);
  });

  it.each([
    ['goes on', 'True', justNow, false],
    ['stands still', 'True', '2026-01-01T00:09:00Z', true],
    ['does not say when it went on', 'True', '', true],
    ['has given up', 'False', justNow, true],
  ])('a quota that refuses pods all the while, of a rolling update that %s: %s, %s', (_, status, at, lasting) => {
    const progressing = { type: 'Progressing', status, reason: 'ReplicaSetUpdated', message: '', lastUpdateTime: at };

    expect(refusedSince(quota, '2026-01-01T00:00:00Z', [progressing])?.lasting).toBe(lasting);
  });

  it.each([
    ['Internal error occurred: failed calling webhook "policy.test": Post "https://x": dial tcp: connection refused'],
    ['Timeout: request did not complete within requested timeout'],
    ['pods "a" is forbidden: not yet ready to handle request'],
    ['pods "a" is forbidden: status unknown for quota: small, resources: pods'],
    [
      'pods "a" is forbidden: User "system:serviceaccount:kube-system:replicaset-controller" cannot create resource "pods"',
    ],
  ])('what is not about the pods never lasts by itself: %s', (message) => {
    expect(refusedSince(message, '2020-01-01T00:00:00Z')).toMatchObject({ kind: 'refused', lasting: false });
  });

  it('a ReplicaSet that cannot be made is told by the Deployment', () => {
    const condition = {
      type: 'Progressing',
      status: 'False',
      reason: 'ReplicaSetCreateError',
      message: 'admission webhook "policy.test" denied the request: no.',
      lastUpdateTime: justNow,
    };

    expect(faultsOf({ status: { conditions: [condition] }, replicaSets: [] })).toEqual([
      {
        kind: 'refused',
        lasting: true,
        pod: null,
        sentence:
          'Deployment shop/checkout cannot make its ReplicaSet: admission webhook "policy.test" denied the request: no.',
      },
    ]);
  });
});

describe('whose pods count', () => {
  const crash = [containerStatus(waiting('CrashLoopBackOff', 'back-off'), { restartCount: 9, lastState: ended(1) })];
  const replicaSets = [
    replicaSetObject({ hash: 'older', revision: 8, owner }),
    replicaSetObject({ hash: 'new', revision: 10, owner }),
    replicaSetObject({ hash: 'old', revision: 9, owner }),
    replicaSetObject({ hash: 'other', revision: 11, owner: 'uid-of-somebody' }),
  ];

  it.each(['old', 'other'])('pods of another template (%s) are not held against the newest version', (hash) => {
    const pods = [podObject('checkout-x', hash, { containerStatuses: crash })];

    expect(faultsOf({ replicaSets, pods })).toEqual([]);
  });

  it('pods that end are not either', () => {
    const ending = podObject(
      'checkout-new-1',
      'new',
      { containerStatuses: crash },
      { deletionTimestamp: '2026-01-01T00:00:00Z' },
    );

    expect(faultsOf({ replicaSets, pods: [ending] })).toEqual([]);
    expect(
      faultsOf({ replicaSets, pods: [podObject('checkout-new-1', 'new', { containerStatuses: crash })] }),
    ).toHaveLength(1);
  });

  it('nothing is held against a version whose ReplicaSet is not there yet', () => {
    expect(faultsOf({ replicaSets: [], pods: [podObject('a', 'new', { containerStatuses: crash })] })).toEqual([]);
  });

  it('says that it does not understand a status, instead of taking it for a healthy one', () => {
    const strange = podObject('checkout-new-1', 'new', { containerStatuses: [{ name: 5 }] });

    expect(() => faultsOf({ pods: [strange] })).toThrow(TargetFailure);
    expect(() => faultsOf({ pods: [strange] })).toThrow(
      /Pod shop\/checkout-new-1 .*status\.containerStatuses\.0\.name/,
    );
  });
});

describe('the order', () => {
  it('tells what lasts first, then the cause before its effects', () => {
    const pods = [
      podObject('a', 'new', { containerStatuses: [containerStatus(waiting('ContainerCreating'))] }),
      podObject('b', 'new', { containerStatuses: [containerStatus(RUNNING)] }),
      podObject('c', 'new', { containerStatuses: [containerStatus(waiting('ErrImagePull', 'EOF'))] }),
      podObject('d', 'new', {
        containerStatuses: [
          containerStatus(waiting('CrashLoopBackOff', 'x'), { restartCount: 2, lastState: ended(1) }),
        ],
      }),
    ];

    expect(faultsOf({ pods }).map((one) => [one.pod, one.kind, one.lasting])).toEqual([
      ['d', 'crashLoop', true],
      ['c', 'imagePull', false],
      ['b', 'notReady', false],
      ['a', 'waiting', false],
    ]);
  });

  it('is free of faults for ready pods, and every fault is one line that names its pod (property)', () => {
    const text = fc.string({ maxLength: 700, unit: 'grapheme' });
    const state = fc.oneof(
      fc.record({
        waiting: fc.record({
          reason: fc.constantFrom(
            'CrashLoopBackOff',
            'ErrImagePull',
            'ImagePullBackOff',
            'CreateContainerConfigError',
            'CreateContainerError',
            'ContainerCreating',
          ),
          message: text,
        }),
      }),
      fc.record({
        terminated: fc.record({
          exitCode: fc.nat(255),
          reason: fc.constantFrom('Error', 'OOMKilled', 'Completed'),
          message: text,
        }),
      }),
      fc.constant(RUNNING),
    );
    const container = fc.record({ state, ready: fc.boolean(), restartCount: fc.nat(4), last: fc.option(text) });
    fc.assert(
      fc.property(fc.array(container, { maxLength: 4 }), (containers) => {
        const statuses = containers.map(({ state, ready, restartCount, last }, index) =>
          containerStatus(state, {
            name: `c${index}`,
            ready: ready && 'running' in state,
            restartCount,
            lastState: last === null ? {} : ended(1, 'Error', last),
          }),
        );

        const faults = faultsOf({ pods: [podObject('checkout-new-1', 'new', { containerStatuses: statuses })] });

        for (const { sentence, pod: named, kind, lasting } of faults) {
          expect(named).toBe('checkout-new-1');
          expect(sentence).toMatch(/^Pod shop\/checkout-new-1: container c\d+:? [^\n\r]+\.$/);
          expect(sentence.length).toBeLessThan(800);
          if (['notReady', 'waiting', 'container', 'restarted'].includes(kind)) expect(lasting).toBe(false);
        }
        if (statuses.every((one) => one['ready'] === true)) expect(faults).toEqual([]);
      }),
    );
  });
});

describe('events of a pod', () => {
  const event = (message: string, lastTimestamp: string | null, eventTime: string | null = null): KubernetesObject => ({
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: message, creationTimestamp: '2026-01-01T00:00:00Z' },
    reason: 'Unhealthy',
    message,
    lastTimestamp,
    eventTime,
  });

  it('the newest is last, by whichever time it carries', () => {
    const events = [
      event('b', null, '2026-01-01T00:00:09.123456Z'),
      event('a', '2026-01-01T00:00:05Z'),
      event('c', null),
    ];

    expect(readEvents(events).map(({ message }) => message)).toEqual(['c', 'a', 'b']);
  });
});
