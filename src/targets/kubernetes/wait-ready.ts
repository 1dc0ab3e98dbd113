import { setTimeout as delay } from 'node:timers/promises';
import { TargetFailure } from '../target';
import type { Cluster } from './cluster';
import { ClusterFailure, shorten } from './cluster-failure';
import { READY_DEFAULTS } from './defaults';
import { readDeployment } from './deployment-view';
import type { DeploymentCondition, DeploymentView } from './deployment-view';
import { FAULT_GRACES, findPodFaults } from './pod-faults';
import type { FaultGraces, PodFault } from './pod-faults';
import { readNodeNews } from './node-news';
import type { NodeNews, NodeNewsOfPods } from './node-news';
import type { KubernetesObject, ObjectRef } from './objects';
import { isUnschedulable, newestReplicaSet, notScheduled, podsOf, readEvents, TEMPLATE_HASH } from './pod-view';
import type { PodView, ReplicaSetView } from './pod-view';
import { NO_PULLS, notePulls } from './pull-history';
import { readinessOf } from './readiness';
import type { Readiness } from './readiness';

export interface WaitReadyOptions {
  /** Available pods of the newest version. */
  readonly needed: number;
  /** All asked-for pods must be of the newest version, and the older ones gone. */
  readonly complete: boolean;
  /** Where an autoscaler asks for fewer meanwhile, these are enough. */
  readonly mayShrink?: boolean;
  /** For the whole wait, milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** It was changed just now: its controller has not seen that yet, and the first look is a moment later. */
  readonly justChanged?: boolean;
  /** Throws a TargetFailure where it is no longer what is waited for; that ends the wait. */
  readonly refuse?: (view: DeploymentView) => void;
  /** Longest time between two looks, milliseconds; the first ones are denser. */
  readonly pollMs?: number;
  readonly graces?: FaultGraces;
  /** Milliseconds since 1970, compared with the cluster's own times. */
  readonly now?: () => number;
}

/**
 * Waits until a Deployment's newest version is ready, and answers the Deployment as it was then. What waiting does not
 * mend ends it at once.
 *
 * @throws TargetFailure `deployFailed` with the pods' own words; `invalidTarget` for what cannot be released (a paused
 * Deployment). ClusterFailure for everything but an API server that is away: that is waited for, too.
 */
export async function waitUntilReady(
  cluster: Cluster,
  at: { readonly namespace: string; readonly name: string },
  options: WaitReadyOptions,
): Promise<DeploymentView> {
  const { timeoutMs, signal, pollMs = READY_DEFAULTS.pollMs } = options;
  const started = performance.now();
  const elapsed = (): number => performance.now() - started;
  const deadline = AbortSignal.timeout(timeoutMs);
  const watch = new ReadyWatch(cluster, at, options, AbortSignal.any([signal, deadline]));
  const changes = new Changes(cluster, refOf(at));
  let wait: number = Math.min(READY_DEFAULTS.firstPollMs, pollMs);
  let lookNow = options.justChanged !== true;
  let told: 'nothing' | 'pods' | 'away' = 'nothing';
  try {
    for (;;) {
      try {
        const ready = lookNow ? await watch.look(elapsed()) : null;
        if (ready !== null) return ready;
        const waitsFor = watch.away === null ? 'pods' : 'away';
        if (told !== waitsFor) {
          cluster.onWait?.(
            [...(watch.away === null ? [] : [watch.away]), describeWait(watch.shown, options)].join(' '),
          );
        }
        told = waitsFor;
        lookNow = true;
        await changes.next(Math.min(wait, Math.max(0, timeoutMs - elapsed())), signal);
      } catch (error) {
        if (signal.aborted) throw new ClusterFailure('cancelled', `Waiting for ${watch.shown} was cancelled.`);
        // What the deadline broke off ends below, in the words of the last whole look.
        if (!(deadline.aborted && error instanceof ClusterFailure && error.kind === 'cancelled')) throw error;
      }
      if (deadline.aborted || elapsed() >= timeoutMs) return await watch.timedOut(signal);
      wait = Math.min(pollMs, wait * READY_DEFAULTS.pollGrowth);
    }
  } finally {
    changes.close();
    if (told !== 'nothing') cluster.onWaited?.();
  }
}

/** Whoever waits for so long is bounded by somebody else, who has given up before. */
const UNBOUNDED_MS = 3_600_000;

/** `Waiting up to 30 s`, as a sentence begins. */
export function waiting(timeoutMs: number): string {
  return timeoutMs >= UNBOUNDED_MS ? 'Waiting' : `Waiting up to ${Math.ceil(timeoutMs / 1000)} s`;
}

