import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { temporal } from '@temporalio/proto';
import type { google } from '@temporalio/proto';

/** Real time for which a wait may stand still before it is looked into: far above what a busy machine needs. */
const PATIENCE_MS = 8_000;
const LOOK_EVERY_MS = 1_000;
/** An activity that is tried again forty times waits for the pump forty times. */
const WAKE_EVERY_MS = 50;
/** So many looks in a row that find nobody at work, because between two tasks nobody is for a moment. */
const LOOKS = 3;

type Calls = Pick<
  NonNullable<TestWorkflowEnvironment['connection']['testService']>,
  'lockTimeSkipping' | 'unlockTimeSkipping' | 'unlockTimeSkippingWithSleep'
>;

/**
 * The test server skips time while nobody holds its clock: every workflow task and activity holds it once. It miscounts
 * when an activity has ended while a retry of it was still to come: the retry's timer takes a hold for an activity that
 * nobody knows any more (`TestWorkflowMutableStateImpl.addActivityRetryTimer` of sdk-java), and nobody gives it back.
 * Time then runs no faster than the wall's clock, and a test that waits for minutes waits for minutes.
 *
 * The guard gives such a hold back. It does so only when the test waits for time to pass, the server's clock has gone no
 * faster than the wall's, and no open workflow has a task or an activity at work: then nobody is left who could. What
 * hangs for a reason of Sluice's own has something at work, or no timer to wait for, and goes on hanging.
 *
 * On a busy machine it also sleeps while nobody holds its clock: what ends a workflow task adds the timer first, which
 * wakes the pump, and gives its hold back afterwards, which does not (`SelfAdvancingTimerImpl.updateLocks`). A pump that
 * was quick enough to see the hold waits for the timer by the wall's clock. So it is woken while a test waits: a hold
 * that is taken and given back changes nothing and wakes it.
 */
export class ClockGuard {
  readonly #lock: Calls['lockTimeSkipping'];
  readonly #unlock: Calls['unlockTimeSkipping'];
  readonly #timers: readonly NodeJS.Timeout[];
  /** Waits for time that are under way. */
  #waits = 0;
  #since: { readonly real: number; readonly virtual: number } | null = null;
  /** Real time of the sleeps before this one that took as long as they said. */
  #stoodMs = 0;
  #idleLooks = 0;
  #freed = 0;

  constructor(private readonly env: TestWorkflowEnvironment) {
    const calls: Calls | null | undefined = env.connection.testService;
    if (calls === null || calls === undefined) throw new Error('The environment has no test service.');
    this.#lock = calls.lockTimeSkipping.bind(calls);
    this.#unlock = calls.unlockTimeSkipping.bind(calls);
    this.#count(calls);
    this.#timers = [
      this.#whileWaiting(WAKE_EVERY_MS, () => this.#wake()),
      this.#whileWaiting(LOOK_EVERY_MS, () => this.#look()),
    ];
  }

  /** How many holds it has given back. */
  get freed(): number {
    return this.#freed;
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Every wait of the SDK's environment for time, `sleep` and `result`, goes through these three calls. */
  #count(calls: Calls): void {
    const sleep = calls.unlockTimeSkippingWithSleep.bind(calls);
    const change = (by: 1 | -1): void => {
      this.#waits = Math.max(0, this.#waits + by);
      this.#anew();
    };
    calls.unlockTimeSkipping = ((request: temporal.api.testservice.v1.IUnlockTimeSkippingRequest) => {
      change(1);
      return this.#unlock(request);
    }) as Calls['unlockTimeSkipping'];
    calls.lockTimeSkipping = ((request: temporal.api.testservice.v1.ILockTimeSkippingRequest) => {
      change(-1);
      return this.#lock(request);
    }) as Calls['lockTimeSkipping'];
    calls.unlockTimeSkippingWithSleep = (async (request: temporal.api.testservice.v1.ISleepRequest) => {
      change(1);
      const began = performance.now();
      try {
        return await sleep(request);
      } finally {
        change(-1);
        const took = performance.now() - began;
        // A test that waits in short steps would else never be looked into.
        this.#stoodMs = took < millisOf(request.duration) ? 0 : this.#stoodMs + took;
      }
    }) as Calls['unlockTimeSkippingWithSleep'];
  }

  #anew(): void {
    this.#since = null;
    this.#idleLooks = 0;
  }

  /** Does that again and again, one at a time. */
  #whileWaiting(everyMs: number, act: () => Promise<void>): NodeJS.Timeout {
    let isBusy = false;
    const once = async (): Promise<void> => {
      if (this.#waits === 0 || isBusy) return;
      isBusy = true;
      try {
        await act();
      } catch (error) {
        // The server is being stopped meanwhile; anything else shows in the test, which asks the same server.
        process.stderr.write(`clock guard: ${error instanceof Error ? error.message : String(error)}\n`);
      } finally {
        isBusy = false;
      }
    };
    return setInterval(() => void once(), everyMs).unref();
  }

  async #wake(): Promise<void> {
    await this.#lock({});
    await this.#unlock({});
  }

  async #look(): Promise<void> {
    const now = { real: performance.now(), virtual: await this.env.currentTimeMs() };
    const since = (this.#since ??= now);
    const passed = now.real - since.real;
    // Skipped meanwhile: it is not held.
    if (now.virtual - since.virtual > 2 * passed + PATIENCE_MS) {
      this.#stoodMs = 0;
      return this.#anew();
    }
    const stood = this.#stoodMs + passed;
    if (stood < PATIENCE_MS) return;
    const isBusy = await this.#anyAtWork();
    if (this.#since !== since) return;
    this.#idleLooks = isBusy ? 0 : this.#idleLooks + 1;
    if (this.#idleLooks < LOOKS) return;
    process.stderr.write(
      `clock guard: the clock was held for ${Math.round(stood / 1000)} s by nobody; the hold is given back\n`,
    );
    this.#freed += 1;
    this.#stoodMs = 0;
    this.#anew();
    await this.#unlock({});
  }

  async #anyAtWork(): Promise<boolean> {
    const { executions } = await this.env.connection.workflowService.listOpenWorkflowExecutions({
      namespace: 'default',
    });
    const handles = (executions ?? []).map(({ execution }) =>
      this.env.client.workflow.getHandle(execution?.workflowId ?? '', execution?.runId ?? undefined),
    );
    return (await Promise.all(handles.map((handle) => isAtWork(handle)))).some(Boolean);
  }
}

