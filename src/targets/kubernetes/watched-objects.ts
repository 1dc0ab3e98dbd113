import { abandonedBy } from './api-http';
import type { Outages } from './api-outages';
import type { OpenWatch } from './api-watch';
import type {
  CallOptions,
  Cluster,
  DeleteOptions,
  FindOptions,
  WatchableCluster,
  Watching,
  WatchEvent,
  WriteOptions,
} from './cluster';
import { ClusterFailure } from './cluster-failure';
import { WATCH_DEFAULTS } from './defaults';
import { describeRef, refOf } from './objects';
import type { KubernetesObject, ObjectRef } from './objects';

export interface WatchedObjectsOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** In [0, 1), for the jitter of how long a watch lasts. */
  readonly random?: () => number;
  readonly idleMs?: number;
  /** Told of what an operation waits for. A request that is tried again is none of it: that is over in seconds. */
  readonly onWait?: (sentence: string) => void;
  readonly onWaited?: () => void;
}

/**
 * A cluster that watches, one by one, the objects it is asked for, and answers `find` from what the watch has told, as
 * long as that watch is known to live. The first read of an object is a list of that one name, which also says from which
 * version to watch it.
 *
 * What a watch has told may be some milliseconds old, and the length of `pingEveryMs` and `pongWithinMs` where its line was
 * cut without a word. So nobody writes by it but on the resourceVersion that was read, and who does nothing because of it,
 * or reports anything, asks for the server's word first: `fresh` or `asked`. What this cluster has written itself it never
 * answers an older state of.
 */
export function watchObjects(cluster: WatchableCluster, options: WatchedObjectsOptions = {}): Cluster {
  return new WatchedObjects(cluster, options);
}

/** What is known of an object: as of a version of its collection, null for an object that is not there. */
interface Known {
  readonly object: KubernetesObject | null;
  readonly version: bigint;
}

interface Entry {
  readonly ref: ObjectRef;
  /** Null when nobody knows: before the first list, after a write without an answer, without a watch. */
  value: Known | null;
  /** The newest that was told while there was no value: a list that was answered late does not overwrite it. */
  event: Known | null;
  watch: OpenWatch | null;
  opening: Promise<void> | null;
  /** Grows whenever the value is dropped: what was asked for before does not count as the value any more. */
  era: number;
  listing: { readonly era: number; readonly answer: Promise<KubernetesObject | null> } | null;
  lastSignMs: number;
  lastReadMs: number;
  /** Until then it is asked for each time. */
  unwatchedUntilMs: number;
  closed: boolean;
  readonly listeners: Set<() => void>;
}

class WatchedObjects implements Cluster {
  readonly fieldManager: string;
  readonly defaultNamespace: string;
  readonly watching: Watching;
  readonly outages?: Outages;
  readonly onWait?: (sentence: string) => void;
  readonly onWaited?: () => void;
  readonly #cluster: WatchableCluster;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #idleMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #closing = new AbortController();
  readonly #sweeper: NodeJS.Timeout;
  /** Until then no watch is tried: this server has none to offer. */
  #unsupportedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(cluster: WatchableCluster, options: WatchedObjectsOptions) {
    this.fieldManager = cluster.fieldManager;
    this.defaultNamespace = cluster.defaultNamespace;
    if (cluster.outages !== undefined) this.outages = cluster.outages;
    if (options.onWait !== undefined) this.onWait = options.onWait;
    if (options.onWaited !== undefined) this.onWaited = options.onWaited;
    this.#cluster = cluster;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#idleMs = options.idleMs ?? WATCH_DEFAULTS.idleMs;
    this.watching = { onChange: (ref, listener) => this.#onChange(ref, listener) };
    this.#sweeper = setInterval(() => this.#sweep(), this.#idleMs / 4).unref();
  }

