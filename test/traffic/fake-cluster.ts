import type { TrafficCluster, TrafficObject, TrafficObjectRef } from '../../src/traffic/cluster-access';

type Method = 'find' | 'list' | 'create' | 'patch' | 'delete';

export class Refusal extends Error {
  constructor(readonly kind: string) {
    super(kind);
  }
}

/**
 * A cluster in memory that knows resourceVersions and nothing else: patches only replace, add and remove. `before` is
 * called ahead of each request and may change things behind the caller's back, or throw in its place.
 */
export class FakeCluster implements TrafficCluster {
  readonly fieldManager = 'sluice';
  readonly objects = new Map<string, TrafficObject>();
  readonly calls: Method[] = [];
  before: (method: Method, ref: TrafficObjectRef) => Promise<void> | void = () => undefined;
  #version = 0;

  put(object: TrafficObject): TrafficObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String((this.#version += 1)) } };
    this.objects.set(key({ ...object, ...object.metadata }), stored);
    return stored;
  }

  async find(ref: TrafficObjectRef): Promise<TrafficObject | null> {
    await this.#enter('find', ref);
    return this.objects.get(key(ref)) ?? null;
  }

  async list({ kind, ...of }: Parameters<NonNullable<TrafficCluster['list']>>[0]): Promise<readonly TrafficObject[]> {
    await this.#enter('list', { kind, name: '', ...of });
    return [...this.objects.values()].filter((object) => object.kind === kind);
  }

  async create(object: TrafficObject): Promise<TrafficObject> {
    const ref = { ...object, ...object.metadata };
    await this.#enter('create', ref);
    if (this.objects.has(key(ref))) throw new Refusal('alreadyExists');
    return this.put(object);
  }

  async patch(ref: TrafficObjectRef, patch: Parameters<TrafficCluster['patch']>[1]): Promise<TrafficObject> {
    await this.#enter('patch', ref);
    return this.land(ref, patch);
  }

  /** What a patch does when it arrives, be it late. */
  land(ref: TrafficObjectRef, patch: Parameters<TrafficCluster['patch']>[1]): TrafficObject {
    const live = this.objects.get(key(ref));
    if (live?.metadata.resourceVersion !== patch.resourceVersion) throw new Refusal('conflict');
    const copy = structuredClone(live) as unknown as Record<string, unknown>;
    for (const operation of patch.operations) {
      const path = operation.path
        .split('/')
        .slice(1)
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
      const last = path.pop() ?? '';
      const parent = path.reduce((at, part) => at[part] as Record<string, unknown>, copy);
      if (operation.op === 'remove') delete parent[last];
      else parent[last] = operation.value;
    }
    return this.put(copy as unknown as TrafficObject);
  }

  async delete(ref: TrafficObjectRef, { resourceVersion }: { resourceVersion: string }): Promise<boolean> {
    await this.#enter('delete', ref);
    const live = this.objects.get(key(ref));
    if (live === undefined) return false;
    if (live.metadata.resourceVersion !== resourceVersion) throw new Refusal('conflict');
    return this.objects.delete(key(ref));
  }

  async #enter(method: Method, ref: TrafficObjectRef): Promise<void> {
    this.calls.push(method);
    await this.before(method, ref);
  }
}

function key(ref: { kind: string; name: string }): string {
  return `${ref.kind}/${ref.name}`;
}
