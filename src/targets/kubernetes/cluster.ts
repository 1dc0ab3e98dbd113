import { setTimeout as delay } from 'node:timers/promises';
import type { TrafficCluster } from '../../traffic/cluster-access';
import { ApiHttp, ApiHttpFailure } from './api-http';
import type { ApiAnswer, ApiHttpOptions, ApiRequest, ApiServer } from './api-http';
import { ApiOutages } from './api-outages';
import type { Outages } from './api-outages';
import { ApiWatch } from './api-watch';
import type { ApiWatchOptions, OpenWatch } from './api-watch';
import { ClusterFailure, failureOfAnswer, isApiStatus, isMissingRight, unreadRight } from './cluster-failure';
import type { Doing } from './cluster-failure';
import { CLUSTER_DEFAULTS } from './defaults';
import { loadApiServer } from './kube-config';
import type { KubeConfigOptions } from './kube-config';
import { describeRef, refOf } from './objects';
import type { CollectionRef, JsonPatchOperation, KubernetesObject, ObjectRef } from './objects';
import { RequestCounter } from './request-counter';
import {
  collectionPath,
  findResource,
  findVersions,
  groupOf,
  groupPath,
  knownResource,
  permissionName,
} from './resources';
import type { Resource } from './resources';
import { DEFAULT_RETRY, mayPass, nextDelayMs, retryAfterMs } from './retry';
import type { RetryPolicy } from './retry';

/**
 * The one place that talks to a Kubernetes API server. Reads and writes that may happen twice are repeated on 429, 5xx
 * and broken connections within a budget; `create` is only where it was turned away (429), and `proxyGet` is tried once.
 * That a right is missing counts from a server that is ready: one that has just begun has not read its roles yet, and its
 * 403 is `unreachable`. Everything throws `ClusterFailure`.
 */
export interface Cluster {
  /** Who our writes belong to in `metadata.managedFields`. */
  readonly fieldManager: string;
  /** The namespace of the kubeconfig's context. */
  readonly defaultNamespace: string;
  /** @throws ClusterFailure `notFound`, and the others. */
  get(ref: ObjectRef, options: CallOptions): Promise<KubernetesObject>;
  /** As `get`, but null for an object that does not exist. A kind that does not exist is a failure. */
  find(ref: ObjectRef, options: FindOptions): Promise<KubernetesObject | null>;
  /** All objects of a kind that match, page by page. */
  list(ref: CollectionRef, options: CallOptions & ListSelection): Promise<readonly KubernetesObject[]>;
  /** Tried once where it may have arrived: a second try could not tell its own first from somebody else's object. */
  create(object: KubernetesObject, options: WriteOptions): Promise<KubernetesObject>;
  /**
   * Server-side apply: the object holds the fields we want to own, and nothing else. A field that somebody else owns is
   * a `conflict` that names its owners, unless `force`; a `resourceVersion` in the metadata must match.
   */
  apply(object: KubernetesObject, options: ApplyOptions): Promise<KubernetesObject>;
  /** A patch that only lands on the given resourceVersion; another one there is a `conflict`. */
  patch(
    ref: ObjectRef,
    patch: Patch,
    options: WriteOptions & { readonly subresource?: 'status' },
  ): Promise<KubernetesObject>;
  /** False when there was nothing to delete. Another uid or resourceVersion than the given one is a `conflict`. */
  delete(ref: ObjectRef, options: DeleteOptions): Promise<boolean>;
  /** Sets the number of replicas through the scale subresource, the only right to Deployments this needs. */
  scale(
    ref: ObjectRef,
    replicas: number,
    options: WriteOptions & { readonly resourceVersion?: string },
  ): Promise<Scale>;
  /** Asks the server whether these credentials may do something. Every user may ask this. */
  mayI(permission: Permission, options: CallOptions): Promise<PermissionAnswer>;
  /** All that these credentials may do in a namespace, as far as the server can tell. Every user may ask this. */
  myRules(namespace: string, options: CallOptions): Promise<RulesAnswer>;
  /**
   * Asks a Service's pods through the API server, which works from outside on every cluster. Any status of theirs is an
   * answer. It is a failure when the API server itself refuses: `forbidden` (the right is get services/proxy), `notFound`,
   * `unreachable` where no pod is ready.
   */
  proxyGet(request: ProxyRequest, options: CallOptions): Promise<ProxyAnswer>;
  /** Closes all connections; requests under way fail. */
  close(): void;
  /** Where `find` may be answered by what a watch has told; left out where every read asks the server. */
  readonly watching?: Watching;
  /** Left out where nobody notes them. */
  readonly outages?: Outages;
  /** Told of each wait when it begins, a sentence that says how long it may last; left out where nobody hears it. */
  readonly onWait?: (sentence: string) => void;
  /** Told when what was waited for last is over: pods are there, or will not be. */
  readonly onWaited?: () => void;
}

