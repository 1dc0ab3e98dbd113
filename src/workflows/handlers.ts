import type { UpdateDefinition } from '@temporalio/common';
import { currentUpdateInfo, patched, setHandler } from '@temporalio/workflow';
import { FAILURES, isSimulated } from './api';
import type {
  Actor,
  ApproveMessage,
  MessageAck,
  MessageBase,
  RollbackCause,
  RollbackMessage,
  SetWeightMessage,
  Wishes,
} from './api';
import { reopen } from './keep-old';
import * as messages from './messages';
import { readSignal } from './read-signal';
import { refusal, refuseIf, refuseIfLate } from './refusal';
import { record, showDetails } from './run';
import type { Run } from './run';
import { statusOf } from './status';
import { dropWishes } from './wishes';

/**
 * Messages only set what is wished for; the release's one main loop acts on it. So no two handlers ever interleave,
 * and a message that arrives at any moment (during continue-as-new too) is either refused or in the state.
 *
 * Called synchronously before the first await: a message that waits for the workflow finds its handler.
 */
export function installHandlers(run: Run): void {
  const { state, plan } = run;

  setHandler(messages.statusQuery, () => statusOf(run), { description: 'The whole state of the release.' });

  update(run, messages.approveUpdate, {
    description: 'Approves the step that waits.',
    check: (message: ApproveMessage) => checkDecision(run, message),
    act: (message) => {
      decide(run, { approved: true, actor: message.actor, reason: message.reason ?? null });
      const held = state.paused === null ? '' : ' The release stays paused until it is resumed.';
      return `The approval by ${message.actor.name} is recorded.${held}`;
    },
  });

  update(run, messages.rejectUpdate, {
    description: 'Refuses the step that waits; the release is rolled back.',
    check: (message: ApproveMessage) => checkDecision(run, message),
    act: (message) => {
      decide(run, { approved: false, actor: message.actor, reason: message.reason ?? null });
      return `The rejection by ${message.actor.name} is recorded; the release is rolled back.`;
    },
  });

  update(run, messages.pauseUpdate, {
    description: 'Holds the weight until resume.',
    check: () => {
      refuseIf(state.rollback !== null, 'The release is being rolled back; that is not paused.');
      refuseIf(state.paused !== null, `The release is paused already, by ${state.paused?.by.name ?? ''}.`);
      refuseIf(state.phase === 'promoting', 'The release is being promoted; roll it back instead.');
    },
    act: (message: MessageBase) => {
      const { actor, reason = 'no reason given' } = message;
      state.paused = { since: Date.now(), by: actor, reason, cause: 'person' };
      const first = underWay(run);
      const when = first === null ? '' : ` ${first}; the release pauses once it is done.`;
      record(run, 'paused', `Paused by ${actor.name}: ${reason}.${when}`, { actor, step: state.step });
      return first === null ? `Paused at weight ${state.weight} %.` : when.trimStart();
    },
  });

  update(run, messages.resumeUpdate, {
    description: 'Goes on after a pause; in a roll back that cannot finish: tries again now.',
    check: () => {
      refuseIf(state.paused === null && state.stuck === null, 'The release is not paused.');
    },
    act: (message: MessageBase) => {
      if (state.stuck !== null) return tryAgainNow(run, message.actor, message.reason);
      resume(run, message.actor, message.reason);
      return 'Resumed.';
    },
  });

  update(run, messages.rollbackUpdate, {
    description: 'Takes the service back to the stable version, at once.',
    check: (message: RollbackMessage) => {
      refuseIf(
        message.abandon === true && state.stuck === null,
        'Only a roll back that cannot finish can be abandoned; this one is not stuck.',
      );
    },
    act: (message: RollbackMessage) => {
      if (message.abandon === true) {
        state.wishes.abandon = { actor: message.actor };
        return 'What is left of the roll back is given up.';
      }
      return requestRollback(run, {
        outcome: 'aborted',
        reason: message.reason ?? 'no reason given',
        actor: message.actor,
      });
    },
    whileOldIsKept: true,
  });

  update(run, messages.promoteUpdate, {
    description: 'Skips what is left and makes the new version the stable one.',
    check: (message: MessageBase) => {
      refuseOfCleanUp(run);
      checkRaise(run, message.actor, 'promotion');
      refuseIf(state.phase === 'promoting' || state.wishes.promote !== null, 'The release is being promoted already.');
    },
    act: (message: MessageBase) => {
      dropWishes(run, `because ${message.actor.name} asks for promotion after it`, ['weight']);
      state.wishes.promote = { actor: message.actor };
      if (state.paused !== null) resume(run, message.actor, 'to promote');
      record(run, 'promotionRequested', withReason(`${message.actor.name} asked for promotion now`, message.reason), {
        actor: message.actor,
        step: state.step,
      });
      return 'Promotion is under way.';
    },
  });

  update(run, messages.setWeightUpdate, {
    description: 'Sets the weight by hand and pauses; resume goes on with the plan.',
    check: (message: SetWeightMessage) => {
      const { weight } = message;
      refuseIf(
        !Number.isFinite(weight) || weight < 0 || weight > 100,
        `The weight is ${String(weight)}; allowed is 0 to 100.`,
      );
      const { target } = plan;
      refuseIf(
        target.kind === 'kubernetes' && target.traffic.kind === 'serviceSelector' && weight !== 0 && weight !== 100,
        `The weight is ${weight}; a Service selector knows only 0 and 100.`,
      );
      refuseIf(
        target.kind === 'flag' && !Number.isInteger(weight),
        `The weight is ${weight}; a flag's percentage is a whole number, 0 to 100.`,
      );
      refuseOfCleanUp(run);
      refuseIf(state.rollback !== null, 'The release is being rolled back; its weight goes to 0.');
      refuseIf(state.phase === 'promoting', 'The release is being promoted; roll it back instead.');
      refuseUnprepared(run);
      if (weight > state.weight) checkRaise(run, message.actor, weight);
    },
    act: (message: SetWeightMessage) => {
      // The later word counts: who sets a weight does not want the promotion asked for before it.
      const later = `because ${message.actor.name} sets the weight by hand after it`;
      dropWishes(run, later, ['weight', 'promote', 'skipSoak']);
      state.wishes.weight = { weight: message.weight, actor: message.actor };
      record(
        run,
        'weightRequested',
        withReason(`${message.actor.name} asked for weight ${message.weight} %`, message.reason),
        {
          actor: message.actor,
          step: state.step,
        },
      );
      const first = underWay(run);
      return first === null
        ? `Weight ${message.weight} % is being set; the release then pauses.`
        : `${first}; weight ${message.weight} % is set once it is done, and the release then pauses.`;
    },
  });

  update(run, messages.skipSoakUpdate, {
    description: 'Ends the current soak as if it had passed.',
    check: () => {
      refuseIf(state.soak === null || state.rollback !== null, 'No soak is running.');
      refuseIf(state.paused !== null, 'The release is paused; resume it first.');
      refuseIf(state.wishes.skipSoak !== null, 'The soak is being ended already.');
    },
    act: (message: MessageBase) => {
      state.wishes.skipSoak = { actor: message.actor, reason: message.reason ?? null };
      return 'The soak ends here.';
    },
  });

  // Signals cannot be refused, and people type them by hand: whatever arrives is made sense of, for an error in here
  // would stop the release.
  setHandler(
    messages.approveSignal,
    (payload) => {
      const { actor, named, reason } = readSignal(payload);
      const problem =
        problemWithDecision(run, { actor }) ??
        (named ? null : 'it does not say by whom; send {"by": "NAME", "groups": ["GROUP"], "reason": "WHY"}.');
      if (problem !== null) {
        record(run, 'messageIgnored', `The signal approve was ignored: ${problem}`, { actor });
        return;
      }
      decide(run, { approved: true, actor, reason });
    },
    { description: 'Approves the step that waits: {"by": "NAME", "groups": ["GROUP"], "reason": "WHY"}.' },
  );

  setHandler(
    messages.rollbackSignal,
    (payload) => {
      const { actor, reason } = readSignal(payload);
      if (state.outcome !== null && state.keepOld === null) {
        record(run, 'messageIgnored', `The signal rollback was ignored: the release is over (${state.outcome}).`, {
          actor,
        });
        return;
      }
      requestRollback(run, { outcome: 'aborted', reason: reason ?? 'no reason given', actor });
    },
    { description: 'Takes the service back to the stable version, at once: {"by": "NAME", "reason": "WHY"}.' },
  );

  setHandler(messages.successorSignal, (successor) => {
    if (typeof successor?.release !== 'string' || typeof successor.actor?.name !== 'string') return;
    const { release, version, supersede, actor } = successor;
    if (!state.successors.includes(release)) {
      // One that supersedes has made those before it give way in the queue; they are told of here, for they have no
      // story of their own.
      const dropped = supersede ? state.successors : [];
      state.successors = supersede ? [release] : [...state.successors, release];
      const giveWay = dropped.length === 0 ? '' : ` ${giveWaySentence(dropped)}`;
      record(run, 'successorWaiting', `Release ${release} of ${version} waits for this one to end.${giveWay}`, {
        actor,
      });
    }
    if (supersede && state.rollback === null && state.outcome === null && state.phase !== 'promoting') {
      requestRollback(run, { outcome: 'superseded', reason: `superseded by release ${release} of ${version}`, actor });
    }
  });

  setHandler(messages.successorWithdrawnSignal, (message) => {
    if (typeof message?.release !== 'string' || typeof message.actor?.name !== 'string') return;
    const { release, actor } = message;
    if (!state.successors.includes(release)) return;
    state.successors = state.successors.filter((one) => one !== release);
    record(run, 'successorWithdrawn', `Release ${release}, which waited, was withdrawn by ${actor.name}.`, { actor });
  });
}