function describeWait(shown: string, { needed, complete, timeoutMs }: WaitReadyOptions): string {
  const pods = needed === 1 ? '1 available pod' : `${needed} available pods`;
  const older = complete ? ' of its newest version and no older ones' : '';
  return `${waiting(timeoutMs)} until ${shown} has ${pods}${older}.`;
}

/** When the next look is due: where a watch would tell of a change, at that; and in any case after a while. */
class Changes {
  readonly #stop: (() => void) | undefined;
  #changed = false;
  #wake: () => void = () => undefined;

  constructor(cluster: Cluster, ref: ObjectRef) {
    this.#stop = cluster.watching?.onChange(ref, () => {
      this.#changed = true;
      this.#wake();
    });
  }

  /** At the latest after `ms`; rejects when cancelled. */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    if (this.#changed) woken.abort();
    try {
      await delay(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) });
    } catch (error) {
      if (signal.aborted || !woken.signal.aborted) throw error;
    }
    this.#changed = false;
  }

  close(): void {
    this.#stop?.();
  }
}

function refOf({ namespace, name }: { readonly namespace: string; readonly name: string }): ObjectRef {
  return { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name };
}

/**
 * One look: the Deployment when it has what it needs, null when it does not have it (yet), or when the API server is
 * away.
 *
 * @throws TargetFailure as `waitUntilReady` does, for what waiting does not mend.
 */
export function lookIfReady(
  cluster: Cluster,
  at: { readonly namespace: string; readonly name: string },
  options: { readonly needed: number; readonly signal: AbortSignal },
): Promise<DeploymentView | null> {
  const once = { ...options, complete: false, timeoutMs: 0 };
  return new ReadyWatch(cluster, at, once, options.signal).look(Number.POSITIVE_INFINITY, { fresh: true });
}

/**
 * Whether a Deployment that a watch calls ready is so by the server's own word, in this operation: a line that was cut
 * without a word tells of pods for some seconds that may be gone, and users are sent to none of those.
 */