export interface Watching {
  /** Calls when an object may have changed, until the returned function is called. */
  onChange(ref: ObjectRef, listener: () => void): () => void;
}

/** A cluster whose objects can be watched one by one; see `watchObjects`. */
export interface WatchableCluster extends Cluster {
  /** As `find`, with the version of the whole collection that this is true of; needs the right to list. */
  findListed(ref: ObjectRef, options: CallOptions): Promise<ListedObject>;
  /**
   * All changes of one object after a version. Null where this server cannot be watched at all.
   *
   * @throws ClusterFailure when it cannot be opened; it is tried once.
   */
  watch(ref: ObjectRef, options: WatchOptions): Promise<OpenWatch | null>;
}

export interface ListedObject {
  readonly object: KubernetesObject | null;
  readonly resourceVersion: string;
}

export interface WatchOptions extends CallOptions {
  readonly resourceVersion: string;
  /** After which the server ends it. */
  readonly timeoutSeconds: number;
  readonly onEvent: (event: WatchEvent) => void;
  /** It ended, and not by `close`; told once. */
  readonly onEnd: () => void;
}

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: KubernetesObject }
  /** Nothing has happened. */
  | { readonly type: 'BOOKMARK' }
  /** The server cannot go on (its past is compacted), or says something unknown. */
  | { readonly type: 'ERROR' };

export interface CallOptions {
  readonly signal: AbortSignal;
}

/** How new the answer must be, where a cluster remembers (`rememberReads`) or watches (`watchObjects`) what it read before. */
export interface FindOptions extends CallOptions {
  /** The server's own word, asked for now. */
  readonly fresh?: boolean;
  /** The server's own word, asked for in this operation: neither from before it nor by a watch. */
  readonly asked?: boolean;
  /** Not what this operation remembers; a watch may answer. */
  readonly anew?: boolean;
}

export interface WriteOptions extends CallOptions {
  /** Everything is checked and nothing is kept. */
  readonly dryRun?: boolean;
}

export interface ApplyOptions extends WriteOptions {
  /** Takes over fields that somebody else owns. */
  readonly force?: boolean;
  /** Refuses fields that the server does not know, where it would otherwise leave them out. */
  readonly strict?: boolean;
}

export interface ListSelection {
  /** `app=checkout,track in (stable)`. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export type Patch =
  | { readonly type: 'merge'; readonly patch: Readonly<Record<string, unknown>>; readonly resourceVersion?: string }
  | { readonly type: 'json'; readonly operations: readonly JsonPatchOperation[]; readonly resourceVersion?: string };

export interface DeleteOptions extends WriteOptions {
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** What becomes of what it owns. `Background` by default: gone soon after; `Foreground`: gone before it. */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
}

export interface Scale {
  /** Asked for. */
  readonly replicas: number;
  /** There, ready or not. */
  readonly current: number;
  readonly resourceVersion: string;
}

/** In the words of RBAC; `group` is empty for the core group. */
export interface Permission {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace: string;
  readonly name?: string;
}

export interface PermissionAnswer {
  readonly allowed: boolean;
  /** The server's words; often empty. */
  readonly reason: string;
}

export interface RulesAnswer {
  /** False where somebody has a say who cannot list what he allows, such as a webhook: nothing follows from them then. */
  readonly complete: boolean;
  readonly rules: readonly AccessRule[];
}

/** A rule of RBAC; `*` stands for everything. */
export interface AccessRule {
  readonly verbs: readonly string[];
  readonly groups: readonly string[];
  /** `deployments`, `services/proxy`. */
  readonly resources: readonly string[];
  /** Empty for all. */
  readonly names: readonly string[];
}

export interface ProxyRequest {
  readonly namespace: string;
  readonly service: string;
  /** Number or name; left out for a Service with one port. */
  readonly port?: number | string;
  /** How the pods are asked; http by default. */
  readonly scheme?: 'http' | 'https';
  /** With its query, begins with "/". */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly timeoutMs?: number;
}

export type ProxyAnswer = Pick<ApiAnswer, 'status' | 'headers' | 'text'>;

export interface ClusterOptions extends KubeConfigOptions, ApiHttpOptions {
  /** In place of a kubeconfig. */
  readonly server?: ApiServer;
  readonly fieldManager?: string;
  readonly retry?: Partial<RetryPolicy>;
  readonly watch?: Omit<ApiWatchOptions, 'maxBytes'>;
  /** One for all clusters of a process, where there are several. */
  readonly counter?: RequestCounter;
  /** Its clock is its own; for tests. */
  readonly outages?: ApiOutages;
  /** Told before a request is tried again. */
  readonly onWait?: (sentence: string) => void;
  /** In [0, 1), for the jitter of retries. */
  readonly random?: () => number;
}