/** Of those that waited before one that supersedes them. */
function giveWaySentence(dropped: readonly string[]): string {
  return `It takes the place of ${dropped.join(', ')}, which waited before it and will not be started.`;
}

/** A decision is in the story from the moment it is given. A rejection does not wait for a pause to end. */
function decide(run: Run, decision: NonNullable<Wishes['decision']>): void {
  const { state } = run;
  const { approved, actor, reason } = decision;
  const why = reason === null ? '' : `: ${reason}`;
  const sentence = approved ? `Approved by ${actor.name}${why}.` : `${actor.name} rejected the release${why}.`;
  record(run, approved ? 'approved' : 'rejected', sentence, { actor, step: state.step });
  state.wishes.decision = decision;
  if (!approved) state.paused = null;
}

/**
 * Records the wish and cancels the way forward, in the same workflow task: the first write of the roll back leaves
 * with it. A second request changes nothing but is answered kindly; of one that cannot finish it is the wish to try now.
 */
export function requestRollback(run: Run, cause: RollbackCause): string {
  const { state } = run;
  if (state.rollback !== null) {
    const isPersons = cause.outcome === 'aborted' && state.stuck !== null;
    // Histories of before, in which that woke nobody, go on as they were.
    if (isPersons && patched('asked-again')) return tryAgainNow(run, cause.actor, cause.reason);
    return 'The release is being rolled back already.';
  }
  state.rollback = cause;
  reopen(run);
  record(run, 'rollbackRequested', `${cause.actor.name} asked for a roll back: ${cause.reason}.`, {
    actor: cause.actor,
    step: state.step,
  });
  run.forward?.cancel();
  return 'The roll back is under way.';
}

