import { isCancellation } from '@temporalio/workflow';
import type { ApproveStep, DeployStep, MatchStep, PlanStep, SmokeTestStep, WeightStep } from '../spec/plan-types';
import { deploy, observe, smokeTest, within } from './activity-proxies';
import type { TargetObservation } from './activity-types';
import type { Wishes } from './api';
import { cleanUpStep, refuseOtherTrack } from './clean-up';
import { checkpoint, guardedWait, pauseFor } from './hold';
import {
  currentStep,
  endStep,
  enter,
  markStep,
  nextFence,
  record,
  recordInverse,
  skipStep,
  SLUICE,
  targetRef,
} from './run';
import type { Run } from './run';
import { promoteStep } from './promote';
import { routeMatches, shiftWeight } from './shift-weight';
import { beginSoak, soak } from './soak';
import type { StepEnd } from './soak';
import { approvalSentence } from './status';
import { StepFailure, toStepFailure } from './step-failure';
import { dropWishes } from './wishes';

/** The main loop: one step after the other until the plan is done or a roll back is decided. */
export async function runSteps(run: Run): Promise<void> {
  const { state } = run;
  for (;;) {
    try {
      await checkpoint(run);
      if (state.wishes.promote !== null) skipToPromotion(run);
      const step = currentStep(run);
      if (step === undefined) return;
      if (state.steps[state.step]?.state !== 'running') {
        markStep(run, state.step, {
          state: 'running',
          startedAt: Date.now(),
          endedAt: null,
          sentence: null,
          verdict: null,
        });
      }
      if ((await runStep(run, step)) === 'done') state.step += 1;
      if (state.outcome !== null) return;
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (failed(run, toStepFailure(run, error)) === 'roll back') return;
    }
  }
}

async function runStep(run: Run, step: PlanStep): Promise<StepEnd> {
  switch (step.kind) {
    case 'deploy':
      return deployStep(run, step);
    case 'smokeTest':
      return smokeTestStep(run, step);
    case 'match':
      return matchStep(run, step);
    case 'weight':
      return weightStep(run, step);
    case 'approve':
      return approveStep(run, step);
    case 'promote':
      return promoteStep(run, step);
    case 'cleanUp':
      return cleanUpStep(run, step);
  }
}

/** Records a step's failure and says what follows: back, or (`onFailure: pause`) hold until a person resumes. */
function failed(run: Run, failure: StepFailure): 'roll back' | 'hold' {
  const { state, plan } = run;
  const step = currentStep(run);
  const evidence = failure.evidence === undefined ? {} : { evidence: failure.evidence };
  const index = state.step;
  record(run, 'stepFailed', `${step?.name ?? 'The release'} failed: ${failure.message}`, { step: index, ...evidence });
  const { decision } = state.wishes;
  if (decision?.approved === false) state.wishes.decision = null;
  // Before the step ends, which forgets a wish that is about its soak.
  dropWishes(run, 'after the failure');
  endStep(run, 'failed', failure.message, { verdict: failure.verdict, ...evidence });
  state.approval = null;
  // A person was faster, in this very workflow task: theirs is the reason.
  if (state.rollback !== null) return 'roll back';
  if (decision?.approved === false) {
    state.rollback = { outcome: 'rejected', reason: rejection(decision), actor: decision.actor, ...evidence };
    return 'roll back';
  }
  if (failure.final === null && plan.onFailure === 'pause') {
    pauseFor(run, 'failure', failure.message, failure.evidence);
    return 'hold';
  }
  state.soak = null;
  state.rollback = {
    outcome: failure.final ?? 'rolledBack',
    reason: failure.message,
    actor: failure.by ?? SLUICE,
    ...evidence,
  };
  return 'roll back';
}

async function deployStep(run: Run, step: DeployStep): Promise<StepEnd> {
  const { state, plan } = run;
  enter(run, 'deploying');
  const match = plan.steps.flatMap((one) => (one.kind === 'match' ? [one.match] : []));
  const weights = plan.steps.flatMap((one) => (one.kind === 'weight' ? [one.weight] : []));
  const looked = { ...targetRef(run), match, weights };
  const seen = await observe.executeWithOptions({ summary: 'look at the target' }, [looked]);
  state.stableVersion = seen.stableVersion;
  state.artifact = seen.artifact;
  refuseOtherTrack(seen, step.onto);
  const wanted = [plan.version, ...(seen.artifact === null ? [] : [seen.artifact])];
  if (seen.stableVersion !== null && wanted.includes(seen.stableVersion) && seen.canaryVersion === null) {
    record(run, 'promoted', `${plan.version} is the stable version already; there is nothing to release.`, {
      step: state.step,
    });
    for (; state.step < plan.steps.length; state.step += 1) {
      endStep(run, 'skipped', 'The version is stable already.');
    }
    state.outcome = 'promoted';
    return 'again';
  }
  refuseWithoutStable(run, seen);
  recordInverse(run, { op: 'removeCanary' });
  const deployed = await deploy.executeWithOptions({ summary: `deploy ${plan.version}`, ...within(step.timeoutMs) }, [
    { ...targetRef(run), fence: nextFence(run), timeoutMs: step.timeoutMs },
  ]);
  const sentence = seen.missed === undefined ? deployed.sentence : `${deployed.sentence} ${seen.missed}`;
  record(run, 'deployed', sentence, { step: state.step });
  endStep(run, 'passed', sentence);
  return 'done';
}