/**
 * Connects to no one yet: the first request does.
 *
 * @throws ClusterFailure `config`.
 */
export function connectCluster(options: ClusterOptions = {}): WatchableCluster {
  return new PooledCluster(options.server ?? loadApiServer(options), options);
}

type Json = Readonly<Record<string, unknown>>;

interface Call extends Doing, CallOptions {
  readonly method: ApiRequest['method'];
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: { readonly type: string; readonly json: unknown };
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly repeatable: boolean;
  /** A success need not be JSON. */
  readonly plain?: boolean;
}

const BODY = {
  json: 'application/json',
  apply: 'application/apply-patch+yaml', // JSON is YAML
  merge: 'application/merge-patch+json',
  jsonPatch: 'application/json-patch+json',
} as const;

class PooledCluster implements WatchableCluster, TrafficCluster {
  readonly fieldManager: string;
  readonly defaultNamespace: string;
  readonly #url: string;
  readonly #http: ApiHttp;
  readonly #watches: ApiWatch;
  readonly #retry: RetryPolicy;
  readonly #counter: RequestCounter;
  readonly outages: ApiOutages;
  readonly onWait?: (sentence: string) => void;
  readonly #random: () => number;
  readonly #resources = new Map<string, Resource>();
  /** This cluster does not tell us whether it is ready. */
  #keepsReadiness = false;

