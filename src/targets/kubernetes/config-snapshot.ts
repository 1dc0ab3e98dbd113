import { createHash } from 'node:crypto';
import { fenceOn, withFence } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import { insist, newestFence, rewrite } from '../../traffic/held-object';
import { TargetFailure } from '../target';
import { removeMade } from './workloads';
import type { WorkloadWrite } from './workloads';
import type { Cluster } from './cluster';
import { describeRef } from './objects';
import type { KubernetesObject, ObjectRef } from './objects';
import { configKey, configNamedBy } from './pod-config';
import type { ConfigRef, Copies, PodTemplate } from './pod-config';
import { OWNER_LABEL, ownerLabel, SERVICE_LABEL } from './tracks';

/** On a copy: the name of what it is a copy of. */
const ORIGIN_ANNOTATION = 'sluice.dev/config-origin';
const MANAGED_LABEL = 'app.kubernetes.io/managed-by';
const MANAGER = 'sluice';

const KINDS = ['ConfigMap', 'Secret'] as const;
const MAX_NAME = 253;
const HASH_LENGTH = 10;

/** The cluster's own, filled and renewed by it: a copy would be without its account. */
const TOKEN_TYPE = 'kubernetes.io/service-account-token';

/** Whose copies: a service's, in its namespace. */
export interface ConfigOwner {
  readonly namespace: string;
  /** metadata.name of the spec. */
  readonly service: string;
}

/** @throws TargetFailure `invalidTarget` with every ConfigMap and Secret that the templates need and that is not there. */
export async function refuseMissingConfig(
  cluster: Cluster,
  namespace: string,
  templates: readonly PodTemplate[],
  signal: AbortSignal,
): Promise<void> {
  const needed = configNamedBy(templates).filter(({ optional }) => !optional);
  const found = await Promise.all(needed.map((ref) => cluster.find(refOf(namespace, ref), { signal })));
  const missing = needed.filter((_, index) => found[index] === null);
  if (missing.length > 0) throw missingFailure(namespace, missing);
}

/**
 * Immutable copies of the ConfigMaps and Secrets that the templates name, by their content: equal content is the same
 * copy. Each is read once a release; asked again, the release gets the copies it has, whatever became of the originals.
 *
 * @throws TargetFailure `invalidTarget` when an original is missing, or a copy's name is taken by something else.
 */
export async function takeSnapshot(
  cluster: Cluster,
  owner: ConfigOwner,
  templates: readonly PodTemplate[],
  write: WorkloadWrite,
): Promise<Copies> {
  const named = configNamedBy(templates);
  if (named.length === 0) return {};
  const held = heldBy(write.fence.release, await listCopies(cluster, owner, write.signal));
  const copies: Record<string, string> = {};
  const missing: ConfigRef[] = [];
  for (const ref of named) {
    const known = held[configKey(ref)];
    if (known !== undefined) {
      copies[configKey(ref)] = known;
      continue;
    }
    const origin = await cluster.find(refOf(owner.namespace, ref), { signal: write.signal });
    if (origin === null) {
      if (!ref.optional) missing.push(ref);
    } else if (origin['type'] !== TOKEN_TYPE) {
      copies[configKey(ref)] = await ensureCopy(cluster, copyOf(origin, owner, write.fence), write);
    }
  }
  if (missing.length > 0) throw missingFailure(owner.namespace, missing);
  return copies;
}

/**
 * Deletes the service's copies that none of these templates names.
 *
 * @throws TrafficFailure `fenceLost` when a later release has taken one: it is that one's to collect.
 */
export async function collectCopies(
  cluster: Cluster,
  owner: ConfigOwner,
  templates: readonly PodTemplate[],
  write: WorkloadWrite,
): Promise<void> {
  const needed = new Set(configNamedBy(templates).map(configKey));
  for (const copy of await listCopies(cluster, owner, write.signal)) {
    const { name, namespace = owner.namespace } = copy.metadata;
    if (needed.has(`${copy.kind}/${name}`)) continue;
    await removeMade(cluster, { apiVersion: 'v1', kind: copy.kind, namespace, name }, write);
  }
}

/** True when a release has made copies for the service that are still there. */
export async function hasCopies(cluster: Cluster, owner: ConfigOwner, signal: AbortSignal): Promise<boolean> {
  return (await listCopies(cluster, owner, signal)).length > 0;
}

async function listCopies(
  cluster: Cluster,
  { namespace, service }: ConfigOwner,
  signal: AbortSignal,
): Promise<readonly KubernetesObject[]> {
  const labelSelector = `${MANAGED_LABEL}=${MANAGER},${SERVICE_LABEL}=${service}`;
  const lists = await Promise.all(
    KINDS.map((kind) => cluster.list({ apiVersion: 'v1', kind, namespace }, { signal, labelSelector })),
  );
  return lists.flat().filter(({ metadata }) => metadata.annotations?.[ORIGIN_ANNOTATION] !== undefined);
}

