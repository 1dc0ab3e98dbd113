import type { WorkflowInterceptors } from '@temporalio/workflow';
import { renderOutdated } from './run';

/** For the bundle, by the name that the SDK looks for. */
export function interceptors(): WorkflowInterceptors {
  return {
    internals: [
      {
        concludeActivation: (input, next) => {
          renderOutdated();
          return next(input);
        },
      },
    ],
  };
}