export async function isReadyNow(
  cluster: Cluster,
  at: { readonly namespace: string; readonly name: string },
  { needed, signal }: { readonly needed: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const object = await cluster.find({ apiVersion: 'apps/v1', kind: 'Deployment', ...at }, { signal, asked: true });
  return object !== null && readinessOf(readDeployment(object), needed).kind === 'ready';
}

/** What one wait has seen so far. */
class ReadyWatch {
  readonly shown: string;
  readonly #cluster: Cluster;
  readonly #at: { readonly namespace: string; readonly name: string };
  readonly #options: WaitReadyOptions;
  readonly #signal: AbortSignal;
  readonly #now: () => number;
  #replicaSet: { readonly view: ReplicaSetView; readonly generation: number } | null = null;
  #pulls = NO_PULLS;
  #podsLookedAtMs = Number.NEGATIVE_INFINITY;
  /** The controller's word that stood before this wait; null for none, undefined before the first look. */
  #oldDeadline: DeploymentCondition | null | undefined = undefined;
  #last: { readonly view: DeploymentView; readonly sentence: string } | null = null;
  #faults: readonly PodFault[] = [];
  #away: ClusterFailure | null = null;
  #olderGo = false;

  constructor(
    cluster: Cluster,
    at: { readonly namespace: string; readonly name: string },
    options: WaitReadyOptions,
    signal: AbortSignal,
  ) {
    this.#cluster = cluster;
    this.#at = at;
    this.#options = options;
    this.#signal = signal;
    this.#now = options.now ?? Date.now;
    this.shown = `Deployment ${at.namespace}/${at.name}`;
  }

  /** Why the API server could not be asked at the last look; null where it could. */
  get away(): string | null {
    return this.#away?.message ?? null;
  }

  /** The Deployment when it is ready; null when it is not, or when the API server is away. */
  async look(elapsedMs: number, { fresh = false } = {}): Promise<DeploymentView | null> {
    try {
      const found = await this.#lookSurely(elapsedMs, fresh);
      this.#away = null;
      return found;
    } catch (error) {
      if (!(error instanceof ClusterFailure) || (error.kind !== 'unreachable' && error.kind !== 'timeout')) throw error;
      this.#away = error;
      return null;
    }
  }

  /**
   * When the time is up: why it is not ready, with one last look at what was told about its pods. Where a watch has told
   * the rest, that look is at the Deployment, too; then it may be ready after all.
   *
   * @throws TargetFailure `deployFailed`.
   */
  async timedOut(signal: AbortSignal): Promise<DeploymentView> {
    if (this.#cluster.watching !== undefined && this.#away === null) {
      const last = AbortSignal.any([signal, AbortSignal.timeout(READY_DEFAULTS.lastLookMs)]);
      try {
        const view = readDeployment(await this.#cluster.get(refOf(this.#at), { signal: last }));
        this.#options.refuse?.(view);
        const { kind, sentence } = this.#readinessOf(view);
        if (kind === 'ready') return view;
        this.#last = { view, sentence };
      } catch (error) {
        if (!(error instanceof ClusterFailure)) throw error;
        // The time is up all the same; what was seen before is told.
      }
    }
    throw await this.#whyNot(signal);
  }

  async #whyNot(signal: AbortSignal): Promise<TargetFailure> {
    const within = `Not ready within ${describeMs(this.#options.timeoutMs)}: `;
    if (this.#away !== null || this.#last === null) {
      const seen = this.#last === null ? `${this.shown} was not seen at all.` : this.#last.sentence;
      return failed(`${within}${seen} ${this.#away?.message ?? 'The API server did not answer.'}`);
    }
    const { view, sentence } = this.#last;
    try {
      await this.#lookAtPods(view, AbortSignal.any([signal, AbortSignal.timeout(READY_DEFAULTS.lastLookMs)]));
    } catch (error) {
      if (!(error instanceof ClusterFailure)) throw error;
      // The time is up all the same; what was seen before is told.
    }
    const [worst] = this.#faults;
    const heard = worst === undefined || worst.pod === null ? '' : await this.#heardOf(worst.pod, signal);
    return failed(`${within}${sentence}${this.#words()}${heard}`);
  }

  /** The last warning about a pod: a probe's answer, a volume that is missing. Empty without the right to read Events. */
  async #heardOf(pod: string, signal: AbortSignal): Promise<string> {
    const last = AbortSignal.any([signal, AbortSignal.timeout(READY_DEFAULTS.lastLookMs)]);
    try {
      const warning = readEvents(await this.#eventsOf(pod, last, 'type=Warning')).at(-1);
      return warning === undefined ? '' : ` Last warning about it (${warning.reason}): ${shorten(warning.message)}.`;
    } catch (error) {
      if (!(error instanceof ClusterFailure)) throw error;
      return ''; // the release fails all the same; this would only have said more
    }
  }

  /** That it is ready may be what a watch has told; a failure is the server's own word. */
  async #lookSurely(elapsedMs: number, fresh: boolean): Promise<DeploymentView | null> {
    const signal = this.#signal;
    if (this.#cluster.watching !== undefined && !fresh) {
      const podsLookedAtMs = this.#podsLookedAtMs;
      try {
        const told = await this.#cluster.find(refOf(this.#at), { signal, anew: true });
        if (told !== null) return await this.#lookOnce(readDeployment(told), elapsedMs);
      } catch (error) {
        if (!(error instanceof TargetFailure)) throw error;
        // The pods are looked at again, too.
        this.#podsLookedAtMs = podsLookedAtMs;
      }
    }
    return this.#lookOnce(readDeployment(await this.#cluster.get(refOf(this.#at), { signal })), elapsedMs);
  }

  #readinessOf(view: DeploymentView): Readiness {
    const { needed, complete, mayShrink = false } = this.#options;
    const asked = mayShrink && view.replicas > 0 ? Math.min(needed, view.replicas) : needed;
    return readinessOf(view, asked, { complete });
  }

  async #lookOnce(view: DeploymentView, elapsedMs: number): Promise<DeploymentView | null> {
    this.#options.refuse?.(view);
    const readiness = this.#readinessOf(view);
    this.#last = { view, sentence: readiness.sentence };
    this.#olderGo ||= view.totalReplicas > view.updatedReplicas;
    const stale = readiness.kind === 'deadline' && this.#stoodBefore(readiness.condition, elapsedMs);
    if (this.#oldDeadline === undefined) {
      this.#oldDeadline = readiness.kind === 'deadline' ? readiness.condition : null;
    }
    if (readiness.kind === 'ready') return view;
    if (readiness.kind === 'paused') throw new TargetFailure('invalidTarget', readiness.sentence);
    const exceeded = readiness.kind === 'deadline' && !stale;
    if (exceeded || this.#podsAreDue(elapsedMs)) {
      this.#podsLookedAtMs = elapsedMs;
      await this.#lookAtPods(view, this.#signal);
      if (exceeded) throw failed(`${readiness.sentence}${this.#words()}`);
    }
    return null;
  }

  /**
   * A Deployment that gave up on a version before keeps saying so for a moment after it was given work again: what stood
   * at the first look counts only when it goes on standing.
   */
  #stoodBefore(condition: DeploymentCondition, elapsedMs: number): boolean {
    const known = this.#oldDeadline === undefined ? condition : this.#oldDeadline;
    return known?.lastUpdateTime === condition.lastUpdateTime && elapsedMs < READY_DEFAULTS.staleDeadlineMs;
  }

  #podsAreDue(elapsedMs: number): boolean {
    return elapsedMs >= READY_DEFAULTS.firstPodsMs && elapsedMs - this.#podsLookedAtMs >= READY_DEFAULTS.betweenPodsMs;
  }

  /** @throws TargetFailure `deployFailed` for a fault that waiting does not mend. */
  async #lookAtPods(deployment: DeploymentView, signal: AbortSignal): Promise<void> {
    const replicaSet = await this.#newestReplicaSet(deployment, signal);
    const selection = { ...deployment.selector, [TEMPLATE_HASH]: replicaSet?.templateHash ?? '' };
    const pods =
      replicaSet === null
        ? []
        : podsOf(await this.#list('v1', 'Pod', { signal, labelSelector: selectorOf(selection) }), replicaSet);
    this.#pulls = notePulls(this.#pulls, pods);
    const nodeNews = await this.#nodeNewsOf(pods, signal);
    const [pulls, olderGo, now] = [this.#pulls, this.#olderGo, this.#now()];
    const look = { deployment, replicaSet, pods, pulls, nodeNews, olderGo, now };
    this.#faults = findPodFaults(look, this.#options.graces ?? FAULT_GRACES);
    const [worst] = this.#faults;
    if (worst?.lasting === true) throw failed(`${this.shown} does not come up. ${worst.sentence}`);
  }

  /** Asked only about pods that the scheduler found no node for: every other look at pods takes no request for it. */
  async #nodeNewsOf(pods: readonly PodView[], signal: AbortSignal): Promise<NodeNewsOfPods> {
    const waiting = pods.filter((pod) => isUnschedulable(notScheduled(pod))).slice(0, READY_DEFAULTS.podsAskedAbout);
    return new Map(
      await Promise.all(waiting.map(async ({ name }) => [name, await this.#nodeNews(name, signal)] as const)),
    );
  }

  async #nodeNews(pod: string, signal: AbortSignal): Promise<NodeNews> {
    try {
      return readNodeNews(await this.#eventsOf(pod, signal));
    } catch (error) {
      // A Role that lacks the right is nothing against the version: it is judged as if nobody had said anything.
      if (error instanceof ClusterFailure && error.kind === 'forbidden') return 'unread';
      throw error;
    }
  }

  #eventsOf(pod: string, signal: AbortSignal, ...more: readonly string[]): Promise<readonly KubernetesObject[]> {
    const fields = ['involvedObject.kind=Pod', `involvedObject.name=${pod}`, ...more];
    return this.#list('v1', 'Event', { signal, fieldSelector: fields.join(',') });
  }

  /** Asked for once a generation; again while its controller says that it cannot make pods. */
  async #newestReplicaSet(deployment: DeploymentView, signal: AbortSignal): Promise<ReplicaSetView | null> {
    // Until its controller has seen the newest template, the newest ReplicaSet is an older template's.
    if (deployment.observedGeneration < deployment.generation) return null;
    const failing = deployment.conditions.some(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
    const known = this.#replicaSet;
    // A ReplicaSet that failed when it was looked at does so no longer.
    if (known?.generation === deployment.generation && !failing) return { ...known.view, conditions: [] };
    const labelSelector = selectorOf(deployment.selector);
    const view = newestReplicaSet(await this.#list('apps/v1', 'ReplicaSet', { signal, labelSelector }), deployment.uid);
    this.#replicaSet = view === null ? null : { view, generation: deployment.generation };
    return view;
  }

  #list(apiVersion: string, kind: string, options: Parameters<Cluster['list']>[1]): ReturnType<Cluster['list']> {
    return this.#cluster.list({ apiVersion, kind, namespace: this.#at.namespace }, options);
  }

  #words(): string {
    const [worst] = this.#faults;
    return worst === undefined ? '' : ` ${worst.sentence}`;
  }
}

function failed(message: string): TargetFailure {
  return new TargetFailure('deployFailed', message);
}

function selectorOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

function describeMs(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}
