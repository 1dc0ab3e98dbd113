import type { ActivateInput } from '@temporalio/workflow';
import type * as AheadOfTask from '../../src/workflows/ahead-of-task';
import { ASK_AGAIN } from '../../src/workflows/api';

type Job = NonNullable<ActivateInput['activation']['jobs']>[number];

const TIMER: Job = { fireTimer: { seq: 1 } };
const QUESTION: Job = { queryWorkflow: { queryType: 'status' } };

/** A workflow's own module, as its context has one, and what the SDK's core gives it. */
function workflow(): (job: Job, at: number, isReplaying?: boolean) => void {
  let module: typeof AheadOfTask | undefined;
  jest.isolateModules(() => {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    module = require('../../src/workflows/ahead-of-task') as typeof AheadOfTask;
  });
  return (job, at, isReplaying = false) => {
    const timestamp = { seconds: at, nanos: 7 } as unknown as NonNullable<ActivateInput['activation']['timestamp']>;
    module?.refuseAheadOfTask({ activation: { jobs: [job], timestamp, isReplaying }, batchIndex: 0 });
  };
}

describe('a workflow that is asked', () => {
  it('answers after the events that a task has brought', () => {
    const activate = workflow();
    activate(TIMER, 1, true);
    activate(TIMER, 2);

    expect(() => activate(QUESTION, 2)).not.toThrow();
  });

  it('does not answer with what events have made of it that no task has brought', () => {
    const activate = workflow();
    activate(TIMER, 1, true);
    activate(TIMER, 1);

    expect(() => activate(QUESTION, 1)).toThrow(ASK_AGAIN);
    expect(() => activate(QUESTION, 1)).toThrow(ASK_AGAIN);
  });

  it('answers again once the task has come', () => {
    const activate = workflow();
    activate(TIMER, 1, true);
    activate(TIMER, 1);
    activate(TIMER, 2);

    expect(() => activate(QUESTION, 2)).not.toThrow();
  });

  it('answers whatever a replay has at one moment: a server may have given two tasks the same', () => {
    const activate = workflow();
    activate(TIMER, 1, true);
    activate(TIMER, 1, true);

    expect(() => activate(QUESTION, 1)).not.toThrow();
  });
});