/**
 * Before anything is changed, so that there is nothing to take back: a canary that alone can carry its traffic may be
 * promoted as it is, and cannot be given less of it or another image.
 */
function refuseWithoutStable({ plan }: Run, seen: TargetObservation): void {
  const { onlyCanary, canaryVersion, stableVersion, artifact, weight } = seen;
  if (onlyCanary === undefined) return;
  const isSame = canaryVersion === (artifact ?? plan.version);
  // The first version of a service is given all of the traffic at once.
  const lowers = stableVersion !== null && plan.steps.some((step) => step.kind === 'weight' && step.weight < weight);
  if (!isSame || lowers) throw new StepFailure(onlyCanary, { final: 'rolledBack' });
}

async function smokeTestStep(run: Run, step: SmokeTestStep): Promise<StepEnd> {
  const { state, plan, input } = run;
  enter(run, 'smokeTesting');
  // All tries with their waits, and a quarter more for a worker that dies in between.
  const budget = Math.ceil(step.attempts * (step.timeoutMs + step.intervalMs) * 1.25) + 10_000;
  const { sentence } = await smokeTest.executeWithOptions(
    { summary: `smoke test ${plan.version}`, ...within(budget) },
    [{ ...targetRef(run), release: input.release, test: step }],
  );
  record(run, 'smokeTestPassed', sentence, { step: state.step });
  endStep(run, 'passed', sentence);
  return 'done';
}

async function matchStep(run: Run, step: MatchStep): Promise<StepEnd> {
  const sentence = await routeMatches(run, step.match);
  endStep(run, 'passed', sentence);
  return 'done';
}

async function weightStep(run: Run, planned: WeightStep): Promise<StepEnd> {
  const { state, plan } = run;
  // The first version of a service has nobody to share the traffic with: it gets all of it, once, for the last soak.
  const first = state.stableVersion === null;
  if (first && plan.steps.slice(state.step + 1).some(({ kind }) => kind === 'weight')) {
    skipStep(run, 'There is no stable version to share the traffic with yet.');
    return 'done';
  }
  const step = first ? { ...planned, weight: 100 } : planned;
  if (state.soak === null) {
    if (state.weight > step.weight) {
      skipStep(run, `The weight is at ${state.weight} % already, set by hand.`);
      return 'done';
    }
    if (state.weight < step.weight) await shiftWeight(run, step.weight);
    beginSoak(run, step);
  }
  return soak(run, step);
}

async function approveStep(run: Run, step: ApproveStep): Promise<StepEnd> {
  const { state } = run;
  if (state.approval === null) {
    const now = Date.now();
    state.wishes.decision = null;
    state.guardJudge = null;
    state.approval = {
      step: state.step,
      by: step.by,
      since: now,
      expiresAt: now + step.timeoutMs,
      onExpiry: step.onExpiry,
    };
    record(run, 'approvalRequested', approvalSentence(state.approval), { step: state.step });
  }
  for (;;) {
    await checkpoint(run);
    const { approval, wishes } = state;
    if (approval === null) return 'again';
    if (wishes.promote !== null) {
      state.approval = null;
      skipStep(run, `Passed over by ${wishes.promote.actor.name}, who promotes.`, wishes.promote.actor);
      return 'done';
    }
    if (wishes.decision !== null) return decided(run, wishes.decision);
    if (Date.now() >= approval.expiresAt) return expired(run, step);
    enter(run, 'awaitingApproval');
    const woken = () =>
      wishes.decision !== null || wishes.promote !== null || wishes.weight !== null || state.paused !== null;
    await guardedWait(run, woken, approval.expiresAt, 'waiting for approval');
  }
}

function decided(run: Run, { approved, actor, reason }: NonNullable<Wishes['decision']>): StepEnd {
  const { state } = run;
  state.approval = null;
  state.wishes.decision = null;
  if (!approved) throw new StepFailure(rejection({ actor, reason }), { final: 'rejected', by: actor });
  endStep(run, 'passed', `Approved by ${actor.name}${reason === null ? '' : `: ${reason}`}.`);
  return 'done';
}

function rejection({ actor, reason }: Pick<NonNullable<Wishes['decision']>, 'actor' | 'reason'>): string {
  return `${actor.name} rejected the release${reason === null ? '' : `: ${reason}`}.`;
}

function expired(run: Run, step: ApproveStep): StepEnd {
  const { state } = run;
  state.approval = null;
  const sentence = 'Nobody approved in time.';
  record(run, 'approvalExpired', sentence, { step: state.step });
  switch (step.onExpiry) {
    case 'continue':
      endStep(run, 'passed', `${sentence} The spec says to go on.`);
      return 'done';
    case 'pause':
      pauseFor(run, 'approvalExpired', sentence);
      return 'again';
    case 'rollback':
      throw new StepFailure(sentence, { final: 'rolledBack' });
  }
}

/** A person's promotion: what lies between is passed over, and said to be. */
function skipToPromotion(run: Run): void {
  const { state, plan } = run;
  const by = state.wishes.promote?.actor;
  const last = plan.steps.length - 1;
  state.soak = null;
  state.approval = null;
  for (; state.step < last; state.step += 1) {
    if (state.steps[state.step]?.endedAt === null) skipStep(run, `Passed over by ${by?.name ?? ''}, who promotes.`, by);
  }
}
