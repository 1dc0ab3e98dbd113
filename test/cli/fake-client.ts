import type {
  DeployOptions,
  DeployResult,
  ListOptions,
  ReleaseSummary,
  ServiceRef,
  SluiceClient,
  WatchOptions,
  WorkerInfo,
} from '../../src/client/client-types';
import { ReleaseError } from '../../src/errors';
import type { Plan } from '../../src/spec/plan-types';
import type {
  ApproveMessage,
  MessageAck,
  MessageBase,
  QueueStatus,
  ReleaseEvent,
  ReleaseStatus,
  RollbackMessage,
  SetWeightMessage,
  WaitingRelease,
} from '../../src/workflows/api';
import { aStatus, aStep, START } from './statuses';

/** A message as it reached the release. */
export interface Sent {
  readonly name: string;
  readonly ref: ServiceRef;
  readonly message: MessageBase & Partial<ApproveMessage & SetWeightMessage & RollbackMessage>;
}

/**
 * Sluice's client without Temporal: releases in memory that keep the client's promises (what is refused and with which
 * code, what a watch yields). Time and evidence are the test's: `update` is what a worker would have done.
 */
export class FakeSluice implements SluiceClient {
  readonly where = '127.0.0.1:1, namespace default';
  readonly sent: Sent[] = [];
  readonly plans: Plan[] = [];
  pollers: WorkerInfo[] = [{ identity: 'worker-1', lastSeen: START }];
  stranger = false;
  missing: readonly string[] | null = [];
  closed = false;
  readonly #releases: ReleaseStatus[] = [];
  readonly #waiting = new Map<string, WaitingRelease[]>();
  readonly #starts = new Map<string, DeployResult>();
  #changed = nextChange();

  constructor(...releases: ReleaseStatus[]) {
    this.#releases.push(...releases);
  }

  /** What a worker would have done; whoever watches sees it. */
  update(release: string, change: Partial<ReleaseStatus>, event?: Partial<ReleaseEvent>): void {
    const index = this.#releases.findIndex((each) => each.release === release);
    const before = this.#releases[index];
    if (before === undefined) throw new Error(`there is no release ${release}`);
    const seq = (before.events.at(-1)?.seq ?? 0) + 1;
    const events =
      event === undefined
        ? before.events
        : [
            ...before.events,
            {
              seq,
              at: START + seq * 1000,
              type: 'weightChanged' as const,
              message: 'The weight changed.',
              actor: { name: 'sluice', via: 'workflow' as const },
              weight: change.weight ?? before.weight,
              ...event,
            },
          ];
    this.#releases[index] = { ...before, ...change, events };
    this.#changed.resolve();
    this.#changed = nextChange();
  }

  get newest(): ReleaseStatus {
    const last = this.#releases.at(-1);
    if (last === undefined) throw new Error('there is no release');
    return last;
  }

  async deploy(plan: Plan, options: DeployOptions): Promise<DeployResult> {
    const { startKey } = options;
    const earlier = startKey === undefined ? undefined : this.#starts.get(startKey);
    if (earlier !== undefined) return { ...earlier, repeated: true };
    const result = await this.#deploy(plan, options);
    if (startKey !== undefined) this.#starts.set(startKey, result);
    return result;
  }

