/** How often a request was tried and how that ended. */
export interface RequestCount {
  /** In the words of Kubernetes' permissions: get, list, create, patch, delete. */
  readonly verb: string;
  /** `deployments.apps`, `services/proxy`. */
  readonly resource: string;
  /** The HTTP status, or why there was none: `unreachable`, `timeout`, `cancelled`. */
  readonly status: string;
  /** Tries since the start; a repeated request counts each time. */
  readonly count: number;
}

/** Counts requests for metrics; one may be shared by all clusters of a process. Names and namespaces are no labels. */
export class RequestCounter {
  readonly #counts = new Map<string, RequestCount>();

  record(request: { readonly verb: string; readonly resource: string; readonly status: string }): void {
    const { verb, resource, status } = request;
    const key = `${verb} ${resource} ${status}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { verb, resource, status, count });
  }

  /** All counts, in the order in which they first occurred. */
  snapshot(): readonly RequestCount[] {
    return [...this.#counts.values()];
  }
}
