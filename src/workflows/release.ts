import {
  allHandlersFinished,
  CancelledFailure,
  CancellationScope,
  condition,
  ContinueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
} from '@temporalio/workflow';
import type { Plan } from '../spec/plan-types';
import { releaseQueueWorkflowId } from './api';
import type { Outcome, Phase, ReleaseInput, ReleaseResult } from './api';
import { cleanUp, rollBack } from './roll-back';
import { installHandlers } from './handlers';
import { keepOldVersion, reopen } from './keep-old';
import { releaseEndedSignal } from './messages';
import { flushNotifications, startNotifier } from './notifier';
import { enter, openRun, record, SLUICE } from './run';
import type { Run } from './run';
import { runSteps } from './steps';

/**
 * One release: the plan's steps in order, or back. Everything it knows is in its state, so that it goes on from any
 * point after a crash, a deploy of the worker, or continue-as-new.
 */
export async function release(input: ReleaseInput): Promise<ReleaseResult> {
  const run = openRun(input);
  const { state, plan } = run;
  // Before the handlers: a signal that came with the start is delivered the moment its handler is there.
  if (state.events.length === 0) {
    const why = input.reason === undefined ? '' : `: ${input.reason}`;
    record(run, 'started', `${input.startedBy.name} started ${subjectOf(plan)}${why}.`, { actor: input.startedBy });
  }
  installHandlers(run);
  startNotifier(run);

  if (state.phase !== 'rollingBack') await goForward(run);
  return await CancellationScope.nonCancellable(async () => {
    if (state.rollback !== null && state.outcome === null) await rollBack(run);
    if (state.leftovers.length > 0) await cleanUp(run);
    await end(run);
    // Cancelled from outside: compensated first, and then Temporal's lists say so too. Temporal forgets the request
    // at continue-as-new; a failure would be the wrong word for it then.
    if (run.cancelledHere) throw new CancelledFailure(state.message);
    return {
      release: input.release,
      service: plan.service,
      version: plan.version,
      outcome: state.outcome ?? 'failed',
      reason: state.message,
    };
  });
}

/** What a release is, in the words of its first sentence. */
function subjectOf({ short, service, version, steps }: Plan): string {
  if (short === undefined) return `the release of ${service} ${version}`;
  switch (short) {
    case 'traffic':
    case 'promote':
      return `a short release (${short}) of what the canary of ${service} runs, ${version}`;
    case 'switch': {
      const onto = steps.find((step) => step.kind === 'deploy')?.onto ?? 'the idle colour';
      return `a short release (switch) of what ${onto} of ${service} runs, ${version}`;
    }
    case 'cleanup': {
      const track = steps.find((step) => step.kind === 'cleanUp')?.track ?? 'the track';
      return `a clean-up of what is left of ${track} of ${service}`;
    }
  }
}

/** The way forward, in a scope that a roll back cancels; so does `temporal workflow cancel`, which is one, too. */
async function goForward(run: Run): Promise<void> {
  const { state } = run;
  const scope = new CancellationScope();
  run.forward = scope;
  try {
    await scope.run(async () => {
      if (state.rollback !== null) return;
      await runSteps(run);
      await keepOldVersion(run);
    });
  } catch (error) {
    if (error instanceof ContinueAsNew || !isCancellation(error)) throw error;
    if (state.rollback !== null) return;
    reopen(run);
    state.cancelled = true;
    run.cancelledHere = true;
    state.rollback = {
      outcome: 'aborted',
      reason: 'the workflow was cancelled at Temporal',
      actor: { name: 'someone with access to Temporal', via: 'signal' },
    };
    record(run, 'rollbackRequested', 'The workflow was cancelled at Temporal; the service is rolled back.', {
      actor: state.rollback.actor,
    });
  } finally {
    run.forward = null;
  }
}

const LAST_PHASE: Record<Outcome, Phase> = {
  promoted: 'promoted',
  cleanedUp: 'cleanedUp',
  rolledBack: 'rolledBack',
  aborted: 'rolledBack',
  rejected: 'rolledBack',
  superseded: 'rolledBack',
  failed: 'failed',
};

async function end(run: Run): Promise<void> {
  const { state, plan } = run;
  state.outcome ??= 'failed';
  state.endedAt ??= Date.now();
  if (state.outcome === 'promoted' || state.outcome === 'cleanedUp') state.step = plan.steps.length;
  enter(run, LAST_PHASE[state.outcome]);
  await flushNotifications(run);
  if (state.successors.length > 0) await callSuccessor(run);
  await condition(allHandlersFinished);
}

/** A hint only: the queue looks by itself too, so that a release that was terminated keeps nobody waiting. */
async function callSuccessor(run: Run): Promise<void> {
  const { plan, input } = run;
  try {
    await getExternalWorkflowHandle(releaseQueueWorkflowId(plan.namespace, plan.service)).signal(releaseEndedSignal, {
      release: input.release,
    });
  } catch (error) {
    record(run, 'messageIgnored', `The queue could not be told of the end: ${String(error)}`, { actor: SLUICE });
  }
}