  async find(ref: ObjectRef, options: FindOptions): Promise<KubernetesObject | null> {
    const { signal, fresh = false, asked = false } = options;
    if (fresh || isReadOnce(ref)) return this.#ask(ref, options);
    const entry = this.#entryOf(ref);
    entry.lastReadMs = this.#now();
    if (this.#isUnwatched(entry)) return this.#ask(ref, options);
    if (asked)
      return this.#watched(entry) === null ? this.#list(entry, signal, { join: false }) : this.#ask(ref, options);
    // It was listed a moment ago, and its watch is about to begin.
    if (entry.value !== null && entry.opening !== null) await this.#unlessCancelled(ref, signal, entry.opening);
    if (this.#isUnwatched(entry)) return this.#ask(ref, options);
    const known = this.#watched(entry);
    return known === null ? this.#list(entry, signal, { join: true }) : known.object;
  }

  async get(ref: ObjectRef, options: CallOptions): Promise<KubernetesObject> {
    try {
      return this.#learn(ref, await this.#cluster.get(ref, options));
    } catch (error) {
      if (error instanceof ClusterFailure && error.kind === 'notFound') this.#forgetUnlessAbsent(ref);
      throw error;
    }
  }

  list: Cluster['list'] = (ref, options) => this.#cluster.list(ref, options);

  create: Cluster['create'] = (object, options) =>
    this.#write(refOf(object), options, () => this.#cluster.create(object, options));

  apply: Cluster['apply'] = (object, options) =>
    this.#write(refOf(object), options, () => this.#cluster.apply(object, options));

  patch: Cluster['patch'] = (ref, patch, options) =>
    this.#write(ref, options, () => this.#cluster.patch(ref, patch, options));

  /** Its answer does not say what is there now: an object may stay until somebody has cleaned up after it. */
  async delete(ref: ObjectRef, options: DeleteOptions): Promise<boolean> {
    try {
      return await this.#cluster.delete(ref, options);
    } finally {
      this.#forget(ref);
    }
  }

  async scale(...[ref, replicas, options]: Parameters<Cluster['scale']>): ReturnType<Cluster['scale']> {
    try {
      return await this.#cluster.scale(ref, replicas, options);
    } finally {
      this.#forget(ref);
    }
  }

  mayI: Cluster['mayI'] = (permission, options) => this.#cluster.mayI(permission, options);

  myRules: Cluster['myRules'] = (namespace, options) => this.#cluster.myRules(namespace, options);

  proxyGet: Cluster['proxyGet'] = (request, options) => this.#cluster.proxyGet(request, options);

  close(): void {
    clearInterval(this.#sweeper);
    this.#closing.abort();
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
    this.#cluster.close();
  }

  #entryOf(ref: ObjectRef): Entry {
    const known = this.#entries.get(keyOf(ref));
    if (known !== undefined) return known;
    const entry: Entry = {
      ref,
      value: null,
      event: null,
      watch: null,
      opening: null,
      era: 0,
      listing: null,
      lastSignMs: 0,
      lastReadMs: this.#now(),
      unwatchedUntilMs: Number.NEGATIVE_INFINITY,
      closed: this.#closing.signal.aborted,
      listeners: new Set(),
    };
    if (!entry.closed) this.#entries.set(keyOf(ref), entry);
    return entry;
  }

  /** Its watch was refused, or there are none from this server. */
  #isUnwatched({ unwatchedUntilMs }: Entry): boolean {
    return this.#now() < Math.max(unwatchedUntilMs, this.#unsupportedUntilMs);
  }

  /** What may be answered without a request; null when that is nothing. */
  #watched(entry: Entry): Known | null {
    if (entry.watch === null) return null;
    // Without a bookmark for so long nobody knows whether the server still follows the object, however well the line does.
    if (Math.abs(this.#now() - entry.lastSignMs) > WATCH_DEFAULTS.quietMs) this.#lose(entry);
    return entry.watch?.alive() === true ? entry.value : null;
  }

  /** The server's word, which the entry learns. */
  async #ask(ref: ObjectRef, options: FindOptions): Promise<KubernetesObject | null> {
    const object = await this.#cluster.find(ref, options);
    if (object === null) this.#forgetUnlessAbsent(ref);
    else this.#learn(ref, object);
    return object;
  }

  async #list(entry: Entry, signal: AbortSignal, { join }: { join: boolean }): Promise<KubernetesObject | null> {
    let { listing } = entry;
    if (!join || listing === null || listing.era !== entry.era) {
      const answer = this.#listNow(entry);
      const begun = { era: entry.era, answer };
      entry.listing = begun;
      const done = (): void => {
        if (entry.listing === begun) entry.listing = null;
      };
      answer.then(done, done);
      listing = begun;
    }
    return this.#unlessCancelled(entry.ref, signal, listing.answer);
  }