  constructor(server: ApiServer, options: ClusterOptions) {
    this.fieldManager = options.fieldManager ?? CLUSTER_DEFAULTS.fieldManager;
    this.defaultNamespace = server.namespace;
    this.#url = server.url;
    this.#http = new ApiHttp(server, options);
    this.#watches = new ApiWatch(server, {
      ...options.watch,
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
    });
    this.#retry = { ...DEFAULT_RETRY, ...options.retry };
    this.#counter = options.counter ?? new RequestCounter();
    this.outages = options.outages ?? new ApiOutages();
    if (options.onWait !== undefined) this.onWait = options.onWait;
    this.#random = options.random ?? Math.random;
  }

  async get(ref: ObjectRef, { signal }: CallOptions): Promise<KubernetesObject> {
    const at = await this.#place(ref, signal);
    return toObject(await this.#ask({ ...at('get'), method: 'GET', repeatable: true, signal }), ref);
  }

  async find(ref: ObjectRef, options: CallOptions): Promise<KubernetesObject | null> {
    // The kind first: that one is missing must not pass for an object that is.
    const at = await this.#place(ref, options.signal);
    const call: Call = { ...at('get'), method: 'GET', repeatable: true, signal: options.signal };
    const answer = await this.#tryAll(call);
    if (answer.status !== 404) return toObject(expectSuccess(answer, call), ref);
    await this.#refusePage(answer, call, ref);
    return null;
  }

  async list(ref: CollectionRef, options: CallOptions & ListSelection): Promise<readonly KubernetesObject[]> {
    const { signal, labelSelector, fieldSelector } = options;
    const at = await this.#place({ ...ref, name: '' }, signal);
    const call: Call = { ...at('list'), method: 'GET', repeatable: true, signal };
    let objects: KubernetesObject[] = [];
    let next: string | undefined;
    let restarts = 0;
    for (let page = 0; page < CLUSTER_DEFAULTS.maxPages; page += 1) {
      const query = { limit: String(CLUSTER_DEFAULTS.pageSize), labelSelector, fieldSelector, continue: next };
      const answer = await this.#tryAll({ ...call, query });
      if (answer.status === 410 && next !== undefined && restarts < 1) {
        // The server keeps a list's state for some minutes only; from the beginning, then.
        restarts += 1;
        objects = [];
        next = undefined;
        continue;
      }
      await this.#refusePage(answer, call, ref);
      const { items, metadata } = expectSuccess(answer, call) as { items?: unknown; metadata?: { continue?: unknown } };
      if (!Array.isArray(items)) throw notAnObject(call.what);
      // Items of a list come without the two fields that say what they are.
      for (const item of items as readonly Json[]) objects.push(toObject({ ...ref, ...item }, { ...ref, name: '' }));
      next = typeof metadata?.continue === 'string' && metadata.continue !== '' ? metadata.continue : undefined;
      if (next === undefined) return objects;
    }
    throw new ClusterFailure('invalid', `More than ${objects.length} objects match in ${call.what}.`);
  }

  async create(object: KubernetesObject, { signal, dryRun }: WriteOptions): Promise<KubernetesObject> {
    const ref = refOf(object);
    const at = await this.#place(ref, signal);
    const answer = await this.#ask({
      ...at('create'),
      method: 'POST',
      query: { fieldManager: this.fieldManager, dryRun: dryRun === true ? 'All' : undefined },
      body: { type: BODY.json, json: object },
      repeatable: false,
      signal,
    });
    return toObject(answer, ref);
  }

  async apply(object: KubernetesObject, options: ApplyOptions): Promise<KubernetesObject> {
    const { signal, dryRun, force, strict } = options;
    const ref = refOf(object);
    const at = await this.#place(ref, signal);
    const answer = await this.#ask({
      ...at('patch'),
      method: 'PATCH',
      query: {
        fieldManager: this.fieldManager,
        force: force === true ? 'true' : 'false',
        fieldValidation: strict === true ? 'Strict' : undefined,
        dryRun: dryRun === true ? 'All' : undefined,
      },
      body: { type: BODY.apply, json: object },
      repeatable: true,
      signal,
    });
    return toObject(answer, ref);
  }

  async patch(
    ref: ObjectRef,
    patch: Patch,
    options: WriteOptions & { readonly subresource?: 'status' },
  ): Promise<KubernetesObject> {
    const { signal, dryRun, subresource } = options;
    const at = await this.#place(ref, signal, subresource);
    const answer = await this.#ask({
      ...at('patch'),
      method: 'PATCH',
      query: { fieldManager: this.fieldManager, dryRun: dryRun === true ? 'All' : undefined },
      body: bodyOfPatch(patch),
      // Without a resourceVersion a second landing could undo what somebody did in between.
      repeatable: patch.resourceVersion !== undefined,
      signal,
    });
    return toObject(answer, ref);
  }

  async delete(ref: ObjectRef, options: DeleteOptions): Promise<boolean> {
    const { signal, dryRun, uid, resourceVersion, propagation = 'Background' } = options;
    const at = await this.#place(ref, signal);
    const call: Call = {
      ...at('delete'),
      method: 'DELETE',
      body: {
        type: BODY.json,
        json: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          propagationPolicy: propagation,
          ...(dryRun === true ? { dryRun: ['All'] } : {}),
          ...(uid === undefined && resourceVersion === undefined
            ? {}
            : { preconditions: { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) } }),
        },
      },
      repeatable: true,
      signal,
    };
    const answer = await this.#tryAll(call);
    if (answer.status === 404 && isApiStatus(answer.json)) return false;
    expectSuccess(answer, call);
    return true;
  }

  async scale(
    ref: ObjectRef,
    replicas: number,
    options: WriteOptions & { readonly resourceVersion?: string },
  ): Promise<Scale> {
    const { signal, dryRun, resourceVersion } = options;
    const at = await this.#place(ref, signal, 'scale');
    const answer = await this.#ask({
      ...at('patch'),
      method: 'PATCH',
      query: { fieldManager: this.fieldManager, dryRun: dryRun === true ? 'All' : undefined },
      body: bodyOfPatch({
        type: 'merge',
        patch: { spec: { replicas } },
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      }),
      repeatable: true,
      signal,
    });
    const { spec, status, metadata } = answer as {
      spec?: { replicas?: unknown };
      status?: { replicas?: unknown };
      metadata?: { resourceVersion?: unknown };
    };
    return {
      // Kubernetes leaves out what is 0.
      replicas: Number(spec?.replicas ?? 0),
      current: Number(status?.replicas ?? 0),
      resourceVersion: String(metadata?.resourceVersion ?? ''),
    };
  }

  async mayI(permission: Permission, { signal }: CallOptions): Promise<PermissionAnswer> {
    const answer = await this.#ask({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      verb: 'create',
      resource: 'selfsubjectaccessreviews.authorization.k8s.io',
      namespace: undefined,
      what: 'the review of our own permissions',
      body: {
        type: BODY.json,
        json: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes: permission },
        },
      },
      // Nothing is kept of it.
      repeatable: true,
      signal,
    });
    const { status } = answer as { status?: { allowed?: unknown; reason?: unknown } };
    if (status?.allowed !== true && !(await this.#hasReadRoles(signal))) {
      const { verb, group, resource, subresource, namespace, name } = permission;
      throw unreadRight({
        verb,
        resource: permissionName(group, resource, subresource),
        namespace,
        what: name ?? 'of any name',
      });
    }
    return { allowed: status?.allowed === true, reason: typeof status?.reason === 'string' ? status.reason : '' };
  }

  async myRules(namespace: string, { signal }: CallOptions): Promise<RulesAnswer> {
    const answer = await this.#ask({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
      verb: 'create',
      resource: 'selfsubjectrulesreviews.authorization.k8s.io',
      namespace: undefined,
      what: 'the review of our own rules',
      body: {
        type: BODY.json,
        json: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace } },
      },
      // Nothing is kept of it.
      repeatable: true,
      signal,
    });
    const { status } = answer as { status?: { incomplete?: unknown; resourceRules?: unknown } };
    const rules = Array.isArray(status?.resourceRules) ? (status.resourceRules as readonly Json[]) : [];
    return {
      complete: status?.incomplete === false,
      rules: rules.map((rule) => ({
        verbs: strings(rule['verbs']),
        groups: strings(rule['apiGroups']),
        resources: strings(rule['resources']),
        names: strings(rule['resourceNames']),
      })),
    };
  }

  async proxyGet(request: ProxyRequest, { signal }: CallOptions): Promise<ProxyAnswer> {
    const { namespace, service, scheme = 'http', port = '', path, headers, timeoutMs } = request;
    if (!path.startsWith('/')) throw new ClusterFailure('invalid', `The path ${path} does not begin with "/".`);
    const parts = [
      ...(scheme === 'https' ? ['https'] : []),
      service,
      ...(port === '' && scheme === 'http' ? [] : [port]),
    ];
    const name = parts.map(encodeURIComponent).join(':');
    const base = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${name}/proxy`;
    const call: Call = {
      verb: 'get',
      resource: 'services/proxy',
      namespace,
      // The server says the same of a Service that is not there and of one whose pods nobody has looked for yet.
      what: `Service ${namespace}/${service} (or its endpoints)`,
      method: 'GET',
      path: `${base}${path}`,
      ...(headers === undefined ? {} : { headers }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      // Who tests decides about tries.
      repeatable: false,
      plain: true,
      signal,
    };
    const answer = await this.#tryOnce(call);
    if (isApiStatus(answer.json) && answer.status >= 400) throw failureOfAnswer(answer, call);
    return { status: answer.status, headers: answer.headers, text: answer.text };
  }

  async findListed(ref: ObjectRef, { signal }: CallOptions): Promise<ListedObject> {
    const at = await this.#place(ref, signal);
    const query = { fieldSelector: nameSelector(ref) };
    const call: Call = { ...at('list'), method: 'GET', query, repeatable: true, signal };
    const answer = await this.#tryAll(call);
    await this.#refusePage(answer, call, ref);
    const { items, metadata } = expectSuccess(answer, call) as {
      items?: unknown;
      metadata?: { resourceVersion?: unknown };
    };
    const { resourceVersion } = metadata ?? {};
    if (!Array.isArray(items) || typeof resourceVersion !== 'string') throw notAnObject(call.what);
    const [found] = items as readonly Json[];
    return { object: found === undefined ? null : toObject({ ...kindOf(ref), ...found }, ref), resourceVersion };
  }

  async watch(ref: ObjectRef, options: WatchOptions): Promise<OpenWatch | null> {
    const { resourceVersion, timeoutSeconds, onEvent, onEnd, signal } = options;
    const call = (await this.#place(ref, signal))('watch');
    const search = new URLSearchParams({
      watch: 'true',
      fieldSelector: nameSelector(ref),
      resourceVersion,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(timeoutSeconds),
    });
    const count = this.#counting(call);
    let state: 'opening' | 'open' | 'closed' = 'opening';
    const closed = (): void => {
      if (state === 'open') this.#counter.watchClosed();
      state = 'closed';
    };
    const opened = (): void => {
      // It may have ended in the same breath.
      if (state === 'opening') this.#counter.watchOpened();
      if (state === 'opening') state = 'open';
    };
    try {
      const opening = await this.#watches.open({
        path: `${call.path}?${search.toString()}`,
        onEvent: (event) => onEvent(toWatchEvent(event, ref)),
        onEnd: () => {
          closed();
          onEnd();
        },
      });
      if (opening.kind === 'unsupported') return null;
      if (opening.kind === 'refused') {
        count(String(opening.answer.status));
        if (isMissingRight(opening.answer) && this.outages.isJustBack()) throw unreadRight(call);
        throw failureOfAnswer(opening.answer, call);
      }
      count('200');
      const { watch } = opening;
      opened();
      return {
        alive: () => watch.alive(),
        close: () => {
          closed();
          watch.close();
        },
      };
    } catch (error) {
      if (!(error instanceof ApiHttpFailure)) throw error;
      count(error.kind);
      throw failureOfHttp(error, call, this.#url);
    }
  }

  close(): void {
    this.#watches.close();
    this.#http.close();
  }

  /** Where a kind's objects are, with the words for what is done to them. */
  async #place(
    ref: ObjectRef,
    signal: AbortSignal,
    subresource?: string,
  ): Promise<
    (verb: 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete') => Omit<Call, 'method' | 'repeatable' | 'signal'>
  > {
    const resource = await this.#resourceOf(ref, signal);
    if (resource.namespaced && ref.namespace === undefined && ref.name !== '') {
      throw new ClusterFailure('invalid', `${describeRef(ref)} needs a namespace.`);
    }
    const collection = collectionPath(ref, resource);
    const whole = ref.name === '';
    return (verb) => ({
      verb,
      resource: permissionName(groupOf(ref.apiVersion), resource.plural, subresource),
      namespace: resource.namespaced ? ref.namespace : undefined,
      what: whole ? `the list of ${resource.plural}` : describeRef(ref),
      path:
        verb === 'list' || verb === 'watch' || verb === 'create'
          ? collection
          : `${collection}/${encodeURIComponent(ref.name)}${subresource === undefined ? '' : `/${subresource}`}`,
    });
  }

  async #resourceOf(ref: ObjectRef, signal: AbortSignal): Promise<Resource> {
    const { apiVersion, kind } = ref;
    const key = `${apiVersion}/${kind}`;
    const known = this.#resources.get(key) ?? knownResource(ref);
    if (known !== null) return known;
    const path = groupPath(apiVersion);
    const list = await this.#listAt(path, 'resources', signal);
    // Of a version that it does not have the server answers the same page as a proxy in front of it may.
    if (
      list === null &&
      (await this.#versionsIn(groupOf(apiVersion), { core: apiVersion, signal })).includes(apiVersion)
    ) {
      throw notListed('resources', path);
    }
    const found = list === null ? null : findResource(list, kind);
    if (found === null) {
      throw new ClusterFailure('notFound', `The cluster knows no kind ${kind} of ${apiVersion}.`, { status: 404 });
    }
    this.#resources.set(key, found);
    return found;
  }

  /**
   * A 404 without the server's own document: said of a kind whose definition was removed, but also of a version that is
   * not served any more while the objects live on under another one, and by a proxy in front of the server. So the kind
   * is absent only where the list of groups and versions says so.
   *
   * @throws ClusterFailure `notFound` for a kind that no version serves, `invalid` for one that others serve, `unreachable`.
   */
  async #refusePage(answer: ApiAnswer, call: Call, ref: CollectionRef): Promise<void> {
    if (answer.status !== 404 || isApiStatus(answer.json)) return;
    const { apiVersion, kind } = ref;
    const serving = await this.#versionsServing(ref, call.signal);
    if (serving.length === 0) throw failureOfAnswer(answer, call);
    if (!serving.includes(apiVersion)) {
      throw new ClusterFailure(
        'invalid',
        `The cluster serves ${kind} as ${serving.join(', ')} and not as ${apiVersion} (${call.what}); have its definition (CRD) serve ${apiVersion}, too.`,
        { status: 404 },
      );
    }
    throw new ClusterFailure(
      'unreachable',
      `The answer to ${call.verb} ${call.resource} was a 404 without the API server's own words, although it serves ${kind} of ${apiVersion} (${call.what}).`,
      { status: 404 },
    );
  }

  /** Under which apiVersions of its group a kind is served, by the server's own word. */
  async #versionsServing({ apiVersion, kind }: CollectionRef, signal: AbortSignal): Promise<readonly string[]> {
    const serving: string[] = [];
    for (const version of await this.#versionsIn(groupOf(apiVersion), { core: apiVersion, signal })) {
      const list = await this.#discover(groupPath(version), 'resources', signal);
      if (findResource(list, kind) !== null) serving.push(version);
    }
    return serving;
  }

  /** The apiVersions of a group, by the server's own list; the core group, which is always there, is in none. */
  async #versionsIn(
    group: string,
    { core, signal }: { readonly core: string; readonly signal: AbortSignal },
  ): Promise<readonly string[]> {
    return group === '' ? [core] : findVersions(await this.#discover('/apis', 'groups', signal), group);
  }

  /** @throws ClusterFailure `unreachable` for whatever is not such a list: then nothing is known. */
  async #discover(path: string, lists: Lists, signal: AbortSignal): Promise<Json> {
    const found = await this.#listAt(path, lists, signal);
    if (found === null) throw notListed(lists, path);
    return found;
  }

  /** Null for a 404, whoever says it. */
  async #listAt(path: string, lists: Lists, signal: AbortSignal): Promise<Json | null> {
    const what = describeList(lists, path);
    const call: Call = {
      verb: 'get',
      resource: 'discovery',
      namespace: undefined,
      what,
      method: 'GET',
      path,
      repeatable: true,
      signal,
    };
    const answer = await this.#tryAll(call);
    if (answer.status === 404) return null;
    const found = expectSuccess(answer, call);
    if (!Array.isArray(found[lists])) throw notAnObject(what);
    return found;
  }

  /** The JSON of a successful answer. */
  async #ask(call: Call): Promise<Json> {
    return expectSuccess(await this.#tryAll(call), call);
  }

  /** An answer of any status; for what is repeatable, or was not carried out, the last one of several tries. */
  async #tryAll(call: Call): Promise<ApiAnswer> {
    const started = performance.now();
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#tryOnce(call).catch((error: unknown) => toClusterFailure(error));
      const passing =
        outcome instanceof ClusterFailure
          ? outcome.kind === 'unreachable' || outcome.kind === 'timeout'
          : mayPass(outcome.status);
      const wait =
        passing && (call.repeatable || wasNotCarriedOut(outcome))
          ? nextDelayMs(this.#retry, {
              tries,
              elapsedMs: performance.now() - started,
              wishMs: outcome instanceof ClusterFailure ? null : retryAfterMs(outcome, Date.now()),
              random: this.#random(),
            })
          : null;
      if (wait === null) {
        if (outcome instanceof ClusterFailure) throw this.#dated(outcome);
        return outcome;
      }
      this.#counter.recordRetry(call);
      this.onWait?.(`${describeOutcome(outcome, call)} It is tried again in ${Math.round(wait)} ms.`);
      await delay(wait, undefined, { signal: call.signal }).catch(() => {
        throw cancelled(call);
      });
    }
  }

  /** With since when the server is away, which whoever reads it while it is tried again wants to know. */
  #dated(failure: ClusterFailure): ClusterFailure {
    const { kind, message, cause, status } = failure;
    const since = this.outages.awaySince();
    if (since === null || (kind !== 'unreachable' && kind !== 'timeout')) return failure;
    const dated = `${message} It has been away since ${new Date(since).toISOString()}.`;
    return new ClusterFailure(kind, dated, { cause, ...(status === undefined ? {} : { status }) });
  }

  /**
   * One try, and another one where the answer is that a right is missing: what is said of rights counts only from a
   * server that has read its roles before. Otherwise it is a failure that may pass.
   */
  async #tryOnce(call: Call): Promise<ApiAnswer> {
    const answer = await this.#try(call);
    if (!isMissingRight(answer)) return answer;
    if (!(await this.#hasReadRoles(call.signal))) throw unreadRight(call);
    // It may have read them between that answer and this.
    return this.#try(call);
  }

  /**
   * Whether the API server knows by now who may do what. A ready one does; one that has just begun answers 403 to that
   * question, too, and so does for ever a cluster that keeps it from its users: there only a seen outage tells.
   */
  async #hasReadRoles(signal: AbortSignal): Promise<boolean> {
    for (let tries = 1; ; tries += 1) {
      if (this.outages.isJustBack()) return false;
      if (this.#keepsReadiness) return true;
      const status = await this.#readiness(signal);
      if (status === 200 || status === 404) return true;
      if (status !== 403) return false;
      const wait = nextDelayMs(this.#retry, { tries, elapsedMs: 0, wishMs: null, random: 1 });
      if (wait === null) {
        this.#keepsReadiness = true;
        return true;
      }
      await delay(wait, undefined, { signal }).catch(() => {
        throw cancelled(READYZ);
      });
    }
  }

  /** The status of the server's answer whether it is ready; null for none. */
  async #readiness(signal: AbortSignal): Promise<number | null> {
    try {
      const { readyzMs } = CLUSTER_DEFAULTS;
      const how = { timeoutMs: readyzMs, repeatable: true, plain: true };
      return (await this.#try({ ...READYZ, ...how, method: 'GET', path: '/readyz', signal })).status;
    } catch (error) {
      if (!(error instanceof ClusterFailure) || error.kind === 'cancelled') throw error;
      return null;
    }
  }

  /** One try; any whole answer of the API server is one. */
  async #try(call: Call): Promise<ApiAnswer> {
    const { method, path, query = {}, body, headers, timeoutMs, repeatable, signal } = call;
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, value);
    const request: ApiRequest = {
      method,
      path: search.size === 0 ? path : `${path}?${search.toString()}`,
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body: { type: body.type, text: JSON.stringify(body.json) } }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      repeatable,
      signal,
    };
    const count = this.#counting(call);
    try {
      const answer = await this.#http.send(request);
      count(String(answer.status));
      // A success that is no JSON is a proxy's page or a cut answer: as good as none.
      if (answer.status < 300 && answer.json === undefined && call.plain !== true) {
        throw new ClusterFailure(
          'unreachable',
          `The API server answered ${call.verb} ${call.resource} with something that is not complete JSON.`,
          { status: answer.status },
        );
      }
      return answer;
    } catch (error) {
      if (!(error instanceof ApiHttpFailure)) throw error;
      count(error.kind);
      throw failureOfHttp(error, call, this.#url);
    }
  }

  /** Counts a try that begins now, by how it ends. */
  #counting({ verb, resource }: Doing): (status: string) => void {
    const began = performance.now();
    const begun = this.outages.now();
    return (status) => {
      this.#counter.record({ verb, resource, status, seconds: (performance.now() - began) / 1000 });
      // What comes through the proxy may be the pods' own word.
      if (resource === 'services/proxy' || UNTELLING.has(status)) return;
      if (status === 'unreachable' || status === 'timeout' || status.startsWith('5')) this.outages.failed(begun);
      else this.outages.answered();
    };
  }
}

