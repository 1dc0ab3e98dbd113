import { ActivityFailure } from '@temporalio/common';
import { condition, patched, sleep, upsertMemo } from '@temporalio/workflow';
import { compensate, podTimeouts, removalTimeouts } from './activity-proxies';
import { ACTIVITY_FAILURES } from './activity-types';
import { REFUSED_MEMO } from './api';
import type { Actor, Compensation, RollbackCause } from './api';
import { continueAsNewIfDue } from './continue-as-new';
import { switches } from './keep-old';
import { drainUntil, endStep, enter, nextFence, publishAttributes, record, targetRef } from './run';
import type { Run } from './run';
import { endUncertainty } from './shift-weight';
import { causeOf } from './step-failure';
import { isTakenBackDirectly } from './taken-back';
import { dropWishes } from './wishes';

/**
 * From the beginning of one round to that of the next: 5 s, 10 s … 60 s. A round that has itself tried for a minute, as one
 * does while a cluster is away, is followed by another one after the 5 s: users are waiting for it.
 */
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 60_000;

/**
 * The recorded inverses: traffic first, then the rest in reverse order. Goes on until all are done, however
 * long that takes, telling people; only a person's `abandon` ends it before, and then the release has failed.
 * Runs in a scope that cancellation cannot reach.
 */
export async function rollBack(run: Run): Promise<void> {
  const { state } = run;
  const cause = state.rollback;
  if (cause === null) return;
  // Clean-ups that were begun before go on telling their story as any release does.
  const cleansUp = run.plan.short === 'cleanup' && patched('clean-up-fails');
  // A run that goes on with a roll back has something to take back: else it would have ended in the run before.
  const isRefused = cause.outcome === 'rolledBack' && state.compensations.length === 0;
  if (state.phase !== 'rollingBack') {
    state.soak = null;
    state.approval = null;
    state.paused = null;
    enter(run, 'rollingBack');
    record(
      run,
      'rollbackStarted',
      beginSentence(cause.reason, { cleansUp, isRefused, before: state.stableVersion ?? BEFORE_UNKNOWN }),
      {
        actor: cause.actor,
        step: state.step,
        ...(cause.evidence === undefined ? {} : { evidence: cause.evidence }),
      },
    );
    dropWishes(run, 'because the release is rolled back');
    const running = state.steps[state.step];
    if (running?.state === 'running') endStep(run, 'failed', cause.reason);
  }

  let last: Inverted | null = null;
  let isOvertaken = false;
  let isDirect = false;
  for (;;) {
    const compensation = nextCompensation(run);
    if (compensation === undefined) break;
    if (state.stuck !== null) {
      if (state.wishes.abandon !== null) {
        abandon(run, state.wishes.abandon.actor);
        return;
      }
      // Not before the first try: nothing stands between the request and the first write.
      await continueAsNewIfDue(run);
    }
    last = await attempt(run, compensation);
    isOvertaken ||= last?.overtaken === true;
    isDirect ||= last?.directly === true;
  }
  state.stuck = null;
  if (cleansUp) {
    endCleanUp(run, cause, last);
    return;
  }
  // A clean-up that was refused has left the traffic where it was.
  if (run.plan.short !== 'cleanup') {
    state.weight = 0;
    state.observedShare = null;
  }
  if (isRefused && patched('refused-told')) {
    state.refused = true;
    upsertMemo({ [REFUSED_MEMO]: true });
  }
  state.outcome = cause.outcome;
  const before = state.stableVersion ?? BEFORE_UNKNOWN;
  record(run, 'rolledBack', endSentence(before, cause, { isRefused, isOvertaken, isDirect }), {
    actor: cause.actor,
    ...(cause.evidence === undefined ? {} : { evidence: cause.evidence }),
  });
}

/** A service's version, where the release ended before it was known. */
const BEFORE_UNKNOWN = 'what was there before';

interface Beginning {
  readonly cleansUp: boolean;
  readonly isRefused: boolean;
  readonly before: string;
}

function beginSentence(reason: string, { cleansUp, isRefused, before }: Beginning): string {
  if (cleansUp) return `The clean-up is not gone on with: ${reason}`;
  if (isRefused) return 'There is nothing to take back: nothing was changed yet.';
  return `Rolling back to ${before}: ${reason}`;
}

interface Ending {
  /** The release failed before it changed anything. */
  readonly isRefused: boolean;
  readonly isOvertaken: boolean;
  readonly isDirect: boolean;
}

