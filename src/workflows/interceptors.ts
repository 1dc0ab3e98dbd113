import type { WorkflowInterceptors } from '@temporalio/workflow';
import { refuseAheadOfTask } from './ahead-of-task';
import { renderOutdated } from './run';

/** For the bundle, by the name that the SDK looks for. */
export function interceptors(): WorkflowInterceptors {
  return {
    internals: [
      {
        activate: (input, next) => {
          refuseAheadOfTask(input);
          next(input);
        },
        concludeActivation: (input, next) => {
          renderOutdated();
          return next(input);
        },
      },
    ],
  };
}