const READYZ: Doing = { verb: 'get', resource: 'readyz', namespace: undefined, what: 'its readiness' };

/** The server turned it away before it looked at it: that may happen twice, whatever it is. */
function wasNotCarriedOut({ status }: ApiAnswer | ClusterFailure): boolean {
  return status === 403 || status === 429;
}

/** Ends of a try that say nothing of whether the API server is there. */
const UNTELLING: ReadonlySet<string> = new Set(['cancelled', 'credentials', 'tooLarge']);

/** The field selector by which RBAC grants a list or a watch of one object to those who may by its name alone. */
function nameSelector({ name }: ObjectRef): string {
  return `metadata.name=${name.replace(/[\\,=]/g, '\\$&')}`;
}

function kindOf({ apiVersion, kind }: ObjectRef): Json {
  return { apiVersion, kind };
}

function toWatchEvent(event: unknown, ref: ObjectRef): WatchEvent {
  const { type, object } = (typeof event === 'object' && event !== null ? event : {}) as Json;
  if (type === 'BOOKMARK') return { type };
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return { type: 'ERROR' };
  const { name } = ((object as Json | undefined)?.['metadata'] ?? {}) as Json;
  if (name !== ref.name) return { type: 'ERROR' };
  return { type, object: { ...kindOf(ref), ...(object as Json) } as KubernetesObject };
}

