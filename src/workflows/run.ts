import { log, setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { CancellationScope } from '@temporalio/workflow';
import type { Verdict } from '../analysis/verdict';
import type { Plan, PlanStep } from '../spec/plan-types';
import type {
  Actor,
  Compensation,
  EventType,
  Fence,
  Measurement,
  Phase,
  ReleaseEvent,
  ReleaseInput,
  ReleaseState,
} from './api';
import type { TargetRef } from './activity-types';
import { renderDetails } from './details';
import { boundKept } from './kept-measurements';
import { SEARCH_KEYS } from './search-attribute-keys';
import { statusOf } from './status';

/** A release at work: its input, its state, and what lives only as long as this run of the workflow. */
export interface Run {
  readonly input: ReleaseInput;
  readonly plan: Plan;
  readonly state: ReleaseState;
  /** Holds the way forward; cancelled the moment a roll back is asked for, so that nothing is waited out. */
  forward: CancellationScope | null;
  /** Set when the release is over, so that the notifier ends after its last words. */
  closing: boolean;
  /** True while the notifier waits for an answer that carries state. */
  telling: boolean;
  /** What is being changed while `phase` is `shifting`: `The change to 25 %`. */
  shifting: string;
  /** This run of the workflow was cancelled at Temporal. */
  cancelledHere: boolean;
}

/** Sluice itself, as the one who acts. */
export const SLUICE: Actor = { name: 'sluice', via: 'workflow' };

export function openRun(input: ReleaseInput): Run {
  return {
    input,
    plan: input.plan,
    // What an older worker handed over may lack what this one knows.
    state: { ...firstState(input), ...input.carried },
    forward: null,
    closing: false,
    telling: false,
    shifting: '',
    cancelledHere: false,
  };
}

function firstState(input: ReleaseInput): ReleaseState {
  const now = Date.now();
  return {
    epoch: workflowInfo().startTime.getTime(),
    startedAt: now,
    endedAt: null,
    fenceStep: 0,
    phase: 'starting',
    outcome: null,
    message: 'The release is starting.',
    stableVersion: null,
    artifact: null,
    match: [],
    weight: 0,
    observedShare: null,
    weightSince: now,
    step: 0,
    steps: input.plan.steps.map((step) => ({
      name: step.name,
      kind: step.kind,
      state: 'pending',
      startedAt: null,
      endedAt: null,
      sentence: null,
      verdict: null,
      measurements: 0,
      evidence: null,
    })),
    soak: null,
    approval: null,
    paused: null,
    keepOld: null,
    rollback: null,
    wishes: { promote: null, skipSoak: null, weight: null, decision: null, retryNow: false, abandon: null },
    guardJudge: null,
    compensations: [],
    leftovers: [],
    drainUntil: null,
    stuck: null,
    successors: [],
    measurements: [],
    events: [],
    handledUpdates: {},
    notified: { slack: null, upTo: 0, failures: 0 },
    cancelled: false,
    uncertainWeight: false,
    foreignEdits: 0,
    routing: { highest: 0, told: false },
  };
}

/** Writes one entry of the release's story and makes it the sentence about now. */
export function record(
  run: Run,
  type: EventType,
  message: string,
  more: { actor?: Actor; step?: number; evidence?: Measurement } = {},
): ReleaseEvent {
  const { state } = run;
  const event: ReleaseEvent = {
    seq: state.events.length + 1,
    at: Date.now(),
    type,
    message,
    actor: more.actor ?? SLUICE,
    weight: state.weight,
    // Once the steps are over, an event belongs to none.
    ...(more.step === undefined || more.step >= run.plan.steps.length ? {} : { step: more.step }),
    ...(more.evidence === undefined ? {} : { evidence: more.evidence }),
  };
  state.events.push(event);
  // The worker's log tells the same story; the SDK leaves replays out.
  log.info(message, { release: run.input.release, event: type, seq: event.seq, weight: event.weight });
  state.message = message;
  showDetails(run);
  return event;
}

export function keepMeasurement(run: Run, measurement: Measurement): void {
  const { state } = run;
  state.measurements.push(measurement);
  boundKept(state);
  state.observedShare = measurement.observedShare;
  showDetails(run);
}

/** Enters a phase; the search attributes follow, so that lists of releases are right without asking each one. */
export function enter(run: Run, phase: Phase): void {
  const { state } = run;
  if (state.phase === phase) return;
  state.phase = phase;
  publishAttributes(run);
  showDetails(run);
}

/**
 * One event in the history a call, so only at transitions. A release that was started without search attributes
 * (a namespace where nobody may register them) does not set any: an unregistered one would block the run.
 */
export function publishAttributes(run: Run): void {
  const { state } = run;
  if (workflowInfo().typedSearchAttributes.get(SEARCH_KEYS.phase) === undefined) return;
  upsertSearchAttributes([
    { key: SEARCH_KEYS.phase, value: state.phase },
    { key: SEARCH_KEYS.outcome, value: state.outcome },
    { key: SEARCH_KEYS.weight, value: Math.round(state.weight) },
  ]);
}

/** The release whose details are older than its state; the module is each workflow's own, as all of them are. */
let outdated: Run | null = null;

/** Has the Temporal UI's own view of the release made anew, once the workflow has nothing more to do for now. */
export function showDetails(run: Run): void {
  outdated = run;
}

/** A few tenths of a millisecond each; a roll back alone changes the state six times in one task. */
export function renderOutdated(): void {
  if (outdated === null) return;
  setCurrentDetails(renderDetails(statusOf(outdated)));
  outdated = null;
}

/** The place of the next write in the order of all writes. */
export function nextFence(run: Run): Fence {
  run.state.fenceStep += 1;
  return { release: run.input.release, epoch: run.state.epoch, step: run.state.fenceStep };
}

/** When pods may go that have lost their traffic, just now or at another time; null where nothing drains. */
export function drainUntil({ plan }: Run, since: number = Date.now()): number | null {
  return plan.target.kind === 'kubernetes' && plan.target.drainMs > 0 ? since + plan.target.drainMs : null;
}

/** Remembers how to take a change back, before it is made; once, however often it is made. */
export function recordInverse(run: Run, compensation: Compensation): void {
  const { compensations } = run.state;
  if (!compensations.some((one) => one.op === compensation.op)) compensations.push(compensation);
}

/** What every target activity is told. */
export function targetRef(run: Run): TargetRef {
  const { service, namespace, version, target, steps } = run.plan;
  const { track = 'canary' } = steps.find((step) => step.kind === 'cleanUp') ?? {};
  const idle = track === 'canary' ? {} : { idle: track };
  return { service, namespace, version, artifact: run.state.artifact, target, ...idle };
}

export function currentStep(run: Run): PlanStep | undefined {
  return run.plan.steps[run.state.step];
}

/** Changes what is shown of one step. */
export function markStep(run: Run, index: number, change: Partial<ReleaseState['steps'][number]>): void {
  const step = run.state.steps[index];
  if (step !== undefined) run.state.steps[index] = { ...step, ...change };
}

/** Ends a step with its reason; the verdict is the judge's, where there is one. */
export function endStep(
  run: Run,
  state: 'passed' | 'failed' | 'skipped',
  sentence: string,
  more: { verdict?: Verdict | undefined; evidence?: Measurement } = {},
): void {
  markStep(run, run.state.step, {
    state,
    sentence,
    endedAt: Date.now(),
    ...(more.verdict === undefined ? {} : { verdict: more.verdict }),
    ...(more.evidence === undefined ? {} : { evidence: more.evidence }),
  });
  // The next soak is one of its own, and nobody asked to skip that one.
  run.state.soak = null;
  run.state.wishes.skipSoak = null;
}

/** A step that is passed over, which the story tells. */
export function skipStep(run: Run, sentence: string, actor?: Actor): void {
  const { step } = run.state;
  record(run, 'stepSkipped', sentence, { step, ...(actor === undefined ? {} : { actor }) });
  endStep(run, 'skipped', sentence);
}
