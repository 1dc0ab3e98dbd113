import type {
  CallOptions,
  ListedObject,
  Patch,
  WatchableCluster,
  WatchEvent,
  WatchOptions,
} from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import type { ClusterFailureKind } from '../../../src/targets/kubernetes/cluster-failure';
import type { OpenWatch } from '../../../src/targets/kubernetes/api-watch';
import type { KubernetesObject, ObjectRef } from '../../../src/targets/kubernetes/objects';

export const REF: ObjectRef = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'checkout' };

export function objectOf(weight: number, version?: number): KubernetesObject {
  const { apiVersion, kind, name, namespace } = REF;
  const resourceVersion = version === undefined ? {} : { resourceVersion: String(version) };
  return { apiVersion, kind, metadata: { name, ...(namespace && { namespace }), ...resourceVersion }, weight };
}

/** One watch that somebody has opened, in the hands of a test. */
export interface HeldWatch {
  readonly options: WatchOptions;
  /** Its line gives a sign of life. */
  alive: boolean;
  closed: boolean;
}

/**
 * One object on an API server in memory. It tells its watches nothing by itself: what is told, and when, is the test's,
 * by `tell`. `before` is called ahead of each request, and may wait or throw.
 */
export class FakeWatchable implements WatchableCluster {
  readonly fieldManager = 'sluice';
  readonly defaultNamespace = 'default';
  readonly calls: string[] = [];
  readonly watches: HeldWatch[] = [];
  live: KubernetesObject | null = null;
  version = 10;
  closed = false;
  /** `cut`: its stream ends in the breath in which it begins. */
  watchable: 'no' | 'yes' | 'cut' = 'yes';
  before: (verb: string) => Promise<void> | void = () => undefined;
  /** Called when a list is answered, which is on its way until this has ended. */
  listed: () => Promise<void> | void = () => undefined;

  /** Changes the object behind everybody's back. */
  edit(weight: number | null): void {
    this.version += 1;
    this.live = weight === null ? null : objectOf(weight, this.version);
  }

  /** The watch that is open, or the last one that was. */
  get held(): HeldWatch {
    const last = this.watches.at(-1);
    if (last === undefined) throw new Error('Nobody watches.');
    return last;
  }

  tell(event: WatchEvent): void {
    this.held.options.onEvent(event);
  }

  /** Tells of the object as it is now. */
  tellLive(): void {
    this.tell(
      this.live === null
        ? { type: 'DELETED', object: objectOf(0, this.version) }
        : { type: 'MODIFIED', object: this.live },
    );
  }

  async findListed(_ref: ObjectRef, _options: CallOptions): Promise<ListedObject> {
    await this.#enter('list');
    const answer = { object: this.live, resourceVersion: String(this.version) };
    await this.listed();
    return answer;
  }

  async watch(_ref: ObjectRef, options: WatchOptions): Promise<OpenWatch | null> {
    await this.#enter('watch');
    if (this.watchable === 'no') return null;
    const held: HeldWatch = { options, alive: true, closed: false };
    this.watches.push(held);
    if (this.watchable === 'cut') options.onEnd();
    return { alive: () => held.alive && !held.closed, close: () => (held.closed = true) };
  }

  async find(_ref: ObjectRef, _options: CallOptions): Promise<KubernetesObject | null> {
    await this.#enter('get');
    return this.live;
  }

  async get(ref: ObjectRef, options: CallOptions): Promise<KubernetesObject> {
    const found = await this.find(ref, options);
    if (found === null) throw failure('notFound');
    return found;
  }

  async create(object: KubernetesObject): Promise<KubernetesObject> {
    await this.#enter('create');
    if (this.live !== null) throw failure('alreadyExists');
    return this.#keep(object);
  }

  async apply(object: KubernetesObject): Promise<KubernetesObject> {
    await this.#enter('apply');
    return this.#keep(object);
  }

  async patch(_ref: ObjectRef, patch: Patch): Promise<KubernetesObject> {
    await this.#enter('patch');
    if (this.live === null) throw failure('notFound');
    if (patch.resourceVersion !== this.live.metadata.resourceVersion) throw failure('conflict');
    return this.#keep({ ...this.live, ...(patch.type === 'merge' ? patch.patch : {}) });
  }

  async delete(): Promise<boolean> {
    await this.#enter('delete');
    const was = this.live !== null;
    this.edit(null);
    return was;
  }

  close(): void {
    this.closed = true;
  }

  list = (): never => unused();
  scale = (): never => unused();
  mayI = (): never => unused();
  myRules = (): never => unused();
  proxyGet = (): never => unused();

  #keep(object: KubernetesObject): KubernetesObject {
    this.version += 1;
    this.live = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.version) } };
    return this.live;
  }

  async #enter(verb: string): Promise<void> {
    this.calls.push(verb);
    await this.before(verb);
  }
}

export function failure(kind: ClusterFailureKind): ClusterFailure {
  return new ClusterFailure(kind, kind);
}

function unused(): never {
  throw new Error('No test asks for it.');
}