function failureOfHttp(error: ApiHttpFailure, call: Doing, url: string): ClusterFailure {
  const doing = `${call.verb} ${call.resource}`;
  const server = `The API server at ${url}`;
  switch (error.kind) {
    case 'cancelled':
      return cancelled(call);
    case 'timeout':
      return new ClusterFailure('timeout', `${server} ${error.message} (${doing}, ${call.what}).`);
    case 'tooLarge':
      return new ClusterFailure('invalid', `The API server ${error.message} (${doing}, ${call.what}).`);
    case 'credentials':
      return new ClusterFailure('unauthorized', `The API server ${error.message}.`);
    case 'unreachable':
      return new ClusterFailure('unreachable', `${server} ${error.message} (${doing}, ${call.what}).`, {
        cause: error.cause,
      });
  }
}

function cancelled(call: Doing): ClusterFailure {
  return new ClusterFailure('cancelled', `The request was cancelled (${call.verb} ${call.resource}, ${call.what}).`);
}

function describeOutcome(outcome: ApiAnswer | ClusterFailure, call: Call): string {
  return (outcome instanceof ClusterFailure ? outcome : failureOfAnswer(outcome, call)).message;
}

function toClusterFailure(error: unknown): ClusterFailure {
  if (error instanceof ClusterFailure) return error;
  throw error;
}