interface Looked {
  describe(): Promise<{
    readonly status: { readonly name: string };
    readonly raw: { readonly pendingActivities?: temporal.api.workflow.v1.IPendingActivityInfo[] | null };
  }>;
  fetchHistory(): Promise<temporal.api.history.v1.IHistory>;
}

/** Whether a running workflow has a workflow task under way, or an activity other than those of `except`. */
export async function isAtWork(handle: Looked, except: readonly string[] = []): Promise<boolean> {
  const before = await handle.fetchHistory();
  const { raw, status } = await handle.describe();
  const after = await handle.fetchHistory();
  if (status.name !== 'RUNNING') return false;
  // Three answers of one moment: else an activity could begin between that which knows activities and that which knows
  // tasks, or end, and neither would tell.
  if (endOf(before) !== endOf(after) || isInTask(after)) return true;
  return (raw.pendingActivities ?? []).some(
    (activity) => !except.includes(activity.activityType?.name ?? '') && isActivityAtWork(activity),
  );
}

/** Which event of which run is a history's last. */
function endOf({ events }: temporal.api.history.v1.IHistory): string {
  const run = events?.[0]?.workflowExecutionStartedEventAttributes?.originalExecutionRunId ?? '';
  return `${run} ${String(events?.at(-1)?.eventId)}`;
}

export function isInTask({ events }: temporal.api.history.v1.IHistory): boolean {
  const last = events?.at(-1);
  return isSet(last?.workflowTaskScheduledEventAttributes) || isSet(last?.workflowTaskStartedEventAttributes);
}

const STARTED = temporal.api.enums.v1.PendingActivityState.PENDING_ACTIVITY_STATE_STARTED;

/**
 * One that waits for its next try waits for time. The test server still calls it started while it waits: only the times
 * of its attempts tell.
 */
function isActivityAtWork(activity: temporal.api.workflow.v1.IPendingActivityInfo): boolean {
  if (!isSet(activity.lastFailure)) return true;
  return activity.state === STARTED && nanosOf(activity.lastAttemptCompleteTime) < nanosOf(activity.lastStartedTime);
}

function millisOf(duration: google.protobuf.IDuration | null | undefined): number {
  return Number(duration?.seconds?.toString() ?? 0) * 1_000 + (duration?.nanos ?? 0) / 1e6;
}

function nanosOf(time: google.protobuf.ITimestamp | null | undefined): bigint {
  return BigInt(time?.seconds?.toString() ?? 0) * 1_000_000_000n + BigInt(time?.nanos ?? 0);
}

function isSet(value: unknown): boolean {
  return value !== null && value !== undefined;
}