  #deploy(plan: Plan, options: DeployOptions): Promise<DeployResult> {
    this.plans.push(plan);
    const running = this.#releases.findLast((each) => nameOf(each) === nameOf(plan) && each.outcome === null);
    const release = `${plan.service}-${String(this.plans.length).padStart(4, '0')}`;
    const workflowId = `release:${nameOf(plan)}`;
    if (running !== undefined) {
      const policy = options.onConflict ?? plan.onConflict;
      if (policy === 'reject') {
        return refuse('conflict', `Release ${running.release} of ${nameOf(plan)} is in progress.`);
      }
      const waiting = this.#waiting.get(nameOf(plan)) ?? [];
      this.#waiting.set(nameOf(plan), [
        ...waiting,
        { release, version: plan.version, supersede: policy === 'supersede', since: START, by: options.actor },
      ]);
      return Promise.resolve({ release, workflowId, state: 'queued', behind: running.release });
    }
    this.begin(plan, release, options);
    return Promise.resolve({ release, workflowId, state: 'started', behind: null });
  }

  /** Starts a release, also one that waited. */
  begin(plan: Plan, release: string, options: DeployOptions): void {
    const waiting = this.#waiting.get(nameOf(plan)) ?? [];
    this.#waiting.set(
      nameOf(plan),
      waiting.filter((each) => each.release !== release),
    );
    this.#releases.push(
      aStatus({
        release,
        service: plan.service,
        namespace: plan.namespace,
        version: { from: null, to: plan.version, artifact: null },
        phase: 'starting',
        message: 'The release starts.',
        weight: 0,
        observedShare: null,
        step: 0,
        steps: plan.steps.map(({ name, kind }) => aStep(name, { kind })),
        soak: null,
        measurements: [],
        startedBy: options.actor,
        reason: options.reason ?? null,
        simulated: plan.analysis.source.kind === 'simulated',
      }),
    );
    this.#changed.resolve();
    this.#changed = nextChange();
  }

  status(ref: ServiceRef): Promise<ReleaseStatus> {
    const found = this.#find(ref);
    if (found === undefined && this.#waits(ref)) return refuse('queued', `Release ${ref.release} waits.`);
    return found === undefined ? refuse('not-found', `There is no release of ${nameOf(ref)}.`) : Promise.resolve(found);
  }

  /** Of the last one that was deployed here; a release that the test began with has none. */
  lastPlan(ref: ServiceRef): Promise<Plan | null> {
    return Promise.resolve(this.plans.findLast((plan) => nameOf(plan) === nameOf(ref)) ?? null);
  }

  async *watch(ref: ServiceRef, { signal }: WatchOptions = {}): AsyncIterable<ReleaseStatus> {
    let shown: ReleaseStatus | null = null;
    const aborted = new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
    while (signal?.aborted !== true) {
      // Taken before the look, so that no change between look and wait is missed.
      const changed = this.#changed.promise;
      const status = await this.status(ref);
      if (status !== shown) {
        shown = status;
        yield status;
        if (status.outcome !== null) return;
      }
      await Promise.race([changed, aborted]);
    }
  }

  list(options: ListOptions = {}): Promise<ReleaseSummary[]> {
    const found = this.#releases
      .filter((each) => options.service === undefined || each.service === options.service)
      .filter((each) => options.namespace === undefined || each.namespace === options.namespace)
      .filter((each) => options.open !== true || each.outcome === null)
      .map(({ simulated, version, ...each }): ReleaseSummary => ({
        ...each,
        version: version.to,
        ...(simulated ? { simulated } : {}),
      }));
    for (const [name, waiting] of this.#waiting) {
      const [namespace = '', service = ''] = name.split('/');
      for (const { release, version, since: startedAt } of waiting) {
        const queued = { phase: 'queued', outcome: null, weight: 0, endedAt: null, runId: null } as const;
        found.push({ namespace, service, release, version, startedAt, workflowId: `release:${name}`, ...queued });
      }
    }
    return Promise.resolve(found.reverse().slice(0, options.limit));
  }

  queue(ref: ServiceRef): Promise<QueueStatus | null> {
    const waiting = this.#waiting.get(nameOf(ref)) ?? [];
    return Promise.resolve(waiting.length === 0 ? null : { service: ref.service, namespace: ref.namespace, waiting });
  }

  approve(ref: ServiceRef, message: ApproveMessage): Promise<MessageAck> {
    return this.#decide('approve', ref, message);
  }

  reject(ref: ServiceRef, message: ApproveMessage): Promise<MessageAck> {
    return this.#decide('reject', ref, message);
  }

  pause(ref: ServiceRef, message: MessageBase): Promise<MessageAck> {
    return this.#take('pause', ref, message);
  }

  resume(ref: ServiceRef, message: MessageBase): Promise<MessageAck> {
    return this.#take('resume', ref, message, (status) => (status.paused === null ? 'is not paused' : null));
  }

  promote(ref: ServiceRef, message: MessageBase): Promise<MessageAck> {
    return this.#take('promote', ref, message);
  }

  rollback(ref: ServiceRef, message: RollbackMessage): Promise<MessageAck> {
    if (this.#waits(ref)) {
      const release = ref.release ?? '';
      const left = this.#waiting.get(nameOf(ref))?.filter((each) => each.release !== release) ?? [];
      this.#waiting.set(nameOf(ref), left);
      return Promise.resolve({ release, seq: 0, message: `Release ${release} is withdrawn from the queue.` });
    }
    return this.#take('rollback', ref, message);
  }

  setWeight(ref: ServiceRef, message: SetWeightMessage): Promise<MessageAck> {
    return this.#take('setWeight', ref, message);
  }

  skipSoak(ref: ServiceRef, message: MessageBase): Promise<MessageAck> {
    return this.#take('skipSoak', ref, message, (status) => (status.soak === null ? 'does not soak' : null));
  }

  workers(): Promise<WorkerInfo[]> {
    return Promise.resolve(this.pollers);
  }

  missingSearchAttributes(): Promise<readonly string[] | null> {
    return Promise.resolve(this.missing);
  }

  isStranger(): Promise<boolean> {
    return Promise.resolve(this.stranger);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  #waits(ref: ServiceRef): boolean {
    return this.#waiting.get(nameOf(ref))?.some((each) => each.release === ref.release) === true;
  }

  #find(ref: ServiceRef): ReleaseStatus | undefined {
    return this.#releases.findLast(
      (each) => nameOf(each) === nameOf(ref) && (ref.release === undefined || each.release === ref.release),
    );
  }

  #decide(name: string, ref: ServiceRef, message: ApproveMessage): Promise<MessageAck> {
    const { approval } = this.#find(ref) ?? {};
    const known = [message.actor.name, ...(message.actor.groups ?? [])];
    if (
      approval !== undefined &&
      approval !== null &&
      approval.by.length > 0 &&
      !approval.by.some((each) => known.includes(each))
    ) {
      return refuse('forbidden', `${message.actor.name} may not approve; ${approval.by.join(', ')} may.`);
    }
    return this.#take(name, ref, message, (status) => {
      if (status.approval === null) return 'waits for no approval';
      return message.step !== undefined && message.step !== status.approval.step ? 'waits for another approval' : null;
    });
  }

  #take(
    name: string,
    ref: ServiceRef,
    message: Sent['message'],
    objection: (status: ReleaseStatus) => string | null = () => null,
  ): Promise<MessageAck> {
    const status = this.#find(ref);
    if (status === undefined) return refuse('not-found', `There is no release of ${nameOf(ref)}.`);
    if (status.outcome !== null) return refuse('conflict', `No release of ${nameOf(ref)} is in progress.`);
    if (message.release !== undefined && message.release !== status.release) {
      return refuse('conflict', `The current release of ${nameOf(ref)} is ${status.release}.`);
    }
    const why = objection(status);
    if (why !== null) return refuse('conflict', `The release ${why}.`);
    this.sent.push({ name, ref, message });
    const seq = (status.events.at(-1)?.seq ?? 0) + 1;
    return Promise.resolve({
      release: status.release,
      seq,
      message: `The wish of ${message.actor.name} is recorded.`,
      ...(status.simulated ? { simulated: true } : {}),
    });
  }
}

function nameOf({ namespace, service }: { namespace: string; service: string }): string {
  return `${namespace}/${service}`;
}

function refuse<T>(code: 'not-found' | 'conflict' | 'forbidden' | 'queued', message: string): Promise<T> {
  return Promise.reject(new ReleaseError(code, message, code === 'forbidden' ? {} : { hint: 'See `sluice list`.' }));
}

function nextChange(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((resolvePromise) => {
    resolve = resolvePromise;
  });
  return { promise, resolve };
}