  /** Nobody's cancellation breaks it off: others may wait for it, too. */
  async #listNow(entry: Entry): Promise<KubernetesObject | null> {
    const { ref, era } = entry;
    const { signal } = this.#closing;
    try {
      const { object, resourceVersion } = await this.#cluster.findListed(ref, { signal });
      const version = versionOf(resourceVersion);
      if (version === null) {
        // Without an order of versions nothing that is told later could be told from what was before.
        this.#unwatched(entry, WATCH_DEFAULTS.refusedMs);
        return object;
      }
      if (entry.era === era && entry.value === null) {
        const told = entry.event;
        entry.value = told !== null && told.version > version ? told : { object, version };
        entry.event = null;
      } else {
        this.#offer(entry, { object, version });
      }
      this.#open(entry, resourceVersion);
      return object;
    } catch (error) {
      // Also where a server that is just back may not know that right yet.
      if (!(error instanceof ClusterFailure) || (error.kind !== 'forbidden' && error.status !== 403)) throw error;
      // The right to get it by its name suffices for a release.
      this.#unwatched(entry, error.kind === 'forbidden' ? WATCH_DEFAULTS.refusedMs : WATCH_DEFAULTS.failedMs);
      return this.#cluster.find(ref, { signal });
    }
  }

  #open(entry: Entry, resourceVersion: string): void {
    if (entry.watch !== null || entry.opening !== null || entry.closed || this.#isUnwatched(entry)) return;
    let ended = false;
    const end = (): void => {
      ended = true;
      this.#lose(entry);
      wake(entry);
    };
    const timeoutSeconds = Math.round(WATCH_DEFAULTS.lastsS * (1 + this.#random()));
    entry.lastSignMs = this.#now();
    const begin = async (): Promise<void> => {
      try {
        const watch = await this.#cluster.watch(entry.ref, {
          resourceVersion,
          timeoutSeconds,
          signal: this.#closing.signal,
          onEvent: (event) => {
            if (!this.#hear(entry, event)) end();
          },
          onEnd: end,
        });
        if (watch === null) {
          this.#unsupportedUntilMs = this.#now() + WATCH_DEFAULTS.refusedMs;
          this.#unwatched(entry, WATCH_DEFAULTS.refusedMs);
        } else if (entry.closed || ended) watch.close();
        else entry.watch = watch;
      } catch (error) {
        const refused = error instanceof ClusterFailure && error.kind === 'forbidden';
        // Whatever the reason: reads go on without it, and each says by itself what is wrong.
        this.#unwatched(entry, refused ? WATCH_DEFAULTS.refusedMs : WATCH_DEFAULTS.failedMs);
      } finally {
        entry.opening = null;
      }
    };
    entry.opening = begin();
  }

  /** False when nothing that follows can be relied on. */
  #hear(entry: Entry, event: WatchEvent): boolean {
    entry.lastSignMs = this.#now();
    switch (event.type) {
      case 'BOOKMARK':
        return true;
      case 'ERROR':
        return false;
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const version = versionOf(event.object.metadata.resourceVersion);
        if (version === null) return false;
        this.#offer(entry, { object: event.type === 'DELETED' ? null : event.object, version });
        wake(entry);
        return true;
      }
    }
  }

  /** Takes what is newer than what is known. */
  #offer(entry: Entry, told: Known): void {
    const slot = entry.value === null ? 'event' : 'value';
    const before = entry[slot];
    if (before !== null && told.version <= before.version) return;
    entry[slot] = told;
  }

  #learn(ref: ObjectRef, object: KubernetesObject): KubernetesObject {
    const entry = this.#entries.get(keyOf(ref));
    if (entry === undefined) return object;
    const version = versionOf(object.metadata.resourceVersion);
    if (version === null) this.#forget(ref);
    else this.#offer(entry, { object, version });
    return object;
  }

  async #write(
    ref: ObjectRef,
    { dryRun }: WriteOptions,
    send: () => Promise<KubernetesObject>,
  ): Promise<KubernetesObject> {
    try {
      const object = await send();
      return dryRun === true ? object : this.#learn(ref, object);
    } catch (error) {
      // Another version is there than was known, or nobody knows whether it arrived: the next read asks.
      this.#forget(ref);
      throw error;
    }
  }

  #forget(ref: ObjectRef): void {
    const entry = this.#entries.get(keyOf(ref));
    if (entry === undefined) return;
    entry.value = null;
    entry.era += 1;
  }

  /** The answer that there is none says no version: it is newer than what was known, and older than who knows what. */
  #forgetUnlessAbsent(ref: ObjectRef): void {
    if ((this.#entries.get(keyOf(ref))?.value?.object ?? null) !== null) this.#forget(ref);
  }

  /** Its watch is over. */
  #lose(entry: Entry): void {
    entry.watch?.close();
    entry.watch = null;
    entry.value = null;
    entry.event = null;
    entry.era += 1;
  }

  #unwatched(entry: Entry, ms: number): void {
    entry.unwatchedUntilMs = this.#now() + ms;
    this.#lose(entry);
  }

  #drop(key: string, entry: Entry): void {
    entry.closed = true;
    this.#entries.delete(key);
    this.#lose(entry);
  }

  #sweep(): void {
    const now = this.#now();
    for (const [key, entry] of this.#entries) {
      if (now - entry.lastReadMs > this.#idleMs && entry.listeners.size === 0) this.#drop(key, entry);
    }
  }

  #onChange(ref: ObjectRef, listener: () => void): () => void {
    const { listeners } = this.#entryOf(ref);
    // A function of its own, so that one that listens twice is called twice, and stops once.
    const call = (): void => listener();
    listeners.add(call);
    return () => listeners.delete(call);
  }

  async #unlessCancelled<T>(ref: ObjectRef, signal: AbortSignal, work: Promise<T>): Promise<T> {
    try {
      return await abandonedBy(signal, work);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new ClusterFailure('cancelled', `The request was cancelled (${describeRef(ref)}).`);
    }
  }
}

/** What a snapshot is taken of: once a release, and nothing to be kept in memory longer than that. */
function isReadOnce({ apiVersion, kind }: ObjectRef): boolean {
  return apiVersion === 'v1' && (kind === 'Secret' || kind === 'ConfigMap');
}

function wake({ listeners }: Entry): void {
  for (const listener of listeners) listener();
}

function keyOf(ref: ObjectRef): string {
  return `${ref.apiVersion} ${describeRef(ref)}`;
}

/** Versions of one kind are in order: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions. */
function versionOf(text: string | undefined): bigint | null {
  return text !== undefined && /^\d+$/.test(text) ? BigInt(text) : null;
}