function endSentence(before: string, { reason }: RollbackCause, { isRefused, isOvertaken, isDirect }: Ending): string {
  if (isRefused) return `Refused before anything was changed: ${reason}`;
  // Its reason is that of whoever gave the command, and not known here.
  if (isDirect)
    return `Taken back to ${before} on the cluster itself, past this release, by ${DIRECTLY}, which finishes it when it was cut short.`;
  if (isOvertaken) return `Not rolled back to ${before}, because a later release holds the target: ${reason}`;
  return `Rolled back to ${before}: ${reason}`;
}

const DIRECTLY = '`sluice rollback --direct`';

/**
 * Of a clean-up the inverse of the removal is the removal: one that was begun is finished. Else it has failed, or a
 * person has ended it, and the track is left as it is by then.
 */
function endCleanUp(run: Run, cause: RollbackCause, last: Inverted | null): void {
  const { state } = run;
  if (last?.compensation.op === 'removeCanary' && !last.overtaken) {
    state.outcome = 'cleanedUp';
    endStep(run, 'passed', last.sentence);
    record(run, 'cleanedUp', last.sentence, { actor: cause.actor });
    return;
  }
  state.outcome = cause.outcome === 'rolledBack' ? 'failed' : cause.outcome;
  record(run, state.outcome === 'failed' ? 'failed' : 'rolledBack', `Not cleaned up: ${cause.reason}`, {
    actor: cause.actor,
  });
}

/**
 * Traffic leaves the new version before anything else is put right, also when the promotion was half done and what
 * it changed was recorded later: how long that takes is not the users' time. Except in Kubernetes, where a half-done
 * promotion means that stable's old pods have gone: the target leaves the traffic to the proven canary until they are
 * back.
 */
function nextCompensation({ state, plan }: Run): Compensation | undefined {
  const last = state.compensations.at(-1);
  if (plan.target.kind === 'kubernetes' && last?.op === 'restoreStable') return last;
  return state.compensations.findLast((one) => one.op === 'restoreWeight') ?? last;
}

/** An inverse that was carried out. */
interface Inverted {
  readonly compensation: Compensation;
  readonly sentence: string;
  /** A later release holds the target, or somebody has given a colour the traffic, so that nothing was there to be done. */
  readonly overtaken: boolean;
  /** Nothing was there to be done because `sluice rollback --direct` did it. */
  readonly directly?: boolean;
}

/** Null when it is to be tried again. */
async function attempt(run: Run, compensation: Compensation): Promise<Inverted | null> {
  const { state } = run;
  if (compensation.op === 'removeCanary') await drain(run);
  const began = Date.now();
  try {
    const sentence = await runInverse(run, compensation, state.rollback?.reason ?? '');
    done(run, compensation, sentence);
    return { compensation, sentence, overtaken: false };
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    const { type, message } = causeOf(error);
    if (type === ACTIVITY_FAILURES.fenceLost) {
      const directly = isTakenBackDirectly(run, message);
      const sentence = directly
        ? `Nothing to take back (${describe(run, compensation)}): ${DIRECTLY} does that on the cluster itself.`
        : `Nothing to take back, because a later release holds the target: ${message}`;
      done(run, compensation, sentence);
      return { compensation, sentence, overtaken: true, directly };
    }
    // Whoever has switched to the colour meanwhile has ended the clean-up.
    if (type === ACTIVITY_FAILURES.notIdle) {
      done(run, compensation, message);
      return { compensation, sentence: message, overtaken: true };
    }
    const attempts = (state.stuck?.attempts ?? 0) + 1;
    state.stuck = { since: state.stuck?.since ?? Date.now(), message, attempts };
    // Told at the first failure and then ever more rarely, so that the story of a long outage stays readable.
    if (Number.isInteger(Math.log2(attempts))) {
      record(
        run,
        'compensationFailed',
        `The roll back cannot finish, try ${attempts} (${describe(run, compensation)}): ${message}`,
      );
    }
    const apart = Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempts - 1, 10), RETRY_MOST_MS);
    const pause = Math.max(RETRY_FIRST_MS, apart - (Date.now() - began));
    const woken = (): boolean => state.wishes.retryNow || state.wishes.abandon !== null;
    await condition(woken, pause, { summary: 'before the roll back is tried again' });
    state.wishes.retryNow = false;
    return null;
  }
}

