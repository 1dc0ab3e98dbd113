/** One kind of request, in the words of Kubernetes' permissions. Names and namespaces are no labels: they would grow without end. */
export interface RequestKind {
  /** get, list, watch (its opening), create, patch, delete. */
  readonly verb: string;
  /** `deployments.apps`, `services/proxy`. */
  readonly resource: string;
}

/** How often a request was tried and how that ended. */
export interface RequestCount extends RequestKind {
  /** The HTTP status, or why there was none: `unreachable`, `timeout`, `cancelled`. */
  readonly status: string;
  /** Tries since the start; a repeated request counts each time. */
  readonly count: number;
}

/** How often a request was tried again, after an answer that may pass. */
export interface RetryCount extends RequestKind {
  readonly count: number;
}

/** How long tries took, however they ended. */
export interface RequestDurations extends RequestKind {
  /** Of each of `DURATION_BOUNDS`, the tries that took as long or less: cumulative, as Prometheus wants them. */
  readonly within: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
}

/** Upper bounds in seconds: from a read in the same network to the client's own timeout. */
export const DURATION_BOUNDS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Counts requests for metrics; one may be shared by all clusters of a process. */
export class RequestCounter {
  readonly #counts = new Map<string, RequestCount>();
  readonly #retries = new Map<string, RetryCount>();
  readonly #durations = new Map<string, RequestDurations>();
  #openWatches = 0;

  /** One try. */
  record(request: RequestKind & { readonly status: string; readonly seconds: number }): void {
    const { verb, resource, status, seconds } = request;
    const key = `${verb} ${resource} ${status}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { verb, resource, status, count });
    const kind = `${verb} ${resource}`;
    const before = this.#durations.get(kind);
    this.#durations.set(kind, {
      verb,
      resource,
      within: DURATION_BOUNDS.map((bound, index) => (before?.within[index] ?? 0) + (seconds <= bound ? 1 : 0)),
      count: (before?.count ?? 0) + 1,
      sumSeconds: (before?.sumSeconds ?? 0) + seconds,
    });
  }

  /** Another try follows. */
  recordRetry({ verb, resource }: RequestKind): void {
    const key = `${verb} ${resource}`;
    this.#retries.set(key, { verb, resource, count: (this.#retries.get(key)?.count ?? 0) + 1 });
  }

  watchOpened(): void {
    this.#openWatches += 1;
  }

  watchClosed(): void {
    this.#openWatches -= 1;
  }

  /** Watches that are open now. */
  openWatches(): number {
    return this.#openWatches;
  }

  /** All counts, in the order in which they first occurred. */
  snapshot(): readonly RequestCount[] {
    return [...this.#counts.values()];
  }

  retries(): readonly RetryCount[] {
    return [...this.#retries.values()];
  }

  durations(): readonly RequestDurations[] {
    return [...this.#durations.values()];
  }
}