/** What the server has of its own to find kinds by. */
type Lists = 'groups' | 'resources';

function expectSuccess(answer: ApiAnswer, call: Call): Json {
  if (answer.status < 200 || answer.status > 299) throw failureOfAnswer(answer, call);
  if (typeof answer.json !== 'object' || answer.json === null) throw notAnObject(call.what);
  return answer.json as Json;
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

function toObject(json: Json, expected: ObjectRef): KubernetesObject {
  const metadata = json['metadata'];
  const named = typeof metadata === 'object' && metadata !== null && 'name' in metadata;
  if (!named || typeof json['apiVersion'] !== 'string' || typeof json['kind'] !== 'string') {
    throw notAnObject(describeRef(expected));
  }
  return json as KubernetesObject;
}

function describeList(lists: Lists, path: string): string {
  return `the list of ${lists} at ${path}`;
}

function notListed(lists: Lists, path: string): ClusterFailure {
  return new ClusterFailure('unreachable', `The API server does not answer with ${describeList(lists, path)} (404).`, {
    status: 404,
  });
}

function notAnObject(what: string): ClusterFailure {
  return new ClusterFailure('unreachable', `The API server answered something else than ${what}.`);
}

function bodyOfPatch(patch: Patch): { type: string; json: unknown } {
  const { resourceVersion } = patch;
  if (patch.type === 'merge') {
    if (resourceVersion === undefined) return { type: BODY.merge, json: patch.patch };
    const metadata = patch.patch['metadata'];
    const named = typeof metadata === 'object' && metadata !== null ? metadata : {};
    return { type: BODY.merge, json: { ...patch.patch, metadata: { ...named, resourceVersion } } };
  }
  // Not as a `test`: a failed one is answered as an invalid patch, another version as the conflict that it is.
  const lock: readonly JsonPatchOperation[] =
    resourceVersion === undefined ? [] : [{ op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion }];
  return { type: BODY.jsonPatch, json: [...lock, ...patch.operations] };
}
