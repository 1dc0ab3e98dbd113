/** Which object: any kind, by its names. `namespace` is left out for what has none, such as a Namespace. */
export interface ObjectRef {
  /** `v1` or `group/version`. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/** Which objects: all of a kind, in one namespace or (left out) in all. */
export type CollectionRef = Omit<ObjectRef, 'name'>;

export interface ObjectMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** The optimistic lock: grows with each change of the object, and is opaque. */
  readonly resourceVersion?: string;
  /** Grows with each change of the spec. */
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Set while the object is being deleted. */
  readonly deletionTimestamp?: string;
  readonly [field: string]: unknown;
}

/** An object as the API server sends it; what lies beside the metadata is for the reader to parse. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMetadata;
  readonly [field: string]: unknown;
}

/** One operation of RFC 6902. */
export type JsonPatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** An object as people read it: `Deployment shop/checkout`. */
export function describeRef(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name}`;
}

export function refOf(object: KubernetesObject): ObjectRef {
  const { name, namespace } = object.metadata;
  const { apiVersion, kind } = object;
  return { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
}