/** What the release has taken so far; of two attempts that read at the same time, the later one's. */
function heldBy(release: string, copies: readonly KubernetesObject[]): Copies {
  const byOrigin = new Map<string, KubernetesObject>();
  for (const copy of copies) {
    if (fenceOn(copy)?.release !== release) continue;
    const key = `${copy.kind}/${copy.metadata.annotations?.[ORIGIN_ANNOTATION] ?? ''}`;
    const known = byOrigin.get(key);
    const later = known === undefined || isNewest(copy, [known, copy]);
    if (later) byOrigin.set(key, copy);
  }
  return Object.fromEntries([...byOrigin].map(([key, copy]) => [key, copy.metadata.name]));
}

function isNewest(copy: KubernetesObject, among: readonly KubernetesObject[]): boolean {
  return JSON.stringify(newestFence(among)) === JSON.stringify(fenceOn(copy));
}

function copyOf(origin: KubernetesObject, { namespace, service }: ConfigOwner, fence: Fence): KubernetesObject {
  const { kind, metadata } = origin;
  const { name } = metadata;
  const hash = hashOf(origin, name);
  const beginning = name.slice(0, MAX_NAME - HASH_LENGTH - 1).replace(/[^a-z0-9]+$/, '');
  const content = ['type', 'data', 'binaryData'].flatMap((key) =>
    origin[key] === undefined ? [] : [[key, origin[key]] as const],
  );
  const copy: KubernetesObject = {
    apiVersion: 'v1',
    kind,
    metadata: {
      name: `${beginning}-${hash}`,
      namespace,
      labels: { [MANAGED_LABEL]: MANAGER, [SERVICE_LABEL]: service, [OWNER_LABEL]: ownerLabel(fence.release) },
      annotations: { [ORIGIN_ANNOTATION]: name },
    },
    immutable: true,
    ...Object.fromEntries(content),
  };
  return withFence(copy, fence);
}

/** Of what the pods see, and whose it is: whatever the order of the keys. */
function hashOf({ kind, ...object }: KubernetesObject, origin: string): string {
  const sorted = (value: unknown): unknown => Object.entries((value ?? {}) as Record<string, string>).sort(byKey);
  const content = [kind, origin, object['type'] ?? null, sorted(object['data']), sorted(object['binaryData'])];
  return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, HASH_LENGTH);
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

/** Makes the copy, or takes the one there is into this release's hands. Answers its name. */
async function ensureCopy(cluster: Cluster, wanted: KubernetesObject, write: WorkloadWrite): Promise<string> {
  const { name } = wanted.metadata;
  const ref: ObjectRef = { apiVersion: 'v1', kind: wanted.kind, namespace: wanted.metadata.namespace ?? '', name };
  await insist(ref, async () => {
    const live = await cluster.find(ref, { signal: write.signal });
    if (live === null) {
      await cluster.create(wanted, { signal: write.signal });
      return;
    }
    refuseOther(live, wanted);
    await rewrite(cluster, ref, write, (object) => withFence(object, write.fence));
  });
  return name;
}

/** @throws TargetFailure `invalidTarget` for an object of the copy's name that is none. */
function refuseOther(live: KubernetesObject, wanted: KubernetesObject): void {
  const origin = wanted.metadata.annotations?.[ORIGIN_ANNOTATION] ?? '';
  const isCopy = live['immutable'] === true && live.metadata.annotations?.[ORIGIN_ANNOTATION] === origin;
  if (isCopy && hashOf(live, origin) === hashOf(wanted, origin)) return;
  const { namespace = '', name } = wanted.metadata;
  throw new TargetFailure(
    'invalidTarget',
    `${wanted.kind} ${namespace}/${name} is there already and is not the copy of ${origin} that this name is for; delete it, and release again.`,
  );
}

function refOf(namespace: string, { kind, name }: ConfigRef): ObjectRef {
  return { apiVersion: 'v1', kind, namespace, name };
}

function missingFailure(namespace: string, missing: readonly ConfigRef[]): TargetFailure {
  const shown = missing.map((ref) => describeRef(refOf(namespace, ref))).join(', ');
  const [it, them] = missing.length === 1 ? ['does not exist', 'it'] : ['do not exist', 'them'];
  return new TargetFailure(
    'invalidTarget',
    `${shown} ${it}, and the pods' template names ${them}; with config: snapshot a release copies what is named, so make ${them} first, or say optional: true there.`,
  );
}
