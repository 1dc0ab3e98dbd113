import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type {
  ApproveMessage,
  MessageAck,
  MessageBase,
  QueuedRelease,
  QueueStatus,
  ReleaseStatus,
  RollbackMessage,
  SetWeightMessage,
  SignalPayload,
  WithdrawMessage,
} from './api';
import type { Actor } from './api';

/** The whole state as one typed document. */
export const statusQuery = defineQuery<ReleaseStatus>('status');

// Updates answer at once and can be refused, with the reason, before anything enters the history.
export const approveUpdate = defineUpdate<MessageAck, [ApproveMessage]>('approve');
export const rejectUpdate = defineUpdate<MessageAck, [ApproveMessage]>('reject');
export const pauseUpdate = defineUpdate<MessageAck, [MessageBase]>('pause');
export const resumeUpdate = defineUpdate<MessageAck, [MessageBase]>('resume');
export const rollbackUpdate = defineUpdate<MessageAck, [RollbackMessage]>('rollback');
export const promoteUpdate = defineUpdate<MessageAck, [MessageBase]>('promote');
export const setWeightUpdate = defineUpdate<MessageAck, [SetWeightMessage]>('setWeight');
export const skipSoakUpdate = defineUpdate<MessageAck, [MessageBase]>('skipSoak');

// The same for those who have only the Temporal UI or `temporal workflow signal`; accepted while no worker is up.
export const approveSignal = defineSignal<[SignalPayload?]>('approve');
export const rollbackSignal = defineSignal<[SignalPayload?]>('rollback');

// Between a release and its service's queue.
export const successorSignal =
  defineSignal<[{ release: string; version: string; supersede: boolean; actor: Actor }]>('successorWaiting');
export const enqueueSignal = defineSignal<[QueuedRelease]>('enqueue');
export const releaseEndedSignal = defineSignal<[{ release: string }]>('releaseEnded');
export const successorWithdrawnSignal = defineSignal<[{ release: string; actor: Actor }]>('successorWithdrawn');
export const withdrawUpdate = defineUpdate<MessageAck, [WithdrawMessage]>('withdraw');
/** The same, kept by Temporal until a worker is there. */
export const withdrawSignal = defineSignal<[WithdrawMessage]>('withdraw');
export const queueQuery = defineQuery<QueueStatus>('queue');
