import { ApiOutages } from '../../../src/targets/kubernetes/api-outages';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { loadApiServer } from '../../../src/targets/kubernetes/kube-config';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { describeWithApiServer, installDefinitions, until } from './api-server';

const namespace = 'shop';
const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };

function configMap(name: string, data: Record<string, string>, labels?: Record<string, string>): KubernetesObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, ...(labels && { labels }) }, data };
}

function ref(name: string) {
  return { apiVersion: 'v1', kind: 'ConfigMap', namespace, name };
}

function deployment(name: string, replicas: number): KubernetesObject {
  const labels = { app: name };
  const containers = [{ name: 'app', image: 'example.test/app@sha256:0' }];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

async function failureOf(work: Promise<unknown>): Promise<ClusterFailure> {
  const error: unknown = await work.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (error instanceof ClusterFailure) return error;
  throw new Error(`Expected a ClusterFailure, got ${String(error)}`);
}

describeWithApiServer('the cluster, against a real API server', (server) => {
  let cluster: Cluster;
  let other: Cluster;
  let limited: Cluster;
  const counter = new RequestCounter();

  beforeAll(async () => {
    cluster = server().connect({ counter });
    other = server().connect({ fieldManager: 'somebody' });
    limited = server().connect({ context: 'limited' });
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, options);
  });

  afterAll(() => {
    for (const one of [cluster, other, limited]) one.close();
  });

  it('creates, reads, lists and deletes objects of any kind', async () => {
    await cluster.create(configMap('one', { a: '1' }, { app: 'x' }), options);
    await cluster.create(configMap('two', { a: '2' }), options);

    const found = await cluster.get(ref('one'), options);
    const listed = await cluster.list(
      { apiVersion: 'v1', kind: 'ConfigMap', namespace },
      { signal, labelSelector: 'app=x' },
    );
    const deleted = await cluster.delete(ref('one'), options);

    expect(found['data']).toEqual({ a: '1' });
    expect(listed.map(({ kind, metadata }) => [kind, metadata.name])).toEqual([['ConfigMap', 'one']]);
    expect(deleted).toBe(true);
    expect(await cluster.delete(ref('one'), options)).toBe(false);
    expect(await cluster.find(ref('one'), options)).toBeNull();
    expect((await failureOf(cluster.get(ref('one'), options))).message).toBe('ConfigMap shop/one does not exist.');
  });

  it('lists page by page until the end', async () => {
    const names = Array.from({ length: 260 }, (_, index) => `page-${index}`);
    await Promise.all(names.map((name) => cluster.create(configMap(name, {}, { set: 'pages' }), options)));

    const listed = await cluster.list(
      { apiVersion: 'v1', kind: 'ConfigMap', namespace },
      { signal, labelSelector: 'set=pages' },
    );

    expect(listed.map((each) => each.metadata.name).sort()).toEqual(names.sort());
    const lists = counter.snapshot().find((one) => one.verb === 'list' && one.resource === 'configmaps');
    expect(lists?.count).toBeGreaterThanOrEqual(2);
  });

  it('says that an object exists already, and that a namespace does not exist', async () => {
    await cluster.create(configMap('again', {}), options);

    const twice = await failureOf(cluster.create(configMap('again', {}), options));
    const nowhere = await failureOf(
      cluster.create({ ...configMap('x', {}), metadata: { name: 'x', namespace: 'nowhere' } }, options),
    );

    expect([twice.kind, twice.message]).toEqual(['alreadyExists', 'ConfigMap shop/again exists already.']);
    expect(nowhere.kind).toBe('notFound');
    expect(nowhere.message).toContain('namespaces "nowhere" not found');
  });

  it('applies its own fields, and names those whose fields they are', async () => {
    await other.apply(configMap('owned', { a: 'theirs', b: 'theirs' }), options);

    const refused = await failureOf(cluster.apply(configMap('owned', { a: 'ours' }), options));
    const forced = await cluster.apply(configMap('owned', { a: 'ours' }), { signal, force: true });

    expect(refused.kind).toBe('conflict');
    expect(refused.owners).toEqual([{ manager: 'somebody', field: '.data.a' }]);
    expect(refused.message).toBe('Fields of ConfigMap shop/owned are owned by somebody else: .data.a (somebody).');
    expect(forced['data']).toEqual({ a: 'ours', b: 'theirs' });
  });

  it('refuses each kind of write on another resourceVersion than the given one', async () => {
    const before = await cluster.create(configMap('locked', { a: '1' }), options);
    const resourceVersion = before.metadata.resourceVersion ?? '';
    await other.patch(ref('locked'), { type: 'merge', patch: { data: { a: '2' } } }, options);

    const stale = [
      await failureOf(
        cluster.patch(ref('locked'), { type: 'merge', patch: { data: { a: '3' } }, resourceVersion }, options),
      ),
      await failureOf(
        cluster.patch(
          ref('locked'),
          { type: 'json', operations: [{ op: 'replace', path: '/data/a', value: '3' }], resourceVersion },
          options,
        ),
      ),
      await failureOf(
        cluster.apply(
          { ...configMap('locked', { a: '3' }), metadata: { name: 'locked', namespace, resourceVersion } },
          { signal, force: true },
        ),
      ),
      await failureOf(cluster.delete(ref('locked'), { signal, resourceVersion })),
    ];

    expect(stale.map((one) => one.kind)).toEqual(['conflict', 'conflict', 'conflict', 'conflict']);
    expect(stale[0]?.message).toBe('ConfigMap shop/locked was changed by somebody else in the meantime.');
    expect((await cluster.get(ref('locked'), options))['data']).toEqual({ a: '2' });
  });

  it('patches on the resourceVersion that it read', async () => {
    const { metadata } = await cluster.create(configMap('patched', { a: '1' }), options);

    const merged = await cluster.patch(
      ref('patched'),
      { type: 'merge', patch: { data: { b: '2' } }, resourceVersion: metadata.resourceVersion ?? '' },
      options,
    );
    const replaced = await cluster.patch(
      ref('patched'),
      {
        type: 'json',
        operations: [{ op: 'remove', path: '/data/a' }],
        resourceVersion: merged.metadata.resourceVersion ?? '',
      },
      options,
    );

    expect(replaced['data']).toEqual({ b: '2' });
  });

  it('keeps nothing of a dry run', async () => {
    await cluster.create(configMap('dry', {}), { signal, dryRun: true });

    expect(await cluster.find(ref('dry'), options)).toBeNull();
  });

  it('repeats the words of the server about each wrong field', async () => {
    const wrong = {
      ...deployment('wrong', -1),
      spec: { ...(deployment('wrong', -1)['spec'] as object), replicas: -1 },
    };

    const refused = await failureOf(cluster.create(wrong, options));

    expect(refused.kind).toBe('invalid');
    expect(refused.message).toMatch(
      /^The API server did not accept Deployment shop\/wrong: spec\.replicas: Invalid value: -1/,
    );
  });

  it('scales a Deployment through its subresource', async () => {
    await cluster.create(deployment('scaled', 2), options);
    const of = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'scaled' };

    const scale = await cluster.scale(of, 5, options);
    const stale = await failureOf(cluster.scale(of, 7, { signal, resourceVersion: '1' }));
    const none = await cluster.scale(of, 0, { signal, resourceVersion: scale.resourceVersion });

    expect([scale.replicas, none.replicas]).toEqual([5, 0]);
    expect(stale.kind).toBe('conflict');
    expect((await cluster.get(of, options))['spec']).toMatchObject({ replicas: 0 });
  });

  it('finds kinds that it has not heard of, and says which the cluster does not know', async () => {
    await installDefinitions(cluster, ['gatewayclasses']);
    const gatewayClass = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GatewayClass',
      metadata: { name: 'test' },
      spec: { controllerName: 'sluice.test/controller' },
    };

    await cluster.create(gatewayClass, options);
    const missing = await failureOf(
      cluster.get({ apiVersion: 'example.test/v1', kind: 'Widget', namespace, name: 'x' }, options),
    );
    const known = await failureOf(
      cluster.find({ apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', namespace, name: 'x' }, options),
    );

    expect(missing.message).toBe('The cluster knows no kind Widget of example.test/v1.');
    expect([known.kind, known.message]).toEqual([
      'notFound',
      'The cluster has no traefikservices.traefik.io (TraefikService shop/x).',
    ]);
  });

  it('takes a kind for absent that no version serves, and not one that is served under another version', async () => {
    await installDefinitions(cluster, ['gatewayclasses']);
    const group = 'gateway.networking.k8s.io';
    const of = (kind: string, version = 'v1') => ({ apiVersion: `${group}/${version}`, kind, namespace, name: 'x' });
    const absent = await failureOf(cluster.find(of('HTTPRoute'), options));
    await installDefinitions(cluster, ['httproutes']);
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      name: `httproutes.${group}`,
    };
    const { versions } = (await cluster.get(definition, options))['spec'] as { versions: readonly { name: string }[] };
    const at = versions.findIndex(({ name }) => name === 'v1');
    const path = `/spec/versions/${at}/served`;
    const unserve = [{ op: 'replace', path, value: false }] as const;
    await cluster.patch(definition, { type: 'json', operations: unserve }, options);
    await until(async () => {
      const { kind } = await cluster.find(of('HTTPRoute'), options).then(
        () => ({ kind: null }),
        (error: unknown) => error as ClusterFailure,
      );
      return kind === 'invalid';
    });

    const moved = await failureOf(cluster.find(of('HTTPRoute'), options));

    expect(absent.kind).toBe('notFound');
    expect(moved.message).toMatch(
      /^The cluster serves HTTPRoute as .*\/v1beta1 and not as .*\/v1 \(HTTPRoute shop\/x\);/,
    );
  });

  it('names the permission that is missing', async () => {
    const read = await failureOf(limited.get(ref('owned'), options));
    const write = await failureOf(limited.apply(configMap('owned', { a: 'x' }), options));
    const scale = await failureOf(
      limited.scale({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'scaled' }, 1, options),
    );
    const proxy = await failureOf(limited.proxyGet({ namespace, service: 'checkout', path: '/' }, options));

    expect([read, write, scale, proxy].map((one) => one.kind)).toEqual(Array(4).fill('forbidden'));
    expect(read.message).toBe('The permission to get configmaps in namespace shop is missing (ConfigMap shop/owned).');
    expect(write.message).toContain('patch configmaps in namespace shop');
    expect(scale.message).toContain('patch deployments.apps/scale in namespace shop');
    expect(proxy.message).toContain('get services/proxy in namespace shop');
  });

  it('takes a watch that is refused after an outage for one that may be had soon', async () => {
    const refusal = async (outages: ApiOutages): Promise<ClusterFailure> => {
      const one = server().connect({ context: 'limited', outages });
      const told = { resourceVersion: '1', timeoutSeconds: 1, onEvent: () => undefined, onEnd: () => undefined };
      const failure = await failureOf(one.watch(ref('owned'), { ...told, signal }));
      one.close();
      return failure;
    };
    const justBack = new ApiOutages();
    justBack.failed(justBack.now());
    justBack.answered();

    expect(await refusal(justBack)).toMatchObject({ kind: 'unreachable', status: 403 });
    expect((await refusal(new ApiOutages())).kind).toBe('forbidden');
  });

  it('asks for its own permissions', async () => {
    const permission = { verb: 'patch', group: 'apps', resource: 'deployments', subresource: 'scale', namespace };

    expect((await cluster.mayI(permission, options)).allowed).toBe(true);
    expect((await limited.mayI(permission, options)).allowed).toBe(false);
    const { complete, rules } = await cluster.myRules(namespace, options);
    expect(complete).toBe(true);
    expect(rules).toContainEqual({ verbs: ['*'], groups: ['*'], resources: ['*'], names: [] });
    expect((await limited.myRules(namespace, options)).rules.flatMap(({ resources }) => resources)).not.toContain('*');
  });

  it('tells a Service that does not exist from one without ready pods', async () => {
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'empty', namespace },
      spec: { selector: { app: 'none' }, ports: [{ name: 'http', port: 80 }] },
    };
    await cluster.create(service, options);
    // What the controller that is not here would make.
    await cluster.create({ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'empty', namespace } }, options);

    const absent = await failureOf(
      cluster.proxyGet({ namespace, service: 'absent', port: 80, path: '/healthz' }, options),
    );
    const empty = await failureOf(
      cluster.proxyGet({ namespace, service: 'empty', port: 'http', path: '/healthz' }, options),
    );

    expect([absent.kind, absent.message]).toEqual([
      'notFound',
      'Service shop/absent (or its endpoints) does not exist.',
    ]);
    expect(empty.kind).toBe('unreachable');
    expect(empty.message).toContain('no endpoints available for service');
  });

  it('does not accept credentials that the server does not know', async () => {
    const stranger = server().connect({
      server: {
        ...loadApiServer({ kubeconfig: server().kubeconfig }),
        access: () =>
          Promise.resolve({
            headers: { Authorization: 'Bearer of-nobody' },
            tls: { rejectUnauthorized: false },
            proxyAgent: undefined,
          }),
      },
    });

    const refused = await failureOf(stranger.get(ref('owned'), options));
    stranger.close();

    expect(refused.kind).toBe('unauthorized');
    expect(refused.message).not.toContain('of-nobody');
  });
});