/** Ends the wait between two tries of a roll back that cannot finish. */
function tryAgainNow(run: Run, actor: Actor, reason: string | undefined): string {
  run.state.wishes.retryNow = true;
  record(run, 'resumed', withReason(`The roll back is tried again now, as ${actor.name} asked`, reason), { actor });
  return 'The roll back is tried again now.';
}

/** What is at work and is let finish, whatever is asked meanwhile but a roll back; null while the release only waits. */
function underWay({ state, shifting }: Run): string | null {
  switch (state.phase) {
    case 'deploying':
      return 'The deployment is under way';
    case 'smokeTesting':
      return 'The smoke test is under way';
    case 'shifting':
      return `${shifting} is under way`;
    default:
      return null;
  }
}

/**
 * Lifts a pause; what was timed goes on with the time it had left. After a failure it says that the canary was not to
 * blame for what was seen, so that evidence, which stays proven whatever comes later, does not fail the next look.
 */
function resume(run: Run, actor: Actor, reason: string | undefined): void {
  const { state } = run;
  if (state.paused === null) return;
  const { since } = state.paused;
  // A soak may have begun after the pause was asked for, when the change of the weight before it was done.
  const awayFrom = (begun: number): number => Date.now() - Math.max(since, begun);
  if (state.soak !== null) {
    const away = awayFrom(state.soak.startedAt);
    state.soak = {
      ...state.soak,
      startedAt: state.soak.startedAt + away,
      endsAt: state.soak.endsAt + away,
      nextAt: state.soak.nextAt + away,
    };
  }
  if (state.approval !== null) {
    const away = awayFrom(state.approval.since);
    state.approval = { ...state.approval, expiresAt: state.approval.expiresAt + away };
  }
  const afterFailure = state.paused.cause === 'failure';
  state.paused = null;
  state.guardJudge = null;
  // The plan goes on from the weight that is known.
  delete state.loweringTo;
  const sentence = withReason(`Resumed by ${actor.name}`, reason);
  if (!afterFailure || state.evidence === undefined) {
    record(run, 'resumed', sentence, { actor, step: state.step });
    return;
  }
  state.evidence = { ...state.evidence, forgottenAt: Date.now() };
  record(run, 'resumed', `${sentence} The evidence counted until now is dropped, and gathered anew.`, {
    actor,
    step: state.step,
  });
}