/** Runs one inverse and answers its sentence. Pods that come back take their time; every other one is a few writes. */
async function runInverse(run: Run, compensation: Compensation, reason: string): Promise<string> {
  const timeouts = timeoutsOf(run, compensation);
  const { sentence } = await compensate.executeWithOptions({ summary: describe(run, compensation), ...timeouts }, [
    { ...targetRef(run), fence: nextFence(run), compensation, reason },
  ]);
  return sentence;
}

function timeoutsOf({ plan }: Run, { op }: Compensation): ReturnType<typeof podTimeouts | typeof removalTimeouts> {
  if (op === 'restoreStable') return podTimeouts(plan);
  return op === 'removeCanary' ? removalTimeouts(plan) : {};
}

/** Pods that have just lost their traffic finish what they have, and routes that lag behind still find them. */
async function drain(run: Run): Promise<void> {
  const { state } = run;
  const wait = (state.drainUntil ?? 0) - Date.now();
  if (wait > 0) await condition(() => state.wishes.abandon !== null, wait, { summary: 'the canary drains' });
  state.drainUntil = null;
}

/** After this many rounds people are told what is left; the next release must not wait for it. */
const CLEAN_UP_ROUNDS = 8;

/** A promoted release removes what it does not need any more. It never fails for it: nothing of it gets traffic. */
export async function cleanUp(run: Run): Promise<void> {
  const { state } = run;
  for (const leftover of [...state.leftovers].reverse()) {
    await drain(run);
    for (let round = 1; ; round += 1) {
      const why = await removal(run, leftover);
      if (why === null) break;
      if (round >= CLEAN_UP_ROUNDS) {
        const left = `${describe(run, leftover)}: ${why}`;
        record(run, 'leftOver', `Left undone after ${round} tries, and to be done by hand: ${left}`);
        break;
      }
      await sleep(Math.min(RETRY_FIRST_MS * 2 ** (round - 1), RETRY_MOST_MS), { summary: 'before the next try' });
    }
    state.leftovers = state.leftovers.filter((one) => one !== leftover);
  }
}

/** Null when it is done, why not otherwise. */
async function removal(run: Run, compensation: Compensation): Promise<string | null> {
  try {
    record(run, 'cleanedUp', await runInverse(run, compensation, 'the release was promoted'));
    return null;
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    const { type, message } = causeOf(error);
    if (type !== ACTIVITY_FAILURES.fenceLost) return message;
    // A later write holds the service: what is left is its own to use. Where the old version was kept, that was a way
    // back past this release.
    if (switches(run.plan)) takenBackElsewhere(run, message);
    return null;
  }
}

function takenBackElsewhere(run: Run, message: string): void {
  const { state } = run;
  state.outcome = 'superseded';
  state.weight = 0;
  state.observedShare = null;
  const from = state.stableVersion ?? 'the old version';
  const how = isTakenBackDirectly(run, message) ? `, by ${DIRECTLY}.` : `: ${message}`;
  record(run, 'rolledBack', `Taken back to ${from} on the cluster itself, past this release${how}`);
}

function done(run: Run, compensation: Compensation, sentence: string): void {
  const { state } = run;
  state.compensations = state.compensations.filter((one) => one !== compensation);
  state.stuck = null;
  // It works again: what is left is done, and nothing given up.
  state.wishes.retryNow = false;
  if (state.wishes.abandon !== null) {
    const { actor } = state.wishes.abandon;
    state.wishes.abandon = null;
    record(run, 'messageIgnored', 'The roll back works again, so it is not given up.', { actor });
  }
  if (compensation.op === 'restoreWeight') {
    if (state.weight > 0 || state.match.length > 0) state.drainUntil = drainUntil(run);
    state.match = [];
    state.weight = compensation.weight;
    // That was seen before; nobody looks any more.
    state.observedShare = null;
    endUncertainty(state);
    state.weightSince = Date.now();
    publishAttributes(run);
  }
  record(run, 'compensated', sentence);
}

function abandon(run: Run, actor: Actor): void {
  const { state } = run;
  const left = state.compensations
    .map((one) => describe(run, one))
    .reverse()
    .join(', ');
  state.outcome = 'failed';
  record(run, 'failed', `${actor.name} gave up the rest of the roll back, which is left undone: ${left}.`, { actor });
}

function describe({ plan, state }: Run, compensation: Compensation): string {
  switch (compensation.op) {
    case 'removeCanary':
      if (!switches(plan)) return 'remove the canary';
      return `scale the ${state.outcome === 'promoted' ? 'old' : 'new'} version down`;
    case 'restoreWeight':
      return `weight back to ${compensation.weight} %`;
    case 'restoreStable':
      return `stable back to ${compensation.version}`;
  }
}
