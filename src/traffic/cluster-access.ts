/** Which object: any kind, by its names. */
export interface TrafficObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/** An object as the API server sends it. */
export interface TrafficObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: TrafficObjectMetadata;
  readonly [field: string]: unknown;
}

export interface TrafficObjectMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** One operation of RFC 6902. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/**
 * As much of a Kubernetes cluster as routing needs; `src/targets/kubernetes` has the real one. A write that the server
 * refuses because the object has another resourceVersion, or is there already, throws an error whose `kind` is
 * `conflict` or `alreadyExists`, and a kind that the cluster does not know one whose
 * `kind` is `notFound`, and only where the server's list of its kinds says so, since then nothing is left to be taken back;
 * every other error passes through this room as it is.
 */
export interface TrafficCluster {
  /** Who our writes belong to in `metadata.managedFields`. */
  readonly fieldManager: string;
  /**
   * null for an object that does not exist. What was read or written a moment ago may be answered again, and what a watch
   * has told: a write on it still lands only where the server has the same resourceVersion. See `Newness` for who needs more.
   */
  find(ref: TrafficObjectRef, options: { readonly signal: AbortSignal } & Newness): Promise<TrafficObject | null>;
  /** All of a kind in a namespace; left out where nobody can be asked. */
  list?(
    of: { readonly apiVersion: string; readonly kind: string; readonly namespace: string },
    options: { readonly signal: AbortSignal },
  ): Promise<readonly TrafficObject[]>;
  create(object: TrafficObject, options: { readonly signal: AbortSignal }): Promise<TrafficObject>;
  /** Lands only on the given resourceVersion. */
  patch(
    ref: TrafficObjectRef,
    patch: { readonly type: 'json'; readonly operations: readonly PatchOperation[]; readonly resourceVersion: string },
    options: { readonly signal: AbortSignal },
  ): Promise<TrafficObject>;
  /** False when there was nothing to delete. */
  delete(
    ref: TrafficObjectRef,
    options: { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): Promise<boolean>;
}

/** How new what is read must be. */
export interface Newness {
  /** The server's own word, asked for now. */
  readonly fresh?: boolean;
  /** The server's own word, asked for by this very operation: for who does nothing because of it. */
  readonly asked?: boolean;
  /** Not what this operation remembers: for who waits until it changes. A watch may answer. */
  readonly anew?: boolean;
}

/** True for the failure of a `find` that the cluster does not know the kind: its definition is not installed. */
export function isUnknownKind(error: unknown): boolean {
  return error instanceof Error && 'kind' in error && error.kind === 'notFound';
}

/** True for a write that somebody else's was faster than: to be looked at again, and tried again. */
export function wasOvertaken(error: unknown): boolean {
  const kind: unknown = error instanceof Error && 'kind' in error ? error.kind : null;
  return kind === 'conflict' || kind === 'alreadyExists';
}

/** An object as people read it: `HTTPRoute shop/checkout`. */
export function describeObject(ref: TrafficObjectRef): string {
  return `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name}`;
}