/** What only takes a track away brings no version that could be given traffic, or be promoted. */
function refuseOfCleanUp({ plan }: Run): void {
  refuseIf(plan.short === 'cleanup', 'What is in progress only cleans a track up; it gives no traffic to any version.');
}

function refuseUnprepared(run: Run): void {
  const prepared = run.plan.steps.findIndex((step) => step.kind !== 'deploy' && step.kind !== 'smokeTest');
  refuseIf(run.state.step < prepared, 'The new version is not deployed and tested yet.');
}

/** Rule 1: after a failing verdict only a recorded resume lets the weight rise; and approvals are not walked around. */
function checkRaise(run: Run, actor: Actor, to: number | 'promotion'): void {
  const { state, plan } = run;
  refuseIf(state.rollback !== null, 'The release is being rolled back; its weight does not rise again.');
  refuseIf(
    state.paused?.cause === 'failure',
    `The release is paused after a failure (${state.paused?.reason ?? ''}); resume it first, which is recorded.`,
  );
  refuseUnprepared(run);
  plan.steps.forEach((step, index) => {
    if (step.kind !== 'approve' || index < state.step) return;
    // Weights the plan reaches before the approval need none.
    const before = plan.steps.slice(0, index).map((one) => (one.kind === 'weight' ? one.weight : 0));
    if (to !== 'promotion' && to <= Math.max(0, ...before)) return;
    if (!mayDecide(step.by, actor)) {
      throw refusal(
        `That passes the approval step ${index + 1}, which is for ${step.by.join(', ')}; ${actor.name} is none of them.`,
        FAILURES.forbidden,
      );
    }
  });
}

