import type { ActivateInput } from '@temporalio/workflow';
import type * as AheadOfTask from '../../src/workflows/ahead-of-task';
import { ASK_AGAIN } from '../../src/workflows/api';

type Job = NonNullable<ActivateInput['activation']['jobs']>[number];
type Payloads = NonNullable<NonNullable<Job['queryWorkflow']>['arguments']>;

const TIMER: Job = { fireTimer: { seq: 1 } };
/** As the SDK's core calls one that comes by itself. */
const QUESTION: Job = { queryWorkflow: { queryId: 'legacy_query', queryType: 'status' } };

interface Activation {
  readonly job: Job;
  /** When its workflow task began. */
  readonly at: number;
  /** Of the history that is known. */
  readonly events: number;
  readonly isReplaying?: boolean;
}

/** A workflow's own module, as its context has one, and what the SDK's core gives it. */
function workflow(): (activation: Activation) => void {
  let module: typeof AheadOfTask | undefined;
  jest.isolateModules(() => {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    module = require('../../src/workflows/ahead-of-task') as typeof AheadOfTask;
  });
  return ({ job, at, events, isReplaying = false }) => {
    const timestamp = { seconds: at, nanos: 7 } as unknown as NonNullable<ActivateInput['activation']['timestamp']>;
    const activation = { jobs: [job], timestamp, isReplaying, historyLength: events };
    module?.refuseAheadOfTask({ activation, batchIndex: 0 });
  };
}

describe('a workflow that is asked', () => {
  it('answers after the events that a task has brought', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3, isReplaying: true });
    activate({ job: TIMER, at: 2, events: 9 });

    expect(() => activate({ job: QUESTION, at: 2, events: 9 })).not.toThrow();
  });

  it('does not answer with what events have made of it that no task has brought', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3, isReplaying: true });
    activate({ job: TIMER, at: 1, events: 8 });

    expect(() => activate({ job: QUESTION, at: 1, events: 8 })).toThrow(ASK_AGAIN);
    expect(() => activate({ job: QUESTION, at: 1, events: 8 })).toThrow(ASK_AGAIN);
  });

  it('answers again once the task has come', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3, isReplaying: true });
    activate({ job: TIMER, at: 1, events: 8 });
    activate({ job: TIMER, at: 2, events: 9 });

    expect(() => activate({ job: QUESTION, at: 2, events: 9 })).not.toThrow();
  });

  it('answers after a second activation of one task, of what the first has cancelled', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 2, events: 9 });
    activate({ job: { resolveActivity: { seq: 4 } }, at: 2, events: 9 });

    expect(() => activate({ job: QUESTION, at: 2, events: 9 })).not.toThrow();
  });

  it('answers whatever a replay has at one moment: a server may have given two tasks the same', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3, isReplaying: true });
    activate({ job: TIMER, at: 1, events: 9, isReplaying: true });

    expect(() => activate({ job: QUESTION, at: 1, events: 9 })).not.toThrow();
  });

  it('answers what came with a task, whose failure would be the release’s', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3 });
    activate({ job: TIMER, at: 1, events: 9 });
    const withTask: Job = { queryWorkflow: { queryId: '7f6c', queryType: 'status' } };

    expect(() => activate({ job: withTask, at: 1, events: 9 })).not.toThrow();
  });

  it('answers who knows that no task is to come, by an argument', () => {
    const activate = workflow();
    activate({ job: TIMER, at: 1, events: 3, isReplaying: true });
    activate({ job: TIMER, at: 1, events: 9 });
    const knowing: Job = { queryWorkflow: { ...QUESTION.queryWorkflow, arguments: [{}] satisfies Payloads } };

    expect(() => activate({ job: knowing, at: 1, events: 9 })).not.toThrow();
  });
});