function checkDecision(run: Run, message: ApproveMessage): void {
  const problem = problemWithDecision(run, message);
  if (problem === null) return;
  const { approval } = run.state;
  const forbidden =
    approval !== null &&
    !mayDecide(approval.by, message.actor) &&
    (message.step === undefined || message.step === approval.step);
  throw refusal(problem, forbidden ? FAILURES.forbidden : FAILURES.refused);
}

function problemWithDecision(run: Run, message: Pick<ApproveMessage, 'actor' | 'step'>): string | null {
  const { approval, rollback, wishes } = run.state;
  if (rollback !== null) return 'the release is being rolled back.';
  if (approval === null) return 'no approval is waited for.';
  if (message.step !== undefined && message.step !== approval.step) {
    return `step ${approval.step + 1} waits for approval, not step ${message.step + 1}.`;
  }
  if (!mayDecide(approval.by, message.actor)) {
    return `the approval is for ${approval.by.join(', ')}; ${message.actor.name} is none of them.`;
  }
  if (wishes.decision !== null) return `${wishes.decision.actor.name} has decided already.`;
  return null;
}

function mayDecide(by: readonly string[], actor: Actor): boolean {
  return by.length === 0 || by.includes(actor.name) || (actor.groups ?? []).some((group) => by.includes(group));
}

interface UpdateRoom<Message extends MessageBase> {
  readonly description: string;
  /** Synchronous, changes nothing, throws to refuse. */
  readonly check: (message: Message) => void;
  /** Synchronous; its sentence is the answer. */
  readonly act: (message: Message) => string;
  /** Also for a release that is promoted, as long as it keeps the old version. */
  readonly whileOldIsKept?: true;
}

/** What all updates share: who and which release are checked, and one that was carried out is answered the same again. */
function update<Message extends MessageBase>(
  run: Run,
  definition: UpdateDefinition<MessageAck, [Message]>,
  room: UpdateRoom<Message>,
): void {
  const { state, input } = run;
  setHandler(
    definition,
    (message: Message): MessageAck => {
      const id = currentUpdateInfo()?.id;
      const known = id === undefined ? undefined : state.handledUpdates[id];
      if (known !== undefined) return known;
      const sentence = room.act(message);
      showDetails(run);
      const ack: MessageAck = {
        release: input.release,
        seq: state.events.length,
        message: sentence,
        ...(isSimulated(run.plan) ? { simulated: true } : {}),
      };
      if (id !== undefined) remember(state.handledUpdates, id, ack);
      return ack;
    },
    {
      description: room.description,
      validator: (message: Message): void => {
        const id = currentUpdateInfo()?.id;
        if (id !== undefined && state.handledUpdates[id] !== undefined) return;
        refuseIf(
          typeof message?.actor?.name !== 'string' || message.actor.name === '',
          'The message does not say who sends it.',
        );
        refuseIfLate(message);
        refuseIf(
          message.release !== undefined && message.release !== input.release,
          `The message is for release ${message.release ?? ''}; the current one is ${input.release}.`,
        );
        refuseIf(
          state.keepOld !== null && room.whileOldIsKept !== true,
          `The release is promoted; while ${state.keepOld?.version ?? ''} is kept, it can only be rolled back.`,
        );
        refuseIf(state.outcome !== null && state.keepOld === null, `The release is over: ${state.outcome ?? ''}.`);
        room.check(message);
      },
    },
  );
}

const UPDATES_REMEMBERED = 200;

function remember(handled: Record<string, MessageAck>, id: string, ack: MessageAck): void {
  handled[id] = ack;
  const ids = Object.keys(handled);
  const oldest = ids[0];
  if (ids.length > UPDATES_REMEMBERED && oldest !== undefined) delete handled[oldest];
}

function withReason(sentence: string, reason: string | undefined): string {
  return reason === undefined ? `${sentence}.` : `${sentence}: ${reason}.`;
}
